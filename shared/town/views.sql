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
