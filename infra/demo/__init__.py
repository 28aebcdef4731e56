"""The demo: its story, its agents, its people, and the command that runs it."""
