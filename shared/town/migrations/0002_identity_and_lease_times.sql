-- The forge's id of a rig's repository; when an agent was hooked, dispatched and released for the last time; and its newest
-- generation, if that is known to have ended.
ALTER TABLE rigs ADD COLUMN forge_repository_id TEXT;
ALTER TABLE agent_metadata ADD COLUMN hooked_at TEXT;
ALTER TABLE agent_metadata ADD COLUMN dispatched_at TEXT;
ALTER TABLE agent_metadata ADD COLUMN hook_ended_at TEXT;
ALTER TABLE agent_metadata ADD COLUMN ended_generation INTEGER;

-- Four more kinds of effects. A CHECK cannot be changed, so the outbox is copied.
CREATE TABLE outbox_with_more_kinds (
    effect_id     TEXT NOT NULL PRIMARY KEY,
    seq           INTEGER NOT NULL UNIQUE,
    kind          TEXT NOT NULL CHECK (kind IN
        ('dispatch_agent', 'stop_agent', 'poll_pr', 'merge_pr', 'verify_merge', 'update_branch', 'dequeue', 'request_review',
         'send_nudge', 'notify_mayor', 'refresh_token', 'stop_container', 'update_model')),
    subject       TEXT NOT NULL,
    generation    INTEGER NOT NULL,
    payload       TEXT NOT NULL,
    state         TEXT NOT NULL DEFAULT 'pending' CHECK (state IN
        ('pending', 'claimed', 'done', 'failed', 'expired')),
    attempts      INTEGER NOT NULL DEFAULT 0,
    not_before    TEXT,
    claim         TEXT,
    claimed_until TEXT,
    deadline      TEXT NOT NULL,
    result        TEXT,
    created_at    TEXT NOT NULL,
    finished_at   TEXT
) STRICT, WITHOUT ROWID;
INSERT INTO outbox_with_more_kinds
SELECT effect_id, seq, kind, subject, generation, payload, state, attempts, not_before, claim, claimed_until, deadline, result,
    created_at, finished_at
FROM outbox ORDER BY effect_id;
DROP TABLE outbox;
ALTER TABLE outbox_with_more_kinds RENAME TO outbox;
CREATE INDEX outbox_by_state ON outbox (state, seq);
CREATE INDEX outbox_by_subject ON outbox (kind, subject, generation);
CREATE INDEX outbox_finished_reads ON outbox (finished_at)
    WHERE finished_at IS NOT NULL AND kind IN ('poll_pr', 'refresh_token', 'update_model');
CREATE INDEX outbox_finished ON outbox (finished_at)
    WHERE finished_at IS NOT NULL AND kind NOT IN ('poll_pr', 'refresh_token', 'update_model');

-- Beads that depend on a bead that does not exist yet: each bead that is created looks here for those that wait for it.
CREATE INDEX beads_awaiting ON beads (bead_id) WHERE status <> 'closed' AND instr(metadata, '"awaits"') > 0;
