"""What must hold after every tick, each as a check with the name of the property."""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from shared.domain.report import TickReport
from shared.events import BY_TYPE
from shared.town.known_events import digest_of
from tests.properties.life import Life, Ticked

TERMINAL: Final = ("closed", "failed")

ACTED: Counter[str] = Counter()
"""How often each rule had an action applied, in all lives of this process."""
CAME: Counter[str] = Counter()
"""How often each type of event was applied."""


@dataclass
class History:
    """What the checks remember from tick to tick of one life."""

    beads: dict[str, str] = field(default_factory=dict)
    events: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)
    conflicts: int = 0
    reopened: set[tuple[str, str]] = field(default_factory=set)


class Checks:
    """The checks of one life, in the order in which they are made."""

    def __init__(self, life: Life, *, legal: bool = True) -> None:
        """`legal`: the town was made by events alone, so that no invariant may ever be broken."""
        self._legal = legal
        self._seen = History()
        self._remember(life)
        life.checks = (self.after,)

    def after(self, life: Life, ticked: Ticked) -> None:
        """Everything that is judged after a tick."""
        self.no_rule_action_or_step_failed_inside(ticked.report)
        if self._legal and not life.town.value("paused"):
            self.the_invariants_hold(ticked.report)
        self.every_event_has_one_outcome_and_keeps_it(life, ticked.report)
        self.only_reopening_changes_a_terminal_bead(life)
        self.nothing_outlives_its_review(life)
        self.no_row_is_moved_to_two_states(life, ticked.report)
        self._remember(life)

    def no_rule_action_or_step_failed_inside(self, report: TickReport) -> None:
        """A rule, action, step or check that raises is a bug, whatever the history."""
        inside = [alert.message for alert in report.alerts if alert.kind.endswith("_failed")]
        assert inside == [], f"something failed inside the tick: {inside}"

    def the_invariants_hold(self, report: TickReport) -> None:
        """No violation opens: what is seen once is repaired before its grace is over."""
        assert [violation.as_json() for violation in report.violations] == []

    def every_event_has_one_outcome_and_keeps_it(self, life: Life, report: TickReport) -> None:
        """Applied once or waiting; what was processed stays as it is until retention removes it."""
        rows = _events(life)
        digests = {event for (event,) in life.town.rows("SELECT event FROM known_events")}
        for event_id in [each for each in self._seen.ended if each not in rows]:
            if digest_of(event_id) not in digests:  # nobody remembers it any more
                self._seen.ended.pop(event_id)
                life.posted.pop(event_id, None)
        for seen in report.events:
            again = (
                seen.event_type == "pr_polled" and seen.outcome != "applied"
            )  # may be transient: forgotten, then late
            if seen.outcome not in ("failed", "conflict") and not again:
                self._seen.ended[seen.event_id] += 1
        for event_id, envelope in life.posted.items():
            known = BY_TYPE.get(envelope.event_type)
            if envelope in life.waiting or (known is not None and known.transient):
                continue  # a transient event leaves no row; applying it again is harmless and allowed
            row = rows.get(event_id)
            pending = row is not None and row[1] is None
            deleted = row is not None and row[2] == "skipped: deleted"
            times = self._seen.ended[event_id]
            least = 0 if pending or deleted or envelope.event_type == "pr_polled" else 1
            assert least <= times <= (not pending), (
                f"{envelope.event_type} {event_id} was applied {times} times, row {row}"
            )
        for event_id, before in self._seen.events.items():
            if before[1] is not None and event_id in rows:
                assert rows[event_id] == before, f"processed event {event_id} changed: {before} to {rows[event_id]}"

    def only_reopening_changes_a_terminal_bead(self, life: Life) -> None:
        """Closed is for ever; failed until bead_reopened."""
        now = _statuses(life)
        reopened = _reopened(life) - self._seen.reopened
        for bead_id, before in self._seen.beads.items():
            if before in TERMINAL and bead_id in now and now[bead_id] != before:
                assert before == "failed", f"bead {bead_id} left closed for {now[bead_id]}"
                assert bead_id in {bead for _, bead in reopened}, f"bead {bead_id} left failed without bead_reopened"

    def nothing_outlives_its_review(self, life: Life) -> None:
        """A review that has ended leaves no live follow-up behind, and an ended pull request that may be open is listed."""
        left = life.town.rows(
            "SELECT m.bead_id, b.bead_id FROM beads m JOIN beads b ON b.parent_bead_id = m.bead_id WHERE "
            "m.type = 'merge_request' AND m.status IN ('closed', 'failed') AND b.status NOT IN ('closed', 'failed') "
            "AND (b.labels LIKE '%gt:rework%' OR b.labels LIKE '%gt:pr-%') ORDER BY 1, 2"
        )
        assert left == [], f"follow-ups of ended reviews are live: {left}"
        early = life.town.rows(
            "SELECT c.bead_id FROM beads c WHERE c.type = 'convoy' AND c.status = 'closed' AND EXISTS (SELECT 1 "
            "FROM bead_dependencies d JOIN beads b ON b.bead_id = d.bead_id AND b.type = 'issue' "
            "WHERE d.depends_on_bead_id = c.bead_id AND d.dependency_type = 'tracks' "
            "AND b.status NOT IN ('closed', 'failed')) ORDER BY 1"
        )
        assert not self._legal or early == [], f"closed convoys have live tasks: {early}"

    def no_row_is_moved_to_two_states(self, life: Life, report: TickReport) -> None:
        """No action loses against another of its pass; the counter counts conflicting events only."""
        lost = [(judged.rule, judged.action) for judged in report.actions if judged.reason == "conflict"]
        assert lost == [], f"two actions of one pass want different states: {lost}"
        conflicting = sum(seen.outcome == "conflict" for seen in report.events)
        assert life.town.value("counters")["conflicts"] == self._seen.conflicts + (0 if report.quiet else conflicting)

    def _remember(self, life: Life) -> None:
        self._seen.beads = _statuses(life)
        self._seen.events = _events(life)
        self._seen.conflicts = life.town.value("counters")["conflicts"]
        self._seen.reopened = _reopened(life)


def _statuses(life: Life) -> dict[str, str]:
    return dict(life.town.rows("SELECT bead_id, status FROM beads ORDER BY bead_id"))


def _events(life: Life) -> dict[str, tuple[Any, ...]]:
    rows = life.town.rows(
        "SELECT event_id, seq, processed_at, outcome, event_type, content_digest, retry_count FROM town_events ORDER BY seq"
    )
    return {row[0]: row[1:] for row in rows}


def _reopened(life: Life) -> set[tuple[str, str]]:
    """Applied bead_reopened events with their beads."""
    rows = life.town.rows(
        "SELECT event_id, bead_id FROM town_events WHERE event_type = 'bead_reopened' AND outcome = 'applied'"
    )
    return {(row[0], row[1]) for row in rows}


def acts(report: TickReport) -> list[dict[str, Any]]:
    """The actions of a tick with rule and outcome, as plain JSON."""
    decoded: list[dict[str, Any]] = json.loads(json.dumps([judged.as_json() for judged in report.actions]))
    return decoded


def in_progress(life: Life) -> bool:
    """Whether an agent works or stalls or an MR is in progress: such a town is watched, not quiet."""
    found = life.town.rows(
        "SELECT 1 FROM agent_metadata WHERE status IN ('working', 'stalled') "
        "UNION ALL SELECT 1 FROM beads WHERE type = 'merge_request' AND status = 'in_progress'"
    )
    return bool(found)


def remember(life: Life, ticked: Ticked) -> None:
    """Count what this tick reached."""
    for judged in ticked.report.actions:
        if judged.outcome == "applied":
            ACTED[judged.rule] += 1
    for seen in ticked.report.events:
        if seen.outcome == "applied":
            CAME[seen.event_type] += 1
