"""The demo: its scenario, its agents, its simulated people, and the command `townctl demo`."""
