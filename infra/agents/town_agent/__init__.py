"""`town-agent`: what an agent calls to talk to its town, whatever language it is written in."""
