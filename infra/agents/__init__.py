"""What runs beside agents: the control server of a town's container, and `town-agent`, with which agents talk to their town."""
