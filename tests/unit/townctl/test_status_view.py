"""The status of a town as people see it."""

from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.text import Text

from infra.townctl.people import waits_for
from infra.townctl.status_view import status_view
from shared.domain.brake import Brake
from shared.questions.mailbox import Saying, UnreadMail
from shared.questions.status import BreakerState, EventCounts
from tests.towns import T, a_town
from tests.unit.townctl.a_full_town import IDLE


def lines(**changed: Any) -> list[str]:
    """The lines of a status, tables left out, of a town that differs from an idle one in these fields."""
    return [str(part) for part in status_view(replace(IDLE, **changed)) if isinstance(part, Text)]


def test_an_idle_town_says_what_can_wake_it() -> None:
    assert lines() == ["alpha: only an event can wake it; tick 7, 0 s ago"]


def test_counts_agree_with_their_nouns() -> None:
    """`1 events failed for good`."""
    [head, *claims] = lines(inbox_batches=1, breaker=BreakerState(True, T, 1), events=EventCounts(1, 1, T))
    assert head.startswith("alpha: due now, with 1 batch of events in the inbox;")
    assert claims == [
        "the dispatch breaker is open because 1 bead failed to start; nothing is dispatched until it closes",
        "1 event waits for a tick: townctl event list alpha --pending",
        "1 event failed permanently: townctl event list alpha --poisoned",
    ]
    [head, *claims] = lines(inbox_batches=2, events=EventCounts(2, 3, T))
    assert head.startswith("alpha: due now, with 2 batches of events in the inbox;")
    assert [claim.partition(":")[0] for claim in claims] == [
        "2 events wait for a tick",
        "3 events failed permanently",
    ]


def test_the_hint_about_a_paused_town_can_be_copied() -> None:
    assert lines(paused=True)[1] == "paused: no rule acts until `townctl start alpha`"


def test_a_paused_town_says_who_has_paused_it() -> None:
    held = Brake(by="ann", at=T, stopped_agents=True)
    said = lines(paused=True, brake=held)[1]
    assert said.startswith("paused by ann ")
    assert said.endswith(", agents stopped: no rule acts until `townctl start alpha`")


def test_the_cell_of_a_waiting_bead_names_its_place_and_the_end_of_its_chain() -> None:
    town = a_town().bead("b0", labels=["gt:held"])
    for number in (1, 2):
        town.bead(f"b{number}").edge(f"b{number}", f"b{number - 1}")
    town.review("now", "in_progress").review("next").agent("f", "refinery", "working", hook="now")
    cells = {bead: waits_for(waiting, "alpha", {"b1": "Hang the door"}).plain for bead, waiting in town.waits().items()}
    assert cells == {
        "b0": "held: you can release it (held)",
        "b1": "blocked by b0 (blocked_by)",
        "b2": "blocked by Hang the door; at the root b0: held (blocked_by)",
        "next": "for a review by f, number 1 of 1 (awaiting_review)",
    }


def test_unread_mail_and_what_the_mayor_said_are_tables() -> None:
    unread = [UnreadMail("m", "mayor", "ann", "Hello", T, told, T if told else None) for told in (0, 2)]
    said = Saying("s", T, "All is well.", "m", answered=False)
    tables = list(status_view(replace(IDLE, unread_mail=tuple(unread), mayor_said=(said,))))[1:]
    console = Console(width=200)
    with console.capture() as shown:
        console.print(*tables)
    assert "mayor" in shown.get()
    assert [word in shown.get() for word in ("not yet", "2 times, last", "All is well.")] == [True, True, True]


def test_a_head_from_the_future_is_told_with_what_to_do() -> None:
    [_, ahead] = lines(ahead_seconds=3653 * 86400)
    assert ahead.startswith("its newest commit is 3653 days ahead of the clock here, so nothing is done until then")
    assert "`townctl doctor alpha`" in ahead


def test_a_town_on_its_own_clock_says_who_moves_it() -> None:
    assert lines(own_clock=True)[1:] == ["on its own clock, which only `townctl run --towns alpha` moves"]
