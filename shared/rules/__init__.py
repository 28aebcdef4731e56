"""What ought to change: each rule is a generator from a reader of the town to actions.

Rules never write. Their order is the order of the tuple that lists them, and it is part of the behaviour.
"""
