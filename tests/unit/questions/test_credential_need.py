"""Which generation of an agent may have a credential: by the last commit, and nothing that the agent says counts."""

from datetime import datetime

import pytest

from shared.domain.errors import Refused
from shared.domain.times import to_text
from shared.ports.town_store import TownImage
from shared.questions.credential_need import need_in
from tests.scenarios.table import scenario
from tests.towns import T, TownBuilder, a_town, ago
from tests.worlds import a_world

GIT_URL = "https://github.com/acme/main-rig.git"


def at_work(generation: int = 5) -> TownBuilder:
    """Toast works on a bead of the rig, in its fifth generation."""
    town = a_town("t1").bead("b1")
    return town.agent("toast", status="working", hook="b1", generation=generation)


def image_of(town: TownBuilder) -> TownImage:
    return a_world(town).image("t1")


def refusal(town: TownBuilder, generation: int = 5, *, agent: str = "toast") -> str:
    with pytest.raises(Refused) as refused:
        need_in(image_of(town), agent, generation)
    assert (refused.value.status, refused.value.path) == (403, "agentId")
    assert refused.value.hint
    return refused.value.message


def test_the_newest_generation_with_a_bead_may_push_to_its_rig() -> None:
    need = need_in(image_of(at_work()), "toast", 5)
    assert (need.generation, need.rig_id, need.git_url, need.access) == (5, "rig-1", GIT_URL, None)


@scenario(542)
@pytest.mark.parametrize(
    ("town", "rig", "wanted"),
    [(None, None, None), ("stored", None, "stored"), ("stored", "none", "none"), ("none", "app", "app")],
)
def test_the_setting_is_the_rigs_else_the_towns(town: str | None, rig: str | None, wanted: str | None) -> None:
    built = a_town("t1").config(agent_forge_access=town)
    built.update("rigs", "rig-1", config={"agent_forge_access": rig, "upstream": "up/app"})
    built.bead("b1").agent("toast", status="working", hook="b1", generation=5)
    need = need_in(image_of(built), "toast", 5)
    assert (need.access, need.upstream) == (wanted, "up/app")


@pytest.mark.parametrize("generation", [4, 6])
def test_another_generation_than_the_newest_gets_none(generation: int) -> None:
    assert "is not its newest" in refusal(at_work(), generation)


@scenario(541)
def test_a_generation_that_was_asked_to_stop_gets_none_until_the_next_is_dispatched() -> None:
    def stopping(dispatched_at: datetime) -> TownBuilder:
        town = at_work().update("agent_metadata", "toast", dispatched_at=dispatched_at)
        town.insert(
            "outbox",
            effect_id="e1",
            seq=1,
            kind="stop_agent",
            subject="toast",
            generation=5,
            payload={},
            deadline=to_text(T),
            created_at=to_text(T),
        )
        return town

    assert "to stop" in refusal(stopping(ago(ms=1)))
    assert "to stop" in refusal(stopping(T))
    assert need_in(image_of(stopping(ago(ms=-1))), "toast", 5).generation == 5


@scenario(541)
def test_a_generation_that_is_known_to_have_ended_gets_none() -> None:
    assert "has ended" in refusal(at_work().update("agent_metadata", "toast", ended_generation=5))


def test_a_generation_without_a_bead_gets_none_not_even_in_the_time_in_which_it_may_still_report() -> None:
    town = a_town("t1").agent("toast", generation=5)
    assert "the lease of generation 5 is over" in refusal(town)


def test_an_agent_that_was_deleted_or_never_started_gets_none() -> None:
    assert "there is no agent ghost" in refusal(at_work(), agent="ghost")
    assert "has not been started" in refusal(at_work(generation=0), 1)


def test_a_bead_is_no_agent() -> None:
    assert "there is no agent b1" in refusal(at_work(), agent="b1")


def test_the_mayor_has_no_bead_and_no_rig_so_it_has_nothing_to_push_to() -> None:
    town = a_town("t1").update("agent_metadata", "mayor", status="working", generation=1)
    need = need_in(image_of(town), "mayor", 1)
    assert (need.rig_id, need.git_url) == (None, None)
