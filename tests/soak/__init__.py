"""A soak: real `townctl` loops and real agents on a directory and on SeaweedFS, while everything around them fails.

`make soak MINUTES=30` runs it; `SEED=7` chooses the faults. Every decision that the soak makes itself (which fault, when, for how
long, which event) follows from the seed. What the processes do in between does not, so a seed brings the same faults again and
not the same run.

- `__main__` runs it and prints the table; `plan` draws the faults; `faults` makes them happen.
- `places` are the two stores; `proxy` stands between the processes and SeaweedFS; `disk` is a small disk of the directory's own.
- `loops` are the processes of townctl, which are started again whenever they end; `agent` is what they start.
- `producers` post events until each is accepted; `checks` compare at the end.
"""
