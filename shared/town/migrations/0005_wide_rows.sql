-- Tables whose rows can be wide become rowid tables, and events can do without a payload. Neither can be changed in place, so the
-- tables are copied, one after another, so that each copy reuses the pages of the ones before. What refers to beads is copied with
-- them, because a table to which rows refer cannot be dropped. References are checked when all is copied: a row that refers to
-- nothing was counted before and is counted after, so a damaged town is migrated with its damage.

PRAGMA defer_foreign_keys = ON;
DROP VIEW open_blockers;
DROP VIEW review_sources;

CREATE TABLE new_bead_events (
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
INSERT INTO new_bead_events (
    bead_event_id, seq, bead_id, agent_id, event_type, old_value, new_value, metadata, created_at
)
SELECT
    bead_event_id, seq, bead_id, agent_id, event_type, old_value, new_value, metadata, created_at
FROM bead_events ORDER BY seq;
DROP TABLE bead_events;
ALTER TABLE new_bead_events RENAME TO bead_events;
CREATE INDEX audit_by_bead ON bead_events (bead_id);

CREATE TABLE new_agent_nudges (
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
INSERT INTO new_agent_nudges (
    nudge_id, agent_bead_id, message, mode, priority, source, created_at, delivered_at, expires_at
)
SELECT
    nudge_id, agent_bead_id, message, mode, priority, source, created_at, delivered_at, expires_at
FROM agent_nudges ORDER BY created_at, nudge_id;
DROP TABLE agent_nudges;
ALTER TABLE new_agent_nudges RENAME TO agent_nudges;
CREATE INDEX nudges_undelivered ON agent_nudges (agent_bead_id, created_at) WHERE delivered_at IS NULL;
CREATE INDEX nudges_by_source ON agent_nudges (agent_bead_id, source, created_at);
CREATE INDEX nudges_expiring ON agent_nudges (expires_at) WHERE delivered_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX nudges_delivered ON agent_nudges (delivered_at) WHERE delivered_at IS NOT NULL;

CREATE TABLE new_town_events (
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
INSERT INTO new_town_events (
    event_id, seq, event_type, agent_id, bead_id, payload, source, created_at, received_at, processed_at, outcome,
    retry_count, poisoned_at, last_error, sender
)
SELECT
    event_id, seq, event_type, agent_id, bead_id, payload, source, created_at, received_at, processed_at, outcome,
    retry_count, poisoned_at, last_error, sender
FROM town_events ORDER BY seq;
DROP TABLE town_events;
ALTER TABLE new_town_events RENAME TO town_events;
CREATE INDEX events_pending ON town_events (seq) WHERE processed_at IS NULL;
CREATE INDEX events_sent ON town_events (processed_at)
    WHERE processed_at IS NOT NULL AND (source IN ('ingest', 'operator') OR outcome = 'poisoned');
CREATE INDEX events_made ON town_events (processed_at)
    WHERE processed_at IS NOT NULL AND NOT (source IN ('ingest', 'operator') OR outcome = 'poisoned');

CREATE TABLE new_outbox (
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
INSERT INTO new_outbox (
    effect_id, seq, kind, subject, generation, payload, state, attempts, not_before, claim, claimed_until, deadline, result,
    created_at, finished_at
)
SELECT
    effect_id, seq, kind, subject, generation, payload, state, attempts, not_before, claim, claimed_until, deadline, result,
    created_at, finished_at
FROM outbox ORDER BY seq;
DROP TABLE outbox;
ALTER TABLE new_outbox RENAME TO outbox;
CREATE UNIQUE INDEX outbox_ids ON outbox (effect_id) WHERE finished_at IS NULL;
CREATE INDEX outbox_unfinished ON outbox (seq) WHERE state IN ('pending', 'claimed');
CREATE INDEX outbox_by_subject ON outbox (kind, subject, generation);
CREATE INDEX outbox_finished_reads ON outbox (finished_at)
    WHERE finished_at IS NOT NULL AND kind IN ('poll_pr', 'refresh_token', 'update_model');
CREATE INDEX outbox_finished ON outbox (finished_at)
    WHERE finished_at IS NOT NULL AND kind NOT IN ('poll_pr', 'refresh_token', 'update_model');

CREATE TABLE new_beads (
    bead_id                  TEXT NOT NULL PRIMARY KEY,
    type                     TEXT NOT NULL CHECK (type IN
        ('issue', 'message', 'escalation', 'merge_request', 'convoy', 'molecule', 'agent')),
    status                   TEXT NOT NULL DEFAULT 'open' CHECK (status IN
        ('open', 'in_progress', 'in_review', 'closed', 'failed')),
    title                    TEXT NOT NULL,
    body                     TEXT,
    rig_id                   TEXT REFERENCES rigs (id),
    parent_bead_id           TEXT REFERENCES new_beads (bead_id),
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
INSERT INTO new_beads (
    bead_id, type, status, title, body, rig_id, parent_bead_id, assignee_agent_bead_id, priority, labels, metadata,
    dispatch_attempts, last_dispatch_attempt_at, last_dispatch_failed_at, created_by, created_at, updated_at, closed_at
)
SELECT
    bead_id, type, status, title, body, rig_id, parent_bead_id, assignee_agent_bead_id, priority, labels, metadata,
    dispatch_attempts, last_dispatch_attempt_at, last_dispatch_failed_at, created_by, created_at, updated_at, closed_at
FROM beads ORDER BY created_at, bead_id;

CREATE TABLE new_agent_metadata (
    bead_id                 TEXT NOT NULL PRIMARY KEY REFERENCES new_beads (bead_id),
    role                    TEXT NOT NULL CHECK (role IN ('polecat', 'refinery', 'mayor')),
    identity                TEXT NOT NULL UNIQUE,
    container_process_id    TEXT,
    status                  TEXT NOT NULL DEFAULT 'idle' CHECK (status IN
        ('idle', 'working', 'waiting', 'stalled', 'dead')),
    current_hook_bead_id    TEXT REFERENCES new_beads (bead_id),
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
INSERT INTO new_agent_metadata (
    bead_id, role, identity, container_process_id, status, current_hook_bead_id, dispatch_attempts, generation,
    last_dispatch_bead_id, last_dispatch_outcome, observed_status, checkpoint, last_activity_at, agent_status_message,
    agent_status_updated_at, last_event_type, last_event_at, active_tools, stalled_at, hooked_at, dispatched_at,
    hook_ended_at, ended_generation
)
SELECT
    bead_id, role, identity, container_process_id, status, current_hook_bead_id, dispatch_attempts, generation,
    last_dispatch_bead_id, last_dispatch_outcome, observed_status, checkpoint, last_activity_at, agent_status_message,
    agent_status_updated_at, last_event_type, last_event_at, active_tools, stalled_at, hooked_at, dispatched_at,
    hook_ended_at, ended_generation
FROM agent_metadata ORDER BY bead_id;

CREATE TABLE new_review_metadata (
    bead_id                TEXT NOT NULL PRIMARY KEY REFERENCES new_beads (bead_id),
    branch                 TEXT NOT NULL,
    target_branch          TEXT NOT NULL DEFAULT 'main',
    merge_commit           TEXT,
    pr_url                 TEXT,
    retry_count            INTEGER NOT NULL DEFAULT 0,
    auto_merge_ready_since TEXT,
    last_feedback_check_at TEXT
) STRICT, WITHOUT ROWID;
INSERT INTO new_review_metadata (
    bead_id, branch, target_branch, merge_commit, pr_url, retry_count, auto_merge_ready_since, last_feedback_check_at
)
SELECT
    bead_id, branch, target_branch, merge_commit, pr_url, retry_count, auto_merge_ready_since, last_feedback_check_at
FROM review_metadata ORDER BY bead_id;

CREATE TABLE new_convoy_metadata (
    bead_id        TEXT NOT NULL PRIMARY KEY REFERENCES new_beads (bead_id),
    total_beads    INTEGER NOT NULL DEFAULT 0,
    closed_beads   INTEGER NOT NULL DEFAULT 0,
    landed_at      TEXT,
    feature_branch TEXT,
    merge_mode     TEXT CHECK (merge_mode IN ('review-then-land', 'review-and-merge')),
    staged         INTEGER NOT NULL DEFAULT 0 CHECK (staged IN (0, 1))
) STRICT, WITHOUT ROWID;
INSERT INTO new_convoy_metadata (
    bead_id, total_beads, closed_beads, landed_at, feature_branch, merge_mode, staged
)
SELECT
    bead_id, total_beads, closed_beads, landed_at, feature_branch, merge_mode, staged
FROM convoy_metadata ORDER BY bead_id;

CREATE TABLE new_bead_dependencies (
    bead_id            TEXT NOT NULL REFERENCES new_beads (bead_id),
    depends_on_bead_id TEXT NOT NULL REFERENCES new_beads (bead_id),
    dependency_type    TEXT NOT NULL DEFAULT 'blocks' CHECK (dependency_type IN ('blocks', 'tracks', 'parent-child')),
    PRIMARY KEY (bead_id, depends_on_bead_id),
    CHECK (bead_id <> depends_on_bead_id)
) STRICT, WITHOUT ROWID;
INSERT INTO new_bead_dependencies (
    bead_id, depends_on_bead_id, dependency_type
)
SELECT
    bead_id, depends_on_bead_id, dependency_type
FROM bead_dependencies ORDER BY bead_id, depends_on_bead_id;

CREATE TABLE new_escalation_metadata (
    bead_id             TEXT NOT NULL PRIMARY KEY REFERENCES new_beads (bead_id),
    severity            TEXT NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    category            TEXT,
    acknowledged        INTEGER NOT NULL DEFAULT 0 CHECK (acknowledged IN (0, 1)),
    re_escalation_count INTEGER NOT NULL DEFAULT 0,
    acknowledged_at     TEXT
) STRICT, WITHOUT ROWID;
INSERT INTO new_escalation_metadata (
    bead_id, severity, category, acknowledged, re_escalation_count, acknowledged_at
)
SELECT
    bead_id, severity, category, acknowledged, re_escalation_count, acknowledged_at
FROM escalation_metadata ORDER BY bead_id;

DROP TABLE escalation_metadata;
DROP TABLE bead_dependencies;
DROP TABLE convoy_metadata;
DROP TABLE review_metadata;
DROP TABLE agent_metadata;
DROP TABLE beads;
ALTER TABLE new_beads RENAME TO beads;
ALTER TABLE new_agent_metadata RENAME TO agent_metadata;
ALTER TABLE new_review_metadata RENAME TO review_metadata;
ALTER TABLE new_convoy_metadata RENAME TO convoy_metadata;
ALTER TABLE new_bead_dependencies RENAME TO bead_dependencies;
ALTER TABLE new_escalation_metadata RENAME TO escalation_metadata;
CREATE INDEX beads_by_kind ON beads (type, status, created_at, bead_id);
CREATE INDEX beads_by_parent ON beads (parent_bead_id);
CREATE INDEX beads_by_rig ON beads (rig_id, status);
CREATE INDEX beads_by_assignee ON beads (assignee_agent_bead_id, type, status);
CREATE INDEX beads_failed_to_start ON beads (last_dispatch_failed_at) WHERE last_dispatch_failed_at IS NOT NULL;
CREATE INDEX beads_ended ON beads (updated_at) WHERE status IN ('closed', 'failed');
CREATE INDEX beads_awaiting ON beads (bead_id) WHERE status <> 'closed' AND instr(metadata, '"awaits"') > 0;
CREATE INDEX convoys_of_unknown_status ON beads (bead_id)
    WHERE type = 'convoy' AND status NOT IN ('open', 'in_progress', 'in_review', 'closed', 'failed');
CREATE UNIQUE INDEX agents_by_hook ON agent_metadata (current_hook_bead_id) WHERE current_hook_bead_id IS NOT NULL;
CREATE INDEX agents_by_status ON agent_metadata (status, role);
CREATE INDEX convoys_staged ON convoy_metadata (bead_id) WHERE staged = 1;
CREATE INDEX dependents ON bead_dependencies (depends_on_bead_id, dependency_type);
CREATE INDEX escalations_to_bump ON escalation_metadata (bead_id) WHERE acknowledged = 0 AND re_escalation_count < 3;
PRAGMA defer_foreign_keys = OFF;

CREATE VIEW open_blockers AS
SELECT x.bead_id AS dependent_id, x.type AS dependent_type, x.status AS dependent_status,
       y.bead_id AS blocker_id, y.status AS blocker_status, y.labels AS blocker_labels, y.metadata AS blocker_metadata
FROM beads x
JOIN bead_dependencies d ON d.bead_id = x.bead_id AND d.dependency_type = 'blocks'
JOIN beads y ON y.bead_id = d.depends_on_bead_id
WHERE x.type IN ('issue', 'message', 'merge_request', 'convoy', 'molecule')
  AND x.status IN ('open', 'in_progress', 'in_review')
  AND y.status <> 'closed';
CREATE VIEW review_sources AS
SELECT m.bead_id AS review_id, m.status AS review_status, d.depends_on_bead_id AS source_id
FROM beads m
JOIN bead_dependencies d ON d.bead_id = m.bead_id AND d.dependency_type = 'tracks'
WHERE m.type = 'merge_request';
