"""Support for Litestream, which may read a town's files (to restore or inspect it) but must never write there.

Our snapshots and spills are LTX files under Litestream's names, so `litestream restore` can restore a town without our
code. It sees the newest commit after `townctl flush`; otherwise it lags by at most one tail.
"""
