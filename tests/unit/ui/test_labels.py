"""Names, labels and headings of the page."""

from datetime import timedelta

from infra.ui.life import chapters_of
from infra.ui.names import Names
from infra.ui.short_ids import short
from infra.ui.tracks import Upright, labels_of
from shared.questions.story import StoryEntry
from tests.towns import T


def test_an_id_that_somebody_chose_is_never_cut() -> None:
    """The page of the bead `preface-2` was headed `Bead preface-`."""
    assert short("preface-2-of-the-book") == "preface-2-of-the-book"
    assert short("5649000b-5940-878b-a0a4-5adf3aca34cd") == "5649000b"
    assert Names("alpha").of("write-the-preface") == "write-the-preface"


def at(left: float, text: str = "settings changed", tick: int = 1) -> Upright:
    return Upright(left, text, tick)


def test_labels_of_lines_that_stand_close_are_one_label() -> None:
    """Four labels lay on each other."""
    near = [at(42, tick=4), at(40, tick=3), at(56, "code abc → def", tick=5)]
    assert labels_of([at(5), *near, at(78)]) == [
        at(5),
        at(40, "2 × settings changed and 1 more", tick=3),
        at(78),
    ]


def test_a_label_at_the_right_edge_stands_before_its_line() -> None:
    assert [each.left for each in labels_of([at(66), at(81)])] == [66]
    assert [each.left for each in labels_of([at(60), at(95)])] == [60, 95]


def test_a_label_that_stands_alone_says_what_it_is() -> None:
    assert labels_of([at(3), at(90, "restored to commit 7")]) == [at(3), at(90, "restored to commit 7")]
    assert labels_of([]) == []


def status(minutes: int, old: str, new: str) -> StoryEntry:
    return StoryEntry(
        minutes, T + timedelta(minutes=minutes), "audit", "status_changed", f"status_changed: {old} -> {new}"
    )


def test_a_bead_that_was_taken_back_and_then_failed_has_not_recovered() -> None:
    """`Recovery by itself` stood over the steps that ended in `failed`."""
    back = [status(1, "open", "in_progress"), status(2, "in_progress", "open")]
    given_up = chapters_of([*back, status(3, "open", "failed")], is_agent=False)
    assert [(each.kind, each.failed) for each in given_up[-2:]] == [("recovery", True), ("ended", False)]
    goes_on = chapters_of(back, is_agent=False)
    assert (goes_on[-1].kind, goes_on[-1].failed) == ("recovery", False)
