"""When the target branch of a reported merge is looked at, and when not."""

import pytest

from shared.actions import VerifyMerge
from shared.domain.outcomes import Applied, Skipped
from tests.towns import a_town
from tests.unit.actions.builders import on

VERIFY = VerifyMerge(bead_id="m")
CLAIM = {"merge_claim": {"commit": "c1", "head": "h1"}}


def test_a_reported_merge_is_looked_for_at_its_head_and_commit() -> None:
    stage = on(a_town().review("m", status="in_progress", metadata=CLAIM))
    assert stage.apply(VERIFY) == Applied()
    [(kind, subject, _, payload)] = stage.effects
    assert (kind, subject, payload["head"], payload["merge_commit"]) == ("verify_merge", "m", "h1", "c1")


def test_no_merge_of_an_issue_or_of_a_bead_that_is_gone_is_looked_for() -> None:
    assert on(a_town()).refused(VERIFY) == Skipped("missing")
    assert on(a_town().bead("m", status="in_progress", metadata=CLAIM)).refused(VERIFY) == Skipped("missing")


@pytest.mark.parametrize("status", ["open", "closed"])
def test_a_review_that_has_moved_on_is_not_looked_at(status: str) -> None:
    assert on(a_town().review("m", status=status, metadata=CLAIM)).refused(VERIFY) == Skipped("moved_on")


def test_without_a_report_there_is_nothing_to_look_for() -> None:
    assert on(a_town().review("m", status="in_progress")).refused(VERIFY) == Skipped("no claim")


def test_a_damaged_part_of_a_claim_counts_as_unknown() -> None:
    stage = on(a_town().review("m", status="in_progress", metadata={"merge_claim": {"commit": 5, "head": "h1"}}))
    assert stage.apply(VERIFY) == Applied()
    assert (stage.effects[0][3]["head"], stage.effects[0][3]["merge_commit"]) == ("h1", None)
