"""Litestream beside the reconciler: it may read what we wrote (restore, inspect), and must never write there.

Our snapshots and spills are LTX files under Litestream's names, so `litestream restore` brings a town back without us.
`townctl flush` makes it see the newest commit; otherwise it trails by at most one tail.
"""
