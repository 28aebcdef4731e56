"""The message that tells the mayor which beads agents have proposed (spec/events.md 4.3e)."""

import pytest

from shared.events import proposals
from shared.town.town import Proposal
from tests.unit.events.small_town import SmallTown


def told(*titles: str) -> list[str]:
    """The lines of the message about proposals with these titles."""
    stage = SmallTown()
    stage.town.proposals.extend(Proposal(f"n{number}", title, "medium", "p") for number, title in enumerate(titles))
    proposals.tell_mayor(stage.town)
    [message] = stage.beads_of("message")
    return (message.body or "").splitlines()[2:]


@pytest.mark.parametrize(("length", "shown"), [(100, "x" * 100), (101, f"{'x' * 97}...")])
def test_a_title_of_up_to_100_characters_is_whole(length: int, shown: str) -> None:
    assert told("x" * length) == [f'- n0 (medium) by p: "{shown}"']


@pytest.mark.parametrize(("count", "more"), [(100, []), (101, ["and 1 more, all with the label gt:held"])])
def test_the_mayor_reads_a_hundred_proposals_and_how_many_more_there_are(count: int, more: list[str]) -> None:
    lines = told(*["x"] * count)
    assert (len(lines), lines[100:]) == (100 + len(more), more)
