"""A forge that answers anything at any time, agents that say anything, people who change their minds (issue 13)."""

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from tests.properties.amount import examples
from tests.properties.forge_checks import ForgeChecks
from tests.properties.forge_life import BEHAVIOURS, Days, ForgeLife, ForgeStep, Happen, Wait, begins
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
    step = st.one_of(days(), days(), days(), happenings(), happenings(), posts(), st.just(Wait()))
    return st.lists(step, max_size=16)


def lived(town: str, *history: ForgeStep) -> ForgeLife:
    """A town with a task that somebody works on, and what becomes of it."""
    life = begins(**TOWNS[town])  # type: ignore[arg-type] # the table above knows them
    checks = ForgeChecks()
    life.checks = (checks.after,)  # type: ignore[assignment] # the checks of a life with a forge
    life.acts(Post("bead_created", 0, 0), Days(2), *history)
    return life


@examples(60)
@given(town=st.sampled_from(tuple(TOWNS)), history=histories())
def test_only_what_is_ours_is_merged_and_every_wait_is_true(town: str, history: list[ForgeStep]) -> None:
    lived(town, *history).close()
