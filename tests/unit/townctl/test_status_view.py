"""The status of a town as people see it."""

from typing import Any

from rich.text import Text

from infra.townctl.status_view import status_view


def lines(**changed: Any) -> list[str]:
    """The lines of a status, tables left out, of a town that differs from an idle one in these keys."""
    document: dict[str, Any] = {
        "townId": "alpha",
        "asOf": {"tick": 7, "time": "2026-01-10T12:00:00.000Z"},
        "inboxBatches": 0,
        "nextDueAt": None,
        "paused": False,
        "draining": False,
        "settling": False,
        "breaker": {"open": False, "failures": 0},
        "events": {"pending": 0, "poisoned": 0},
        **dict.fromkeys(
            ("agents", "beads", "failed", "refusedByForge", "convoys", "violations", "unreadable", "waiting"), ()
        ),
    }
    return [str(part) for part in status_view(document | changed) if isinstance(part, Text)]


def test_an_idle_town_says_what_can_wake_it() -> None:
    assert lines() == ["alpha: tick 7 at 2026-01-10T12:00:00.000Z; only an event can wake it"]


def test_counts_agree_with_their_nouns() -> None:
    """`1 events failed for good`."""
    [head, *claims] = lines(inboxBatches=1, breaker={"open": True, "failures": 1}, events={"pending": 1, "poisoned": 1})
    assert head.endswith("due now, with 1 batch of events in the inbox")
    assert claims == [
        "the dispatch breaker is open because 1 bead failed to start; nothing is dispatched until it closes",
        "1 stored event to be tried again: townctl event list alpha --pending",
        "1 event failed permanently: townctl event list alpha --poisoned",
    ]
    [head, *claims] = lines(inboxBatches=2, events={"pending": 2, "poisoned": 3})
    assert head.endswith("due now, with 2 batches of events in the inbox")
    assert [claim.partition(":")[0] for claim in claims] == [
        "2 stored events to be tried again",
        "3 events failed permanently",
    ]


def test_the_hint_about_a_paused_town_can_be_copied() -> None:
    assert lines(paused=True)[1] == "paused: no rule acts until `townctl town start alpha`"
