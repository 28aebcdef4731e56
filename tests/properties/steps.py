"""The steps that a history is made of: plain values, so that hypothesis can shrink them and JSON can keep them."""

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from hypothesis import strategies as st

from tests.properties import facts, outside
from tests.properties.outside import Answers

MOVES: Final = ("due", "due", "due", "5s", "ms", "30s", "5min")
"""How time goes on before each tick of a while: to the next due time, or by a fixed span."""

GAPS: Final = (1, 5_000, 91_000, 180_001, 1_800_000, 3_700_000, 9_100_000, 90_000_000, 700_000_000)
"""Milliseconds without any tick."""


@dataclass(frozen=True)
class Post:
    """Somebody posts a fact."""

    type: str
    pick: int = 0
    variant: int = 0


@dataclass(frozen=True)
class PostPoison:
    """Somebody gets an event into the inbox that no tick can read."""

    pick: int


@dataclass(frozen=True)
class PostAgain:
    """An event comes again: the same content, or other content under the same id."""

    pick: int
    changed: bool = False


@dataclass(frozen=True)
class Answer:
    """A result of an effect comes, whether it was claimed or is long over."""

    pick: int
    answers: Answers = field(default_factory=Answers)


@dataclass(frozen=True)
class Live:
    """Some ticks in a row; meanwhile agents behave and effects are answered."""

    ticks: int = 1
    move: str = "due"
    agents: str = "beat"
    answers: Answers = field(default_factory=Answers)
    container: str = "running"


@dataclass(frozen=True)
class Gap:
    """Nobody ticks for a while, then a tick comes; agents beat right before it if they are still there."""

    ms: int
    agents: str = "beat"


Step = Post | PostPoison | PostAgain | Answer | Live | Gap

_KINDS: Final[dict[str, type]] = {kind.__name__: kind for kind in (Post, PostPoison, PostAgain, Answer, Live, Gap)}


def as_json(step: Step) -> dict[str, Any]:
    """A step as JSON keeps it."""
    return {"step": type(step).__name__, **asdict(step)}


def from_json(value: dict[str, Any]) -> Step:
    """The step that JSON kept."""
    fields = {name: Answers(**given) if name == "answers" else given for name, given in value.items() if name != "step"}
    step: Step = _KINDS[value["step"]](**fields)
    return step


PICKS: Final = st.integers(0, 7)


def answers() -> st.SearchStrategy[Answers]:
    """How the outside answers."""
    return st.builds(
        Answers,
        start=st.sampled_from(outside.STARTS),
        poll=st.sampled_from(tuple(outside.POLLS)),
        merge=st.sampled_from(outside.MERGES),
        call=st.sampled_from(outside.CALLS),
    )


def posts() -> st.SearchStrategy[Post]:
    """Facts of every type."""
    return st.builds(Post, type=st.sampled_from(tuple(facts.FACTS)), pick=PICKS, variant=PICKS)


def strays() -> st.SearchStrategy[Step]:
    """What should not come, and comes all the same."""
    return st.one_of(
        st.builds(PostPoison, PICKS),
        st.builds(PostAgain, st.integers(0, 30), st.booleans()),
        st.builds(Answer, PICKS, answers()),
    )


def lives() -> st.SearchStrategy[Live]:
    """Ordinary days."""
    return st.builds(
        Live,
        ticks=st.integers(1, 4),
        move=st.sampled_from(MOVES),
        agents=st.sampled_from(outside.BEHAVIOURS),
        answers=answers(),
        container=st.sampled_from(("running", "running", "stopped")),
    )


def gaps() -> st.SearchStrategy[Gap]:
    """Outages."""
    return st.builds(Gap, st.sampled_from(GAPS), st.sampled_from(outside.BEHAVIOURS))


def steps() -> st.SearchStrategy[Step]:
    """Any step."""
    return st.one_of(posts(), posts(), strays(), lives(), lives(), gaps())
