"""Lambda entry points: they read an event, hand it to the engine, and answer.

Each sub-package is one function and knows none of the others. `settings` is the only module that reads the environment;
`wiring` chooses the adapters.
"""
