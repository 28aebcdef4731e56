"""What a tick may do to a town, in the imperative: one class per action, with its fields and its apply.

An action that reaches outside leaves a row in the outbox; the call itself comes after the commit.
"""
