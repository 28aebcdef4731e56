"""Everything here that listens on a port does it with this package: uvicorn and h11 read HTTP, and strangers are limited.

    door         listens on a port, in a thread of its own
    connection   one connection: how long a request may take to arrive, and who has to go when there are too many
    guard        one request: refused by its head, read within limits, answered in a thread
    groups       requests that are answered together
    live         a port for pages that stay connected, for one browser of this machine
    callers      which hosts and which web pages a server on this machine answers

No module here parses HTTP. What is malformed, h11 refuses.
"""
