"""The town on one machine, without AWS: stand-ins that keep state and can be made to fail."""
