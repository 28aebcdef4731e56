"""Every query of the rules and invariants, by name. A test checks the query plan of each.

The indexes match these queries term by term: a partial index is used only by a query that repeats its WHERE term. Where the
planner would start with the wrong table, CROSS JOIN fixes the order.
"""

from typing import Final

from shared.domain import limits
from shared.town.rows import AGENT_COLUMNS, AGENT_TABLES, RIG_COLUMNS

SUM_COLUMNS: Final = (
    "u.kind, u.subject, u.input_tokens, u.output_tokens, u.cached_tokens, u.priced_tokens, u.cost_micros, "
    "u.told, u.spent_since"
)

QUERIES: Final[dict[str, str]] = {
    "rigs": f"SELECT {RIG_COLUMNS} FROM rigs g ORDER BY g.id",  # noqa: S608 - constants
    "agents": f"SELECT {AGENT_COLUMNS} FROM {AGENT_TABLES} ORDER BY a.bead_id",  # noqa: S608 - constants
    "issues": """
        SELECT b.bead_id, b.status, b.rig_id, b.assignee_agent_bead_id, b.labels, b.metadata, b.dispatch_attempts,
               b.last_dispatch_attempt_at, b.created_by, b.created_at, b.updated_at, b.priority, COALESCE(b.parent_bead_id,
               json_extract(CASE WHEN json_valid(b.metadata) THEN b.metadata ELSE '{}' END, '$.mr_bead_id')),
               CASE WHEN b.last_dispatch_attempt_at IS NULL THEN 0 ELSE EXISTS (
                   SELECT 1 FROM bead_dependencies d JOIN beads m ON m.bead_id = d.bead_id AND m.type = 'merge_request'
                   WHERE d.depends_on_bead_id = b.bead_id AND d.dependency_type = 'tracks'
                       AND m.created_at >= b.last_dispatch_attempt_at) END
        FROM beads b
        WHERE b.type = 'issue' AND b.status IN ('open', 'in_progress', 'in_review')
        ORDER BY b.created_at, b.bead_id""",
    "reviews": """
        SELECT b.bead_id, b.status, b.rig_id, b.parent_bead_id, b.metadata, b.dispatch_attempts,
               b.last_dispatch_attempt_at, b.created_by, b.created_at, b.updated_at, r.branch, r.target_branch, r.pr_url,
               c.bead_id, c.merge_mode, b.labels, COALESCE((
                   SELECT s.priority FROM bead_dependencies d JOIN beads s ON s.bead_id = d.depends_on_bead_id
                   WHERE d.bead_id = b.bead_id AND d.dependency_type = 'tracks' ORDER BY s.bead_id LIMIT 1), b.priority)
        FROM beads b
        JOIN review_metadata r ON r.bead_id = b.bead_id
        LEFT JOIN convoy_metadata c ON c.bead_id = COALESCE(b.parent_bead_id,
            json_extract(CASE WHEN json_valid(b.metadata) THEN b.metadata ELSE '{}' END, '$.convoy_id'))
        WHERE b.type = 'merge_request' AND b.status IN ('open', 'in_progress')
        ORDER BY b.created_at, b.bead_id""",
    "blockers": """
        SELECT v.dependent_id, v.dependent_type, v.blocker_id, v.blocker_status, v.blocker_labels, v.blocker_metadata
        FROM open_blockers v
        ORDER BY v.blocker_id, v.dependent_id""",
    "held_by_convoys": """
        SELECT b.bead_id, c.bead_id, m.staged, c.status IN ('closed', 'failed'), c.updated_at
        FROM beads b
        CROSS JOIN bead_dependencies d ON d.bead_id = b.bead_id AND d.dependency_type = 'tracks'
        CROSS JOIN beads c ON c.bead_id = d.depends_on_bead_id AND c.type = 'convoy'
        CROSS JOIN convoy_metadata m ON m.bead_id = c.bead_id
        WHERE b.type = 'issue' AND b.status IN ('open', 'in_progress', 'in_review')
            AND (m.staged = 1 OR c.status IN ('closed', 'failed'))
        ORDER BY b.bead_id, c.bead_id""",
    "convoys_of_issues": """
        SELECT b.bead_id, c.bead_id
        FROM beads b
        CROSS JOIN bead_dependencies d ON d.bead_id = b.bead_id AND d.dependency_type = 'tracks'
        CROSS JOIN beads c ON c.bead_id = d.depends_on_bead_id AND c.type = 'convoy'
        WHERE b.type = 'issue' AND b.status IN ('open', 'in_progress', 'in_review')
        ORDER BY b.bead_id, c.bead_id DESC""",
    "sums": f"""
        SELECT {SUM_COLUMNS}
        FROM beads b
        CROSS JOIN usage_sums u ON u.kind = CASE b.type WHEN 'convoy' THEN 'convoy' ELSE 'bead' END AND u.subject = b.bead_id
        WHERE b.type IN ('issue', 'merge_request', 'convoy') AND b.status IN ('open', 'in_progress', 'in_review')
        ORDER BY u.kind, u.subject""",  # noqa: S608 - constants
    "sum_of_day": f"SELECT {SUM_COLUMNS} FROM usage_sums u WHERE u.kind = 'day' AND u.subject = :id",  # noqa: S608
    "in_review": """
        SELECT i.bead_id, COALESCE(SUM(m.status IN ('open', 'in_progress')), 0), COALESCE(SUM(m.status = 'closed'), 0)
        FROM beads i
        LEFT JOIN bead_dependencies d ON d.depends_on_bead_id = i.bead_id AND d.dependency_type = 'tracks'
        LEFT JOIN beads m ON m.bead_id = d.bead_id AND m.type = 'merge_request'
        WHERE i.type = 'issue' AND i.status = 'in_review'
        GROUP BY i.bead_id
        ORDER BY i.bead_id""",
    "review_sources": """
        SELECT b.bead_id, d.depends_on_bead_id, s.type, s.status
        FROM beads b
        JOIN bead_dependencies d ON d.bead_id = b.bead_id AND d.dependency_type = 'tracks'
        JOIN beads s ON s.bead_id = d.depends_on_bead_id
        WHERE b.type = 'merge_request' AND b.status IN ('open', 'in_progress')
        ORDER BY b.bead_id, d.depends_on_bead_id""",
    "convoys": """
        SELECT c.bead_id, c.metadata, m.total_beads, m.closed_beads, m.feature_branch, m.merge_mode, m.staged,
               COUNT(b.bead_id), COALESCE(SUM(b.status IN ('closed', 'failed')), 0), COALESCE(SUM(b.status = 'failed'), 0),
               (SELECT f.rig_id FROM bead_dependencies e JOIN beads f ON f.bead_id = e.bead_id AND f.type = 'issue'
                WHERE e.depends_on_bead_id = c.bead_id AND e.dependency_type = 'tracks' AND f.rig_id IS NOT NULL
                ORDER BY f.created_at, f.bead_id LIMIT 1), c.updated_at
        FROM beads c
        JOIN convoy_metadata m ON m.bead_id = c.bead_id
        LEFT JOIN bead_dependencies d ON d.depends_on_bead_id = c.bead_id AND d.dependency_type = 'tracks'
        LEFT JOIN beads b ON b.bead_id = d.bead_id AND b.type = 'issue'
        WHERE c.type = 'convoy' AND c.status = 'open'
        GROUP BY c.bead_id
        ORDER BY c.bead_id""",
    "convoys_in_review": """
        SELECT DISTINCT t.depends_on_bead_id
        FROM beads b
        JOIN bead_dependencies s ON s.bead_id = b.bead_id AND s.dependency_type = 'tracks'
        JOIN bead_dependencies t ON t.bead_id = s.depends_on_bead_id AND t.dependency_type = 'tracks'
        WHERE b.type = 'merge_request' AND b.status IN ('open', 'in_progress')
        ORDER BY t.depends_on_bead_id""",
    "landings": """
        SELECT b.bead_id, c.bead_id, b.status, b.metadata, b.created_at
        FROM beads c
        JOIN bead_dependencies d ON d.depends_on_bead_id = c.bead_id AND d.dependency_type = 'tracks'
        JOIN beads b ON b.bead_id = d.bead_id AND b.type = 'merge_request'
        WHERE c.type = 'convoy' AND c.status = 'open'
        ORDER BY c.bead_id, b.bead_id""",
    "recent_nudges": """
        SELECT n.agent_bead_id, n.source, MAX(n.created_at)
        FROM agent_metadata a
        JOIN agent_nudges n ON n.agent_bead_id = a.bead_id
            AND n.source IN ('reconciler:warn', 'reconciler:escalate') AND n.created_at >= :since
        WHERE a.status IN ('working', 'stalled')
        GROUP BY n.agent_bead_id, n.source
        ORDER BY n.agent_bead_id, n.source""",
    "mail": """
        SELECT b.bead_id, b.title, b.body, b.assignee_agent_bead_id, b.created_by, b.metadata
        FROM beads b
        WHERE b.type = 'message' AND b.status = 'open'
        ORDER BY b.created_at, b.bead_id""",
    "escalations": f"""
        SELECT b.bead_id, b.title, e.severity, e.re_escalation_count, b.created_at
        FROM escalation_metadata e
        CROSS JOIN beads b ON b.bead_id = e.bead_id AND b.status NOT IN ('closed', 'failed')
        WHERE e.acknowledged = 0 AND e.re_escalation_count < {limits.ESCALATION_BUMPS}
        ORDER BY b.bead_id""",  # noqa: S608 - constants
    "caused_escalations": """
        SELECT b.bead_id, e.category, b.metadata
        FROM beads b
        JOIN escalation_metadata e ON e.bead_id = b.bead_id
        WHERE b.type = 'escalation' AND b.status IN ('open', 'in_progress', 'in_review')
        ORDER BY b.created_at, b.bead_id""",
    "expiring_nudges": """
        SELECT n.nudge_id, n.expires_at
        FROM agent_nudges n
        WHERE n.delivered_at IS NULL AND n.expires_at IS NOT NULL
        ORDER BY +n.nudge_id""",
    "unfinished_effects": """
        SELECT o.kind, o.subject
        FROM outbox o
        WHERE o.state IN ('pending', 'claimed')
        ORDER BY o.seq""",
    "failed_starts": """
        SELECT COUNT(*), MIN(b.last_dispatch_failed_at)
        FROM beads b
        WHERE b.last_dispatch_failed_at IS NOT NULL AND b.last_dispatch_failed_at >= :since AND b.status <> 'closed'""",
    "updated_at": "SELECT b.updated_at FROM beads b WHERE b.bead_id = :id",
    "unknown_convoys": """
        SELECT b.bead_id, b.status
        FROM beads b
        WHERE b.type = 'convoy' AND b.status NOT IN ('open', 'in_progress', 'in_review', 'closed', 'failed')
        ORDER BY b.bead_id""",
    "double_hooks": """
        SELECT a.current_hook_bead_id, COUNT(*)
        FROM agent_metadata a
        WHERE a.current_hook_bead_id IS NOT NULL
        GROUP BY a.current_hook_bead_id
        HAVING COUNT(*) > 1
        ORDER BY a.current_hook_bead_id""",
}
