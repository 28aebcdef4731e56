"""Merge requests at GitLab: `pulls` is the adapter; the other modules are its parts."""
