"""Everything that is not part of the Lambda bundle, one package per product: townctl, agents, demo, devstack, ops.

It may import anything. Nothing in `shared` or `functions` imports it.
"""
