"""Who may send which event (spec/events.md 1.6), as the event classes say it."""

from shared.intake.sender import ALLOWED
from tests.unit.events.catalogue import CATALOGUE


def test_each_scope_may_send_exactly_the_events_of_its_classes() -> None:
    scopes = ("agent", "coordinator", "container", "operator")
    assert {
        scope: {name for name, senders in CATALOGUE.items() if scope in senders.split()} for scope in scopes
    } == ALLOWED


def test_each_scope_may_send_all_that_the_narrower_ones_may() -> None:
    assert ALLOWED["agent"] < ALLOWED["coordinator"] < ALLOWED["container"] < ALLOWED["operator"]
