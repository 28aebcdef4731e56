"""The Lambda functions: they read an event, pass it to `shared`, and answer.

Each sub-package is one function and imports none of the others. `settings` is the only module that reads the environment;
`wiring` chooses the adapters.
"""
