"""Recordings: ticks of one town in one file, without what people wrote, with all that is needed to run them again anywhere."""
