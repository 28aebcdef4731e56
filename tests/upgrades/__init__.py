"""Towns as earlier code left them. `demo-town.tar.gz`: the town of a whole `make demo`, 38 ticks, made by the last code before
the code version was told from the core's code alone.
"""
