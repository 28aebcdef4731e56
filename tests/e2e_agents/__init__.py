"""Towns in which real coding agents work: opencode, Claude Code and Codex, as npm installs them, with a scripted model."""
