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
