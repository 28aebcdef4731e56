"""The wall at the end of a lease: what a generation says in the very tick in which its lease ends counts for its own work only.

The end and the late report are in one tick, in this order, so neither the stop nor the next start has reached the process yet.
"""

from collections.abc import Mapping
from typing import Any, Final

import pytest

from shared.domain.errors import Refused
from shared.questions.credential_need import need_in
from tests.security.holders import OPERATOR, a_busy_town, agent, said, sent
from tests.towns import TownBuilder, outcome_of
from tests.worlds import a_world

_OWN: Final = {"generation": 5}
_BEAD: Final = {"bead_id": "X", "type": "issue", "title": "x", "rig_id": "rig-1"}
ENDS: Final = {
    "cancelled": (OPERATOR, "bead_cancelled", {}, "B"),
    "reset": (OPERATOR, "agent_reset", {}, None),
    "done": (agent(), "agent_done", {"branch": "gt/toast/b"}, "B"),
    "gave up": (agent(), "agent_completed", {"status": "failed", "reason": "no"}, None),
}
"""Who ends the lease of toast's generation, and how: with a word of the agent itself, its process has 15 minutes to end."""

LATE: Final[Mapping[str, tuple[Mapping[str, Any], str | None]]] = {
    "agent_done": ({"branch": "gt/toast/b", "summary": "again", **_OWN}, "B"),
    "agent_completed": ({"status": "failed", "reason": "late", **_OWN}, None),
    "agent_heartbeat": (_OWN, None),
    "agent_status": ({"message": "at it"}, None),
    "agent_checkpoint": ({"checkpoint": "half", **_OWN}, None),
    "agent_usage": ({"model": "m", "input_tokens": 1, "output_tokens": 1, "cached_tokens": 0, **_OWN}, None),
    "escalation_raised": ({"title": "fire", "severity": "critical"}, None),
    "mail_sent": ({"to": "mayor", "text": "hi"}, None),
    "bead_created": ({"bead": _BEAD}, None),
}
_OVER: Final = "skipped: its lease is over"
_TAKEN: Final = {
    "agent_completed": "applied",
    "agent_heartbeat": "applied",
    "agent_status": "applied",
    "agent_checkpoint": "skipped: no hook",
    "agent_usage": "applied",
    "escalation_raised": _OVER,
    "mail_sent": _OVER,
    "bead_created": _OVER,
}
_GIVEN: Final = {**_TAKEN, "escalation_raised": "applied", "mail_sent": "applied", "bead_created": "applied"}
OUTCOMES: Final[Mapping[str, Mapping[str, str]]] = {
    "cancelled": {**_TAKEN, "agent_done": "skipped: already done"},
    "reset": {
        **_TAKEN,
        "agent_done": "applied",
    },  # the bead waits for its next agent, and the work that it needs is there
    "done": {**_GIVEN, "agent_done": "skipped: already done"},
    "gave up": {**_GIVEN, "agent_done": "skipped: already done", "agent_completed": "skipped: already"},
}
OTHERS: Final = (
    "SELECT * FROM beads WHERE bead_id IN ('S', 'M', 'F', 'Q', 'answers') ORDER BY bead_id",
    "SELECT * FROM review_metadata WHERE bead_id = 'M'",
    "SELECT * FROM agent_metadata WHERE bead_id IN ('nux', 'r') ORDER BY bead_id",
)
"""What is nobody's but others'."""


def after(end: str, late: str | None = None) -> tuple[TownBuilder, str | None]:
    """The town after a tick with this end and then this report, and the outcome of the report."""
    town = a_busy_town()
    sender, event_type, payload, bead = ENDS[end]
    by = None if event_type == "bead_cancelled" else "toast"
    ends = sent(sender, said(event_type, payload, by=by, bead=bead, event_id="the-end-1"))
    if late is None:
        town.tick(*ends)
        return town, None
    words, about = LATE[late]
    (report,) = sent(agent(), said(late, words, by="toast", bead=about, event_id="too-late-1"))
    return town, outcome_of(town.tick(*ends, report), report.event_id)


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("end", ENDS)
def test_what_a_generation_says_as_its_lease_ends_counts_for_its_own_work_only(end: str, late: str) -> None:
    quiet, _ = after(end)
    town, outcome = after(end, late)
    assert outcome == OUTCOMES[end][late]
    for others in OTHERS:
        assert town.rows(others) == quiet.rows(others)
    status = "in_review" if (end, late) == ("reset", "agent_done") else quiet.status("B")
    assert town.status("B") == status


@pytest.mark.parametrize("late", ["agent_heartbeat", "agent_status", "agent_checkpoint", "agent_completed"])
@pytest.mark.parametrize("end", ENDS)
def test_nothing_that_it_says_then_brings_its_credential_back(end: str, late: str) -> None:
    town, _ = after(end, late)
    with pytest.raises(Refused):
        need_in(a_world(town).image(), "toast", 5)
