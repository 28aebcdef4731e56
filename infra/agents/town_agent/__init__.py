"""`town-agent`: the command with which an agent, in any language, reports to its town."""
