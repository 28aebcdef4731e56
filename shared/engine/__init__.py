"""The order of a tick: ingest, drain, reconcile, apply, keep house, check, write the journal.

A pure function of the image and the input, which is why a dry run and a replay are the same call.
"""
