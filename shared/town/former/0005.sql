-- One town. Times are UTC text of 24 characters, JSON has sorted keys, ids are text (spec/data-model.md).
--
-- A table whose rows can be wide is a rowid table: in a table WITHOUT ROWID, each row of more than 1 KB takes pages of its own.
-- No statement reads an implicit rowid or relies on the order of unsorted rows.
--
-- Most ids are hashes: a row changes a page of its own in each index over them. So a table that grows with history has no more
-- such indexes than it needs, and partial ones cover only what is not over.

CREATE TABLE rigs (
    id             TEXT NOT NULL PRIMARY KEY,
    name           TEXT NOT NULL UNIQUE,
    git_url        TEXT NOT NULL DEFAULT '',
    default_branch TEXT NOT NULL DEFAULT 'main',
    config         TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(config)),
    created_at     TEXT NOT NULL,
    forge_repository_id TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE beads (
    bead_id                  TEXT NOT NULL PRIMARY KEY,
    type                     TEXT NOT NULL CHECK (type IN
        ('issue', 'message', 'escalation', 'merge_request', 'convoy', 'molecule', 'agent')),
    status                   TEXT NOT NULL DEFAULT 'open' CHECK (status IN
        ('open', 'in_progress', 'in_review', 'closed', 'failed')),
    title                    TEXT NOT NULL,
    body                     TEXT,
    rig_id                   TEXT REFERENCES rigs (id),
    parent_bead_id           TEXT REFERENCES beads (bead_id),
    assignee_agent_bead_id   TEXT,
    priority                 TEXT NOT NULL DEFAULT 'medium' CHECK (priority IN ('low', 'medium', 'high', 'critical')),
    labels                   TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(labels)),
    metadata                 TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(metadata)),
    dispatch_attempts        INTEGER NOT NULL DEFAULT 0 CHECK (dispatch_attempts >= 0),
    last_dispatch_attempt_at TEXT,
    last_dispatch_failed_at  TEXT,
    created_by               TEXT,
    created_at               TEXT NOT NULL,
    updated_at               TEXT NOT NULL,
    closed_at                TEXT
) STRICT;

CREATE INDEX beads_by_kind ON beads (type, status, created_at, bead_id);
CREATE INDEX beads_by_parent ON beads (parent_bead_id);
CREATE INDEX beads_by_rig ON beads (rig_id, status);
CREATE INDEX beads_by_assignee ON beads (assignee_agent_bead_id, type, status);
CREATE INDEX beads_failed_to_start ON beads (last_dispatch_failed_at) WHERE last_dispatch_failed_at IS NOT NULL;

-- Ended beads, those first that may leave the image first (shared/town/families.py).
CREATE INDEX beads_ended ON beads (updated_at) WHERE status IN ('closed', 'failed');

-- Beads that depend on a bead that does not exist yet: each bead that is created looks here for those that wait for it.
CREATE INDEX beads_awaiting ON beads (bead_id) WHERE status <> 'closed' AND instr(metadata, '"awaits"') > 0;

-- Always empty, because of the CHECK on beads.status: invariant 5 verifies that without a scan.
CREATE INDEX convoys_of_unknown_status ON beads (bead_id)
    WHERE type = 'convoy' AND status NOT IN ('open', 'in_progress', 'in_review', 'closed', 'failed');

CREATE TABLE agent_metadata (
    bead_id                 TEXT NOT NULL PRIMARY KEY REFERENCES beads (bead_id),
    role                    TEXT NOT NULL CHECK (role IN ('polecat', 'refinery', 'mayor')),
    identity                TEXT NOT NULL UNIQUE,
    container_process_id    TEXT,
    status                  TEXT NOT NULL DEFAULT 'idle' CHECK (status IN
        ('idle', 'working', 'waiting', 'stalled', 'dead')),
    current_hook_bead_id    TEXT REFERENCES beads (bead_id),
    dispatch_attempts       INTEGER NOT NULL DEFAULT 0 CHECK (dispatch_attempts >= 0),
    generation              INTEGER NOT NULL DEFAULT 0 CHECK (generation >= 0),
    last_dispatch_bead_id   TEXT,
    last_dispatch_outcome   TEXT CHECK (last_dispatch_outcome IN
        ('pending', 'started', 'rejected', 'unknown', 'alive', 'lost')),
    observed_status         TEXT,
    checkpoint              TEXT,
    last_activity_at        TEXT,
    agent_status_message    TEXT,
    agent_status_updated_at TEXT,
    last_event_type         TEXT,
    last_event_at           TEXT,
    active_tools            TEXT NOT NULL DEFAULT '[]',
    stalled_at              TEXT,
    hooked_at               TEXT,
    dispatched_at           TEXT,
    hook_ended_at           TEXT,
    ended_generation        INTEGER
) STRICT;

-- Refuses a second agent on the same bead.
CREATE UNIQUE INDEX agents_by_hook ON agent_metadata (current_hook_bead_id) WHERE current_hook_bead_id IS NOT NULL;
CREATE INDEX agents_by_status ON agent_metadata (status, role);

CREATE TABLE review_metadata (
    bead_id                TEXT NOT NULL PRIMARY KEY REFERENCES beads (bead_id),
    branch                 TEXT NOT NULL,
    target_branch          TEXT NOT NULL DEFAULT 'main',
    merge_commit           TEXT,
    pr_url                 TEXT,
    retry_count            INTEGER NOT NULL DEFAULT 0,
    auto_merge_ready_since TEXT,
    last_feedback_check_at TEXT
) STRICT, WITHOUT ROWID;

CREATE TABLE convoy_metadata (
    bead_id        TEXT NOT NULL PRIMARY KEY REFERENCES beads (bead_id),
    total_beads    INTEGER NOT NULL DEFAULT 0,
    closed_beads   INTEGER NOT NULL DEFAULT 0,
    landed_at      TEXT,
    feature_branch TEXT,
    merge_mode     TEXT CHECK (merge_mode IN ('review-then-land', 'review-and-merge')),
    staged         INTEGER NOT NULL DEFAULT 0 CHECK (staged IN (0, 1))
) STRICT, WITHOUT ROWID;

CREATE INDEX convoys_staged ON convoy_metadata (bead_id) WHERE staged = 1;

-- 'blocks': bead_id waits for depends_on_bead_id. 'tracks': an issue tracks its convoy, an MR tracks its source.
CREATE TABLE bead_dependencies (
    bead_id            TEXT NOT NULL REFERENCES beads (bead_id),
    depends_on_bead_id TEXT NOT NULL REFERENCES beads (bead_id),
    dependency_type    TEXT NOT NULL DEFAULT 'blocks' CHECK (dependency_type IN ('blocks', 'tracks', 'parent-child')),
    PRIMARY KEY (bead_id, depends_on_bead_id),
    CHECK (bead_id <> depends_on_bead_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX dependents ON bead_dependencies (depends_on_bead_id, dependency_type);

CREATE TABLE escalation_metadata (
    bead_id             TEXT NOT NULL PRIMARY KEY REFERENCES beads (bead_id),
    severity            TEXT NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    category            TEXT,
    acknowledged        INTEGER NOT NULL DEFAULT 0 CHECK (acknowledged IN (0, 1)),
    re_escalation_count INTEGER NOT NULL DEFAULT 0,
    acknowledged_at     TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX escalations_to_bump ON escalation_metadata (bead_id) WHERE acknowledged = 0 AND re_escalation_count < 3;

-- The append-only audit trail.
CREATE TABLE bead_events (
    bead_event_id TEXT NOT NULL,
    seq           INTEGER NOT NULL PRIMARY KEY,
    bead_id       TEXT NOT NULL,
    agent_id      TEXT,
    event_type    TEXT NOT NULL CHECK (event_type IN
        ('created', 'assigned', 'hooked', 'unhooked', 'status_changed', 'closed', 'reopened', 'escalated',
         'notification_failed', 'mail_sent', 'review_submitted', 'review_completed', 'agent_spawned', 'agent_exited',
         'pr_created', 'pr_creation_failed', 'agent_status', 'triage_resolved', 'fields_updated',
         'review_queue_depth_alert', 'escalation_rate_spike', 'agent_restart_loop', 'rework_requested',
         'babysit_started')),
    old_value     TEXT,
    new_value     TEXT,
    metadata      TEXT NOT NULL DEFAULT '{}',
    created_at    TEXT NOT NULL
) STRICT;

CREATE INDEX audit_by_bead ON bead_events (bead_id);

CREATE TABLE agent_nudges (
    nudge_id      TEXT NOT NULL PRIMARY KEY,
    agent_bead_id TEXT NOT NULL,
    message       TEXT NOT NULL,
    mode          TEXT NOT NULL DEFAULT 'wait-idle' CHECK (mode IN ('wait-idle', 'immediate', 'queue')),
    priority      TEXT NOT NULL DEFAULT 'normal' CHECK (priority IN ('normal', 'urgent')),
    source        TEXT NOT NULL DEFAULT 'system',
    created_at    TEXT NOT NULL,
    delivered_at  TEXT,
    expires_at    TEXT
) STRICT;

CREATE INDEX nudges_undelivered ON agent_nudges (agent_bead_id, created_at) WHERE delivered_at IS NULL;
CREATE INDEX nudges_by_source ON agent_nudges (agent_bead_id, source, created_at);
CREATE INDEX nudges_expiring ON agent_nudges (expires_at) WHERE delivered_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX nudges_delivered ON agent_nudges (delivered_at) WHERE delivered_at IS NOT NULL;

-- The inbox inside the image. event_type has no CHECK, because an event of an unknown type is stored and then poisoned.
-- A processed event has no payload but the digest of its content; the journal has the payload. A poisoned event has both.
CREATE TABLE town_events (
    event_id       TEXT NOT NULL UNIQUE,
    seq            INTEGER NOT NULL PRIMARY KEY,
    event_type     TEXT NOT NULL,
    agent_id       TEXT,
    bead_id        TEXT,
    payload        TEXT DEFAULT '{}' CHECK (payload IS NOT NULL OR processed_at IS NOT NULL),
    source         TEXT NOT NULL CHECK (source IN ('ingest', 'effect', 'observation', 'derived', 'operator')),
    created_at     TEXT NOT NULL,
    received_at    TEXT NOT NULL,
    processed_at   TEXT,
    outcome        TEXT,
    retry_count    INTEGER NOT NULL DEFAULT 0,
    poisoned_at    TEXT,
    last_error     TEXT,
    sender         TEXT,
    content_digest TEXT
) STRICT;

CREATE INDEX events_pending ON town_events (seq) WHERE processed_at IS NULL;

-- Processed events, those that leave the image first first: those that somebody may send again, and those of the town itself.
CREATE INDEX events_sent ON town_events (processed_at)
    WHERE processed_at IS NOT NULL AND (source IN ('ingest', 'operator') OR outcome = 'poisoned');
CREATE INDEX events_made ON town_events (processed_at)
    WHERE processed_at IS NOT NULL AND NOT (source IN ('ingest', 'operator') OR outcome = 'poisoned');

CREATE TABLE town (
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL CHECK (json_valid(value))
) STRICT, WITHOUT ROWID;

-- The newest rows of the journal; older ones are in journal objects.
CREATE TABLE ticks (
    tick_no           INTEGER NOT NULL PRIMARY KEY,
    tick_id           TEXT NOT NULL UNIQUE,
    now               TEXT NOT NULL,
    code_version      TEXT NOT NULL,
    sqlite_version    TEXT NOT NULL,
    config_digest     TEXT NOT NULL,
    prev_image_digest TEXT NOT NULL,
    inputs            TEXT NOT NULL,
    outputs           TEXT NOT NULL
) STRICT;

CREATE TABLE outbox (
    effect_id     TEXT NOT NULL,
    seq           INTEGER NOT NULL PRIMARY KEY,
    kind          TEXT NOT NULL CHECK (kind IN
        ('dispatch_agent', 'stop_agent', 'poll_pr', 'merge_pr', 'verify_merge', 'update_branch', 'dequeue', 'request_review',
         'send_nudge', 'notify_mayor', 'refresh_token', 'stop_container', 'update_model', 'send_notice')),
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
) STRICT;

CREATE UNIQUE INDEX outbox_ids ON outbox (effect_id) WHERE finished_at IS NULL;
CREATE INDEX outbox_unfinished ON outbox (seq) WHERE state IN ('pending', 'claimed');
CREATE INDEX outbox_by_subject ON outbox (kind, subject, generation);
CREATE INDEX outbox_finished_reads ON outbox (finished_at)
    WHERE finished_at IS NOT NULL AND kind IN ('poll_pr', 'refresh_token', 'update_model');
CREATE INDEX outbox_finished ON outbox (finished_at)
    WHERE finished_at IS NOT NULL AND kind NOT IN ('poll_pr', 'refresh_token', 'update_model');

CREATE TABLE open_violations (
    invariant        INTEGER NOT NULL,
    subject          TEXT NOT NULL,
    first_seen_tick  INTEGER NOT NULL,
    first_seen_at    TEXT NOT NULL,
    opened_at        TEXT,
    last_captured_at TEXT,
    message          TEXT NOT NULL,
    PRIMARY KEY (invariant, subject)
) STRICT, WITHOUT ROWID;

-- The totals that each generation of an agent has reported for each model (JSON list), and the bead that it worked on.
CREATE TABLE agent_usage (
    agent_id    TEXT NOT NULL,
    generation  INTEGER NOT NULL,
    bead_id     TEXT,
    models      TEXT NOT NULL CHECK (json_valid(models)),
    reported_at TEXT NOT NULL,
    PRIMARY KEY (agent_id, generation)
) STRICT, WITHOUT ROWID;

CREATE INDEX usage_by_report ON agent_usage (reported_at);

-- What was used for a bead, in a convoy, or on a day (UTC). priced_tokens are those of all tokens whose cost is known.
CREATE TABLE usage_sums (
    kind          TEXT NOT NULL CHECK (kind IN ('bead', 'convoy', 'day')),
    subject       TEXT NOT NULL,
    input_tokens  INTEGER NOT NULL DEFAULT 0,
    output_tokens INTEGER NOT NULL DEFAULT 0,
    cached_tokens INTEGER NOT NULL DEFAULT 0,
    priced_tokens INTEGER NOT NULL DEFAULT 0,
    cost_micros   INTEGER NOT NULL DEFAULT 0,
    told          TEXT,
    spent_since   TEXT,
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;
-- Views: concepts of a town by name.

-- Each live dependent with each of its blockers that is not closed. Whether a *failed* blocker still counts depends on
-- configuration and labels, so the reader decides that.
CREATE VIEW open_blockers AS
SELECT x.bead_id AS dependent_id, x.type AS dependent_type, x.status AS dependent_status,
       y.bead_id AS blocker_id, y.status AS blocker_status, y.labels AS blocker_labels, y.metadata AS blocker_metadata
FROM beads x
JOIN bead_dependencies d ON d.bead_id = x.bead_id AND d.dependency_type = 'blocks'
JOIN beads y ON y.bead_id = d.depends_on_bead_id
WHERE x.type IN ('issue', 'message', 'merge_request', 'convoy', 'molecule')
  AND x.status IN ('open', 'in_progress', 'in_review')
  AND y.status <> 'closed';

-- Merge requests and the bead that each tracks (its source).
CREATE VIEW review_sources AS
SELECT m.bead_id AS review_id, m.status AS review_status, d.depends_on_bead_id AS source_id
FROM beads m
JOIN bead_dependencies d ON d.bead_id = m.bead_id AND d.dependency_type = 'tracks'
WHERE m.type = 'merge_request';
