"""Names, labels and headings of the page."""

from datetime import timedelta

from infra.ui.life import chapters_of
from infra.ui.names import Names
from infra.ui.short_ids import short
from infra.ui.tracks import LABEL_ROWS, LETTER_WIDTH_BESIDE, Upright, labels_of
from shared.questions.story import StoryEntry
from tests.towns import T


def test_an_id_that_somebody_chose_is_never_cut() -> None:
    """The page of the bead `preface-2` was headed `Bead preface-`."""
    assert short("preface-2-of-the-book") == "preface-2-of-the-book"
    assert short("5649000b-5940-878b-a0a4-5adf3aca34cd") == "5649000b"
    assert Names("alpha").of("write-the-preface") == "write-the-preface"


def at(left: float, text: str = "max_polecats_per_rig 1 -> 2", tick: int = 1) -> Upright:
    return Upright(left, text, tick, f"{text}, by ben")


def test_labels_of_lines_that_stand_close_stand_below_each_other_and_none_counts_the_others() -> None:
    """Four changes of settings were one label, `4 × settings changed`, and another one at 14:02 was swallowed by it."""
    near = [at(40, tick=3), at(42, tick=4), at(56, tick=5)]
    assert labels_of([at(5), *near, at(78)]) == [
        (at(5), 0),
        (at(40, tick=3), 2),
        (at(42, tick=4), 1),
        (at(56, tick=5), 0),
        (at(78), 0),
    ]


def test_of_more_lines_than_there_is_room_for_the_newest_have_labels() -> None:
    crowd = [at(50, tick=tick) for tick in range(1, LABEL_ROWS + 3)]
    assert [row for _, row in labels_of(crowd)] == [None, None, *reversed(range(LABEL_ROWS))]


def test_a_label_at_the_right_edge_stands_before_its_line() -> None:
    assert [row for _, row in labels_of([at(66), at(81)])] == [1, 0]
    assert [row for _, row in labels_of([at(50), at(95)])] == [0, 0]


def test_there_is_less_room_for_labels_with_a_tick_opened_beside_them() -> None:
    two = [at(30), at(50)]
    assert [row for _, row in labels_of(two)] == [0, 0]
    assert [row for _, row in labels_of(two, letter=LETTER_WIDTH_BESIDE)] == [1, 0]


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
