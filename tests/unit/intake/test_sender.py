"""Who may send which event (spec/events.md 1.6), as the event classes say it."""

import pytest

from shared.domain.states import SCOPES, Scope
from shared.events.beads import BeadCreated
from shared.intake.sender import ALLOWED
from tests.unit.events.catalogue import CATALOGUE


def test_each_scope_may_send_exactly_the_events_of_its_classes() -> None:
    scopes = ("agent", "coordinator", "container", "operator")
    assert {
        scope: {name for name, senders in CATALOGUE.items() if scope in senders.split()} for scope in scopes
    } == ALLOWED


def test_a_container_reports_about_its_processes_and_itself_and_nothing_else() -> None:
    assert ALLOWED["container"] == {
        "agent_completed",
        "agent_heartbeat",
        "container_status",
        "container_eviction",
        "container_ready",
    }


def test_an_operator_may_send_all_that_anybody_may() -> None:
    assert ALLOWED["agent"] | ALLOWED["coordinator"] | ALLOWED["container"] < ALLOWED["operator"]
    assert ALLOWED["agent"] - ALLOWED["coordinator"] == {"changes_requested"}


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("bead_type", ["issue", "merge_request"])
def test_only_operators_create_merge_requests(scope: Scope, bead_type: str) -> None:
    payload = {"bead": {"bead_id": "new", "type": bead_type, "title": "x"}}
    forbidden = BeadCreated.forbidden(payload, scope)
    assert forbidden == ("bead.type" if bead_type == "merge_request" and scope != "operator" else None)


@pytest.mark.parametrize("bead", ["new", None, ["new"], 7])
def test_what_is_no_bead_is_left_to_the_check_of_its_shape(bead: object) -> None:
    assert [BeadCreated.forbidden({"bead": bead}, scope) for scope in SCOPES] == [None] * len(SCOPES)
