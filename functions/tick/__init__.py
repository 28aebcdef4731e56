"""The dispatcher: called by the schedule every minute, it ticks the due towns or hands them to the workers."""
