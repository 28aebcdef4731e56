"""Support for Litestream, which may read a town's files (to restore or inspect it) but must never write there.

Our snapshots and spills are LTX files under Litestream's names, so `litestream restore` can restore a town without our
code. Litestream sees the newest commit only after `townctl flush`; otherwise the pages in the tail are missing.
"""
