"""Plants one bug at a time in rules, events, actions, invariants and boundaries, and sees that a test notices.

`python -m tests.mutants` makes every mutant of `catalogue`, runs the tests that reach it (`reach`), shows what they do not notice
to the type checker (`type_checks`), and lists the survivors. Verdicts are kept (`verdicts`). No file is changed: the bug lives in
the memory of a forked process (`planting`). `python -m tests.mutants.protocol` does so with bugs of
protocol and storage that were made by hand (`protocol_bugs`); each names the test that notices it.
"""
