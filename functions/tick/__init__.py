"""The dispatcher: every minute the schedule calls it, and it sees to it that every due town is ticked."""
