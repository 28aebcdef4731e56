"""Everything around the bundle: the command line, local operation, dashboards, runbook and policies.

May import anything; nothing in `shared` or `functions` imports it, and none of it is deployed with them.
"""
