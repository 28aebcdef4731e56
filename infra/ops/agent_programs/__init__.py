"""The coding agents that tests and the demo run, pinned by hash: `make agent-programs` installs them below .tools."""
