"""`townctl watch`: a town at a glance, again and again, also while its place does not answer."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from rich.console import RenderableType

from infra.townctl.place import Place
from infra.townctl.watch import Seen, Watcher, look, picture
from shared.domain.errors import StoreUnavailable
from shared.questions.status import TownStatus
from shared.questions.tick_list import PastTick, TickList
from tests.towns import T, ago
from tests.unit.townctl.a_full_town import a_full_town
from tests.unit.townctl.test_tables import printed


class APlace:
    """Answers with a town, until it is told to fail."""

    def __init__(self, town: TownStatus) -> None:
        self.town, self.fails = town, False

    def status(self, town_id: str) -> TownStatus:
        """The town."""
        if self.fails:
            raise StoreUnavailable(f"town {town_id} does not answer")
        return self.town

    def ticks(self, town_id: str, **_: Any) -> TickList:
        """Two ticks: one that did something, and one that only heard that agents live."""
        return TickList(
            town_id, ticks=(a_tick(117, "bead_created"), a_tick(118, "agent_heartbeat")), next=None, previous=None
        )


def a_tick(number: int, event: str) -> PastTick:
    events = [{"event_id": "e", "event_type": event, "outcome": "applied"}]
    row = {"tick_no": number, "outputs": {"events": events, "actions": [], "next_due_at": None}}
    return PastTick(tick=number, time=ago(minutes=3), row=cast(Any, row))


def a_watcher(place: APlace) -> tuple[Watcher, list[list[RenderableType]]]:
    shown: list[list[RenderableType]] = []
    watched = look(cast(Place, place), "alpha")
    return Watcher(cast(Place, place), "alpha", watched, every=3, show=shown.append), shown


def seconds(count: int) -> Iterator[None]:
    """So many seconds, and then Ctrl-C."""
    yield from [None] * count
    raise KeyboardInterrupt


def watch(watcher: Watcher, count: int) -> None:
    clock = seconds(count)
    with pytest.raises(KeyboardInterrupt):
        watcher.run(sleep=lambda _: next(clock))


def test_a_glance_has_what_waits_who_works_what_happened_and_what_comes() -> None:
    lines = printed(*picture(look(cast(Place, APlace(a_full_town())), "alpha"), rows=14), columns=120)
    text = "\n".join(lines)
    assert lines[0] == "alpha: next due in 23 h 50 min; tick 118, 2 min ago"
    assert "Hang the gate  5 starts of an agent failed" in text
    assert "reopen Hang the gate: townctl bead reopen alpha gate" in text
    assert "10 of 46 beads; all of them: townctl bead list alpha --status live" in text
    assert "Toast  works" in text
    assert "20 idle agents" in text
    assert "3 min ago      bead_created" in text
    assert "heartbeat" not in text


def test_the_times_move_between_two_looks() -> None:
    watcher, shown = a_watcher(APlace(a_full_town()))
    watch(watcher, 2)
    assert [printed(*parts, columns=100)[0].partition(";")[0] for parts in shown] == [
        "alpha: next due in 23 h 50 min",
        "alpha: next due in 23 h 49 min",
        "alpha: next due in 23 h 49 min",
    ]


def test_what_changes_is_seen_at_the_next_look() -> None:
    place = APlace(a_full_town())
    watcher, shown = a_watcher(place)
    place.town = replace(place.town, next_due_at=T + timedelta(minutes=1), draining=False)
    watch(watcher, 3)
    assert printed(*shown[-1], columns=100)[0].startswith("alpha: next due in 1 min")
    assert "draining" not in "\n".join(printed(*shown[-1], columns=100))


def test_an_outage_is_told_below_the_last_picture_and_ends() -> None:
    place = APlace(a_full_town())
    watcher, shown = a_watcher(place)
    place.fails = True
    watch(watcher, 3)
    lines = printed(*shown[-1], columns=100)
    assert lines[-2:] == ["not answered for 3 s: town alpha does not answer", "Ctrl-C ends"]
    assert any(line.startswith("Write the lexer") for line in lines)
    place.fails = False
    watch(watcher, 3)
    assert "not answered" not in "\n".join(printed(*shown[-1], columns=100))
    assert isinstance(watcher.seen, Seen)
