"""The worker: takes wakes from the queue and ticks their towns."""
