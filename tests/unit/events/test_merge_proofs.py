"""merge_verified: what one look at the target branch changes, and when its answer is too late (spec/actions.md section 6.7)."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain import canonical, limits
from shared.domain.errors import RowUnreadable
from shared.domain.states import BeadStatus, EffectKind
from shared.domain.times import to_text
from tests.towns import MS
from tests.unit.events.small_town import SmallTown, T

LIMITED = {"kind": "rate_limited", "http_status": 429}


def claimed(status: str = "in_progress") -> SmallTown:
    """A review whose merge as commit c1 was reported."""
    stage = SmallTown()
    stage.merge_request(status=status, metadata={"merge_claim": {"commit": "c1", "head": "h1"}})
    return stage


def look(stage: SmallTown, *, bead_id: str = "m", **answer: Any) -> str:
    effect = stage.effect(EffectKind.VERIFY_MERGE, "m", 1, target_branch="main", merge_commit="c1")
    given: dict[str, Any] = answer or {"contained": True}
    return stage.apply("merge_verified", bead_id=bead_id, effect_id=effect.id, attempt=1, **given).outcome.text


def test_a_merge_that_the_target_contains_closes_the_review() -> None:
    stage = claimed()
    assert look(stage) == "applied"
    assert (stage.the_bead("m").status, stage.the_review().merge_commit) == (BeadStatus.CLOSED, "c1")


def test_an_answer_counts_once() -> None:
    stage = claimed()
    effect = stage.effect(EffectKind.VERIFY_MERGE, "m", 1, target_branch="main", merge_commit="c1")
    answer: dict[str, Any] = {"bead_id": "m", "effect_id": effect.id, "attempt": 1, "contained": False}
    assert stage.apply("merge_verified", **answer).outcome.text == "applied"
    assert stage.apply("merge_verified", **answer).outcome.text.startswith("skipped")
    assert stage.the_bead("m").metadata["merge_looks"] == 1


def test_an_answer_about_a_bead_that_is_gone_or_no_review_is_missing() -> None:
    stage = claimed()
    stage.bead("b", metadata={"merge_claim": {"commit": "c1"}})
    assert look(stage, bead_id="b") == "skipped: missing"
    assert stage.the_bead("b").status is BeadStatus.OPEN
    assert look(claimed(), bead_id="nothing") == "skipped: missing"


@pytest.mark.parametrize("status", ["closed", "failed"])
def test_an_answer_after_the_end_of_the_review_changes_nothing(status: str) -> None:
    stage = claimed(status)
    assert look(stage, contained=False) == "skipped: terminal"
    assert "merge_looks" not in stage.the_bead("m").metadata


def test_a_look_that_the_forge_puts_off_is_made_again_when_it_says() -> None:
    stage = claimed()
    look(stage, error={**LIMITED, "retry_at": to_text(T + timedelta(minutes=7))})
    assert stage.the_bead("m").metadata["merge_look_not_before"] == to_text(T + timedelta(minutes=7))
    assert "forge_failures" not in stage.the_bead("m").metadata


def test_a_forge_that_puts_a_look_off_for_years_is_asked_again_all_the_same() -> None:
    stage = claimed()
    look(stage, error={**LIMITED, "retry_at": to_text(T + timedelta(days=900))})
    assert stage.the_bead("m").metadata["merge_look_not_before"] == to_text(T + limits.RATE_LIMIT_AT_MOST)


def test_a_review_whose_row_is_missing_is_named() -> None:
    stage = claimed()
    stage.town.sql.execute("DELETE FROM review_metadata WHERE bead_id = 'm'")
    with pytest.raises(RowUnreadable, match="m"):
        look(stage)


@pytest.mark.parametrize(
    ("after", "refuted"), [(-MS, False), (0 * MS, True), (MS, True)], ids=["before", "at", "after"]
)
def test_looks_that_find_nothing_refute_a_report_only_after_two_minutes(after: timedelta, refuted: bool) -> None:
    """The forge may show a merge late, so three looks in a moment prove nothing."""
    stage = claimed()
    first = to_text(T - limits.MERGE_LOOKS_FOR - after)
    metadata = {**stage.the_bead("m").metadata, "merge_looks": limits.MERGE_LOOKS - 1, "merge_first_look_at": first}
    stage.town.sql.execute(
        "UPDATE beads SET metadata = :metadata WHERE bead_id = 'm'", {"metadata": canonical.dumps(metadata)}
    )
    assert look(stage, contained=False) == "applied"
    assert ("merge_claim" not in stage.the_bead("m").metadata) is refuted
