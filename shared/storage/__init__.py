"""Towns as objects: heads, snapshots and spills in LTX, the commit protocol, inboxes, due markers.

Only this package knows the keys and formats of these objects. Its modules, from the top: `retention` deletes the objects that
no restore point needs, `restore` reads the past, `towns` is the town store, `publish` creates immutable objects from committed
state, `commit` replaces a head, `layers` assembles an image from its objects, `waiting_room` keeps inboxes and due markers;
`head`, `ltx` and `keys` are formats.
"""
