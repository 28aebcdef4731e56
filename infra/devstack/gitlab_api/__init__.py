"""What GitLab's documentation and source say about the answers that the adapter reads."""
