"""How towns are kept as objects: heads, snapshots and spills in LTX, the commit protocol, inboxes, due markers.

Only this package knows the keys and formats of the bucket. Its modules, from the top: `retention` deletes what no restore
point needs, `restore` reads the past, `towns` is the town store, `publish` makes committed state immutable, `commit` replaces
a head, `layers` says what a head stands on, `waiting_room` keeps inboxes and due markers, `head`, `ltx` and `keys` are formats.
"""
