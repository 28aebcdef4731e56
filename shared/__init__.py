"""The town reconciler, from values to the outside world.

    functions > adapters | telemetry > storage > engine > rules > events > actions > town > domain

Each package imports only what stands to its right. `domain` holds values and vocabulary, `town` all SQL, `actions` and
`events` what may change a town, `rules` what ought to change, `engine` the order of a tick, `storage` how an image is
kept, `adapters` the outside. Everything from `engine` to the right is a pure function of its arguments.
"""
