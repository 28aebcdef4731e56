-- The forge's id of a rig's repository, and when an agent was hooked, dispatched and released for the last time.
ALTER TABLE rigs ADD COLUMN forge_repository_id TEXT;
ALTER TABLE agent_metadata ADD COLUMN hooked_at TEXT;
ALTER TABLE agent_metadata ADD COLUMN dispatched_at TEXT;
ALTER TABLE agent_metadata ADD COLUMN hook_ended_at TEXT;

-- Beads that depend on a bead that does not exist yet: each bead that is created looks here for those that wait for it.
CREATE INDEX beads_awaiting ON beads (bead_id) WHERE status <> 'closed' AND instr(metadata, '"awaits"') > 0;
