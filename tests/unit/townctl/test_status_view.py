"""The status of a town as people see it."""

from dataclasses import replace
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from infra.townctl.status_view import status_view, waits_for
from shared.questions.mailbox import Saying, UnreadMail
from shared.questions.status import BeadSummary, BreakerState, Commit, EventCounts, TownStatus
from tests.towns import T, a_town

IDLE: Final = TownStatus(
    town_id="alpha",
    as_of=Commit(7, 7, T),
    now=T,
    next_due_at=None,
    only_an_event_wakes_it=True,
    paused=False,
    draining=False,
    settling=False,
    breaker=BreakerState(open=False, since=None, failures=0),
    agents=(),
    beads=(),
    waiting=(),
    failed=(),
    refused_by_forge=(),
    abandoned=(),
    convoys=(),
    violations=(),
    unreadable=(),
    inbox_batches=0,
    events=EventCounts(0, 0, None),
    last_tick=None,
    alarms=(),
    bead_summary=BeadSummary(0, {}),
    waiting_summary={},
    unread_mail=(),
    mayor_said=(),
    merges_unproven=0,
    spend=(),
)


def lines(**changed: Any) -> list[str]:
    """The lines of a status, tables left out, of a town that differs from an idle one in these fields."""
    return [str(part) for part in status_view(replace(IDLE, **changed)) if isinstance(part, Text)]


def test_an_idle_town_says_what_can_wake_it() -> None:
    assert lines() == ["alpha: tick 7 at 2026-01-10T12:00:00.000Z; only an event can wake it"]


def test_counts_agree_with_their_nouns() -> None:
    """`1 events failed for good`."""
    [head, *claims] = lines(inbox_batches=1, breaker=BreakerState(True, T, 1), events=EventCounts(1, 1, T))
    assert head.endswith("due now, with 1 batch of events in the inbox")
    assert claims == [
        "the dispatch breaker is open because 1 bead failed to start; nothing is dispatched until it closes",
        "1 stored event to be tried again: townctl event list alpha --pending",
        "1 event failed permanently: townctl event list alpha --poisoned",
    ]
    [head, *claims] = lines(inbox_batches=2, events=EventCounts(2, 3, T))
    assert head.endswith("due now, with 2 batches of events in the inbox")
    assert [claim.partition(":")[0] for claim in claims] == [
        "2 stored events to be tried again",
        "3 events failed permanently",
    ]


def test_the_hint_about_a_paused_town_can_be_copied() -> None:
    assert lines(paused=True)[1] == "paused: no rule acts until `townctl town start alpha`"


def test_the_cell_of_a_waiting_bead_names_its_place_and_the_end_of_its_chain() -> None:
    town = a_town().bead("b0", labels=["gt:held"])
    for number in (1, 2):
        town.bead(f"b{number}").edge(f"b{number}", f"b{number - 1}")
    town.review("now", "in_progress").review("next").agent("f", "refinery", "working", hook="now")
    cells = {bead: waits_for(waiting) for bead, waiting in town.waits().items()}
    assert cells == {
        "b0": "held (operator)",
        "b1": "blocked_by (b0)",
        "b2": "blocked_by (b1), root b0: held",
        "next": "awaiting_review (f), number 1 of 1",
    }


def test_unread_mail_and_what_the_mayor_said_are_tables() -> None:
    unread = [UnreadMail("m", "mayor", "ann", "Hello", T, told, T if told else None) for told in (0, 2)]
    said = Saying("s", T, "All is well.", "m")
    tables = list(status_view(replace(IDLE, unread_mail=tuple(unread), mayor_said=(said,))))[1:]
    console = Console(width=200)
    with console.capture() as shown:
        console.print(*tables)
    assert "mayor" in shown.get()
    assert [word in shown.get() for word in ("not yet", "2 times, last", "All is well.")] == [True, True, True]
