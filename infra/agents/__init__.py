"""For agents: the control server of a town's container, `town-agent` for their reports, and a plain agent as an example."""
