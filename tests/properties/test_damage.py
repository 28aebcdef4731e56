"""One damaged row costs nothing but its own actions (scenario 171 of spec/scenarios.md)."""

from dataclasses import dataclass
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from shared.domain import canonical
from tests.properties import steps
from tests.properties.amount import examples
from tests.properties.checks import acts
from tests.properties.life import Life
from tests.properties.starts import STARTS, begin
from tests.properties.steps import Step

ABOUT_THE_TOWN = {
    "housekeeping.dispatch_triage",  # asks about all requests at once
    "housekeeping.refresh_token",  # depends on whether anything goes on
    "housekeeping.stop_idle_container",  # as above
    "breaker.announce",
}
"""Rules whose one action stands for all rows together: an unreadable row is one less of them."""


@dataclass(frozen=True)
class Damage:
    """Another value for a column of the nth row that the rules look at."""

    table: str
    rows: str
    column: str
    value: str


LIVE = "FROM beads WHERE type IN ('issue', 'merge_request') AND status NOT IN ('closed', 'failed') ORDER BY bead_id"
DAMAGES = (
    *(
        Damage("beads", f"SELECT bead_id {LIVE}", column, value)
        for column, value in (
            ("labels", "no json"),
            ("labels", '{"a":1}'),
            ("metadata", "no json"),
            ("metadata", "[]"),
            ("updated_at", "yesterday"),
            ("created_at", "2026-01-10T12:00:00Z"),
            ("last_dispatch_attempt_at", "soon"),
        )
    ),
    *(
        Damage("agent_metadata", "SELECT bead_id FROM agent_metadata ORDER BY bead_id", column, value)
        for column, value in (
            ("role", "witness"),
            ("status", "asleep"),
            ("last_dispatch_outcome", "perhaps"),
            ("last_activity_at", "just now"),
            ("stalled_at", "never"),
        )
    ),
    Damage(
        "beads", "SELECT bead_id FROM beads WHERE type = 'convoy' AND status = 'open' ORDER BY bead_id", "metadata", "{"
    ),
    Damage(
        "convoy_metadata",
        "SELECT bead_id FROM beads WHERE type = 'convoy' AND status = 'open' ORDER BY bead_id",
        "merge_mode",
        "by-force",
    ),
    Damage(
        "escalation_metadata",
        "SELECT b.bead_id FROM beads b JOIN escalation_metadata e ON e.bead_id = b.bead_id "
        "WHERE b.status = 'open' AND e.acknowledged = 0 AND e.re_escalation_count < 3 ORDER BY b.bead_id",
        "severity",
        "terrible",
    ),
    Damage("rigs", "SELECT id FROM rigs ORDER BY id", "config", '{"max_dispatch_attempts":"many"}'),
    Damage(
        "agent_nudges",
        "SELECT nudge_id FROM agent_nudges WHERE delivered_at IS NULL AND expires_at IS NOT NULL ORDER BY nudge_id",
        "expires_at",
        "later",
    ),
)


@examples(60)
@given(
    start=st.sampled_from(tuple(name for name in STARTS if name != "paused")),  # no rule reads there
    history=st.lists(steps.lives(), max_size=3),
    damage=st.sampled_from(DAMAGES),
    pick=st.integers(0, 7),
    ahead=st.sampled_from((1, 5_000, 40_000, 100_000, 400_000, 3_700_000, 15_000_000)),
)
def test_a_damaged_row_changes_only_its_own_actions(
    start: str, history: list[Step], damage: Damage, pick: int, ahead: int
) -> None:
    life = begin(start)
    try:
        life.play(*history)
        rows = life.town.rows(damage.rows)
        assume(rows)
        _compare(life, damage, rows[pick % len(rows)][0], ahead)
    finally:
        life.close()


def _compare(life: Life, damage: Damage, key: str, ahead: int) -> None:
    related = _related(life, damage.table, key)
    with life.copied() as whole, life.copied() as damaged:
        _set(damaged, damage, key)
        with_all = _acts_at(whole, ahead)
        without_it = _acts_at(damaged, ahead)
        inside = ("rule_failed", "step_failed", "check_failed")
        assert [alert.message for alert in damaged.ticked[-1].alerts if alert.kind in inside] == []
        named = [violation.subject for violation in damaged.ticked[-1].violations if violation.invariant == 1]
        assert any(key in subject for subject in named), f"violation 1 names {damage.table} {key}, not {named}"
        assert all(set(subject.split()) & related for subject in named)
        # What this very tick made of the row is related too. New ids are counted, so they differ between the two towns.
        known = {row[0] for row in life.town.rows("SELECT bead_id FROM beads UNION SELECT nudge_id FROM agent_nudges")}
        after, after_damage = _related(whole, damage.table, key), _related(damaged, damage.table, key)
        related |= (after | after_damage) & known
        assert _others(without_it, related | after_damage, known) == _others(with_all, related | after, known)


def _acts_at(life: Life, ahead: int) -> list[dict[str, Any]]:
    life.play(steps.Gap(ahead, "silent"))
    return acts(life.ticked[-1])


def _others(actions: list[dict[str, Any]], related: set[str], known: set[str]) -> list[dict[str, Any]]:
    """The actions about other rows, in an order that new ids have no part in."""
    others = [each for each in actions if each["rule"] not in ABOUT_THE_TOWN and not _words(each["action"]) & related]
    for each in others:
        for name in ("bead_id", "agent_id"):
            if each["action"].get(name) and each["action"][name] not in known:
                each["action"][name] = "new"
    return sorted(others, key=canonical.dumps)


def _words(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {word for inner in value.values() for word in _words(inner)}
    if isinstance(value, list):
        return {word for inner in value for word in _words(inner)}
    return {word.strip(",;:") for word in str(value).replace(":", " ").split()}


def _set(life: Life, damage: Damage, key: str) -> None:
    if damage.table == "agent_nudges":
        life.town.sql.execute("UPDATE agent_nudges SET expires_at = ? WHERE nudge_id = ?", (damage.value, key))
        return
    life.town.update(damage.table, key, **{damage.column: damage.value})


def _related(life: Life, table: str, key: str) -> set[str]:
    """The row and what is tied to it: its agent or bead, what it waits for and what waits for it, its rig's queue."""
    related = {key}
    for _ in range(2):
        for pair in life.town.rows(
            "SELECT bead_id, current_hook_bead_id FROM agent_metadata WHERE current_hook_bead_id IS NOT NULL "
            "UNION ALL SELECT bead_id, assignee_agent_bead_id FROM beads WHERE assignee_agent_bead_id IS NOT NULL "
            "UNION ALL SELECT bead_id, parent_bead_id FROM beads WHERE parent_bead_id IS NOT NULL "
            "UNION ALL SELECT bead_id, depends_on_bead_id FROM bead_dependencies "
            "UNION ALL SELECT nudge_id, agent_bead_id FROM agent_nudges "
        ):
            if related & set(pair):
                related |= set(pair)
    rigs = {row[1] for row in life.town.rows("SELECT bead_id, rig_id FROM beads") if row[0] in related} - {None}
    if table == "rigs":
        rigs |= {key}
        related |= {row[0] for row in life.town.rows("SELECT bead_id FROM beads WHERE rig_id = ?", key)}
    for rig in rigs:  # one refinery and one queue of reviews per rig
        related |= {
            row[0]
            for row in life.town.rows(
                "SELECT bead_id FROM beads WHERE rig_id = ? AND type = 'merge_request' UNION "
                "SELECT b.bead_id FROM beads b JOIN agent_metadata a ON a.bead_id = b.bead_id "
                "WHERE b.rig_id = ? AND a.role = 'refinery'",
                rig,
                rig,
            )
        }
    return related
