"""Towns, workers and a world full of faults in one thread and in simulated time, from one seed.

    python -m tests.simulation --seeds 100              # a hundred worlds
    python -m tests.simulation --seeds 1 --start 4711   # exactly that one again
    python -m tests.simulation --sweep                  # every single fault of a small story

`scheduler` is the time, `processes` makes the calls of the real worker's steps under `faults`, `ground` is the store and
the way in, `agents`, `forge`, `people` and `fleet` are the world, `checks` says what must never be seen and `simulate`
puts it together: faults for some time, then calm, in which everything must come to an end.
"""
