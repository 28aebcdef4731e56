"""Recordings: ticks of one town in one file, without texts that people wrote, and complete enough to be run again anywhere."""
