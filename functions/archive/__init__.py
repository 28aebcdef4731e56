"""Archive: operators archive, bring back and delete whole towns."""
