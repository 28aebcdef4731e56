"""A forge that answers anything at any time, agents that say anything, people who change their minds (issue 13)."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.properties.amount import examples
from tests.properties.forge_checks import BLIND, ForgeChecks, Review, caused, reviews
from tests.properties.forge_life import BEHAVIOURS, Adopt, Days, ForgeLife, ForgeStep, Happen, Wait, begins
from tests.properties.forge_world import MOODS, TO_A_PULL
from tests.properties.steps import Post

PICKS: Final = st.integers(0, 6)
OF_PEOPLE: Final = (
    "bead_created",
    "bead_cancelled",
    "bead_reopened",
    "convoy_created",
    "convoy_started",
    "convoy_changed",
    "convoy_closed",
    "pr_auto_merge",
    "pr_adopted",
    "escalation_acknowledged",
)
"""What people do to the town; none of it claims a merge."""
TOWNS: Final = {
    "reviewed": {"reviews": True},
    "unreviewed": {"reviews": False},
    "staged": {"staged": True},
    "direct": {"strategy": "direct"},
}


def posts() -> st.SearchStrategy[Post]:
    """A person acts in the town. Merge requests are not created by hand here: what they are about is anybody's guess."""
    return st.builds(Post, st.sampled_from(OF_PEOPLE), PICKS, st.integers(0, 3))


def days() -> st.SearchStrategy[Days]:
    """Ticks; most agents are honest, so that something gets merged at all."""
    workers = st.sampled_from(("works", "works", "works", *BEHAVIOURS))
    reviewers = st.sampled_from(("reviews", "reviews", "reviews", *BEHAVIOURS))
    return st.builds(Days, st.integers(1, 5), st.sampled_from(("due", "due", "30s", "5min")), workers, reviewers)


def happenings() -> st.SearchStrategy[Happen]:
    """Something happens at the forge."""
    return st.builds(Happen, st.sampled_from((*TO_A_PULL, *MOODS)), PICKS)


def histories() -> st.SearchStrategy[list[ForgeStep]]:
    """Anything, in any order."""
    adoptions = st.builds(Adopt, st.sampled_from(("any", "stranger", "fork")), PICKS)
    step = st.one_of(days(), days(), days(), happenings(), happenings(), posts(), adoptions, st.just(Wait()))
    return st.lists(step, max_size=16)


def lived(town: str, *history: ForgeStep) -> ForgeLife:
    """A town with a task that somebody works on, and what becomes of it."""
    life = begins(**TOWNS[town])  # type: ignore[arg-type] # the table above knows them
    ForgeChecks.watching(life)
    life.acts(Post("bead_created", 0, 0), Days(2), *history)
    return life


@examples(60)
@given(town=st.sampled_from(tuple(TOWNS)), history=histories())
def test_only_what_is_ours_is_merged_and_every_wait_is_true(town: str, history: list[ForgeStep]) -> None:
    lived(town, *history).close()


# Stories: what the histories above must be able to reach, one by one


def _review(life: ForgeLife) -> Review:
    return next(iter(reviews(life).values()))


def _by_the_town(life: ForgeLife) -> list[str]:
    return [done.pull.base_branch for done in life.forge.log if done.by == "the town"]


def test_honest_work_is_merged() -> None:
    life = lived("reviewed", Days(6), Days(4, "30s"))
    assert (_review(life).status, _by_the_town(life)) == ("closed", ["main"])
    life.close()


@pytest.mark.parametrize("whose", ["names a stranger's", "names a fork's", "names another case's"])
def test_the_pull_request_of_somebody_else_is_never_merged_and_its_reporter_is_told(whose: str) -> None:
    """The first worker named it; the work starts again, and the right pull request beside it is merged."""
    life = begins()
    ForgeChecks.watching(life)
    life.acts(Post("bead_created", 0, 0), Days(5, workers=whose), Days(8), Days(8, "30s"))
    statuses = sorted((review.status, review.metadata.get("failureKind")) for review in reviews(life).values())
    assert statuses == [("closed", None), ("failed", "pr_mismatch")]
    assert [done.pull.head_repository for done in life.forge.log] == ["acme/rig-1"]
    assert [done.pull.head_branch for done in life.forge.log] == [_branch_of_the_task(life)]
    life.close()


def _branch_of_the_task(life: ForgeLife) -> str:
    branch: str = life.town.rows("SELECT json_extract(metadata, '$.branch') FROM beads WHERE type = 'issue'")[0][0]
    return branch


def test_a_retarget_between_the_look_and_the_merge_closes_nothing_as_merged() -> None:
    """A merge names the head, and not the base: what it did is read again, and main does not contain it."""
    life = lived("reviewed", Happen("a retarget is coming"), Days(6), Days(6, "30s"))
    assert _by_the_town(life) == ["release"]
    assert _review(life).status != "closed"
    life.close()


def test_a_merge_that_the_forge_does_not_show_yet_is_found_by_a_poll() -> None:
    life = lived("reviewed", Days(2), Happen("lags"), Days(6), Days(4, "30s"), Happen("recovers"), Days(4, "30s"))
    assert (_review(life).status, _by_the_town(life)) == ("closed", ["main"])
    life.close()


@pytest.mark.parametrize("error", [name for name in MOODS if name.startswith("error: ")])
def test_forty_minutes_without_a_look_start_nothing_again(error: str) -> None:
    life = lived("reviewed", Days(2), Happen(error))
    starts = len(life.processes.started)
    life.acts(Days(9, "5min"))
    assert (_review(life).status, _review(life).obstacle in BLIND) == ("in_progress", True)
    assert [reason for reason, _ in caused(life)] == [_review(life).obstacle]
    life.acts(Happen("recovers"), Days(12, "5min"))
    assert (_review(life).status, len(life.processes.started), caused(life)) == ("closed", starts, [])
    life.close()


def _adopted(life: ForgeLife) -> Review:
    return next(review for review in reviews(life).values() if review.id.startswith("adopted"))


def test_the_adopted_pull_request_of_a_fork_is_watched_and_never_merged() -> None:
    life = lived("unreviewed", Adopt("fork"), Days(12, "30s"))
    adopted = _adopted(life)
    assert (adopted.status, adopted.obstacle) == ("in_progress", "awaiting_merge")
    assert all(done.pull.url != adopted.pr_url for done in life.forge.log)
    life.close()


def test_the_adopted_pull_request_of_a_stranger_in_the_rigs_repository_is_merged() -> None:
    life = lived("unreviewed", Adopt("stranger"), Days(8, "30s"))
    assert _adopted(life).status == "closed"
    life.close()


def test_a_draft_of_a_day_has_one_voice_that_ends_with_it() -> None:
    life = lived("reviewed", Happen("drafts"), Days(4), Wait(25), Days(2))
    assert (_review(life).obstacle, caused(life)) == ("draft", [("draft", _review(life).id)])
    life.acts(Happen("makes green"), Days(6, "5min"))
    assert caused(life) == []
    life.close()


def test_a_claim_that_a_branch_was_merged_is_looked_for() -> None:
    life = begins(**TOWNS["direct"])  # type: ignore[arg-type] # the table above knows them
    ForgeChecks.watching(life)
    life.acts(Post("bead_created", 0, 0), Days(3, workers="works without", reviewers="claims a merge"))
    life.acts(Days(1, reviewers="beats"))
    assert (_review(life).status, _review(life).obstacle) == ("in_progress", "merge_unproven")
    life.acts(Days(8, "30s", reviewers="merges"), Days(4, "30s", reviewers="beats"))
    assert (_review(life).status, _review(life).metadata.get("unproven")) == ("closed", None)
    life.close()
