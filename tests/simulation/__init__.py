"""Towns, workers and a world full of faults in one thread and in simulated time, from one seed.

    python -m tests.simulation --seeds 100              # a hundred worlds
    python -m tests.simulation --seeds 1 --start 4711   # exactly that one again
    python -m tests.simulation --sweep                  # every single fault of a small story

`scheduler` is the time, `processes` makes the calls of the real steps under `faults`, `ground` is the store and the way in.
`fleet` is who ticks the towns: `cloud` runs the dispatcher's minutes and, behind the queue of `wakes`, the workers' batches;
`loops` runs the passes of local loops; a seed has one of them or both. `scales` makes a third of the worlds small, so that all
layers, retention and the journal are at work, and some of them hurried, stumbling, archiving, or restored now and then. `agents`,
`forge` and `people` are the world, in a share of the seeds with a thief (`evil`) or a town that was imported with rows that no
events lead to (`strange_town`).

`checks` says what must never be seen, `ledger` what never in a town, `past` what the store of a town must still know, `walls` what
never of a thief, and `simulate` puts it together: faults for some time, then calm, in which everything must come to an end.
`shared_work` is what makes that fast: open databases and parsed batches that all processes of a world use.
`mutants` break the real code on purpose, and the checks must see it. `coverage` says which rules acted and for which reasons
beads waited; two hundred seeds must reach all of them.
"""
