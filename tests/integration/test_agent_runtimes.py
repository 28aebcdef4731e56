"""The AgentRuntime port: one suite over every runtime there is. What counts is what really lives afterwards."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.clock import wait_for
from shared.domain import wire
from shared.domain.orders import ModelOrder, StartOrder, TokenOrder
from shared.domain.processes import ProcessStatus
from shared.ports.runtime import Done, NotDone, Started, StartRejected
from tests.patience import PATIENCE_SECONDS
from tests.runtime_grounds import GROUNDS, Ground


@pytest.fixture(params=list(GROUNDS))
def ground(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ground]:
    """Each runtime in turn; nothing of it is left behind."""
    with GROUNDS[request.param](tmp_path) as ground:
        yield ground


def order(generation: int = 1, agent_id: str = "a1", **more: Any) -> StartOrder:
    """A start order that needs no repository."""
    return wire.read(
        StartOrder,
        {
            "town_id": "t1",
            "organization_id": "org-1",
            "agent_id": agent_id,
            "role": "polecat",
            "identity": f"Toast-polecat-rig-1@t1-{agent_id}",
            "generation": generation,
            "rig": None,
            "bead": {"id": "b1", "type": "issue", "title": "Do it", "body": "", "labels": [], "metadata": {}},
            "prompt_kind": "work",
            "model": "large",
            **more,
        },
    )


def start(ground: Ground, generation: int = 1, agent_id: str = "a1", effect: str | None = None) -> Any:
    """Start a generation under an effect id of its own."""
    return ground.runtime.start(
        order(generation, agent_id), effect_id=effect or f"effect-{agent_id}-{generation}".ljust(64, "0")
    )


def comes_to(ground: Ground, status: str, agent_id: str = "a1") -> ProcessStatus:
    """The agent's status, once it is this one."""
    seen = ground.runtime.status("t1", agent_id)
    assert wait_for(
        lambda: ground.runtime.status("t1", agent_id).status == status, seconds=PATIENCE_SECONDS, every=0.05
    ), seen
    return ground.runtime.status("t1", agent_id)


def test_an_agent_that_never_was_is_not_found(ground: Ground) -> None:
    assert ground.runtime.status("t1", "nobody") == ProcessStatus("not_found")


def test_a_started_agent_runs_under_its_generation(ground: Ground) -> None:
    assert isinstance(start(ground, 7), Started)
    found = comes_to(ground, "running")
    assert (found.status, found.exit_reason, found.generation) == ("running", None, 7)
    assert ground.live("a1") == [7]


def test_the_same_effect_gives_the_same_answer_and_one_process(ground: Ground) -> None:
    first = start(ground)
    assert isinstance(first, Started)
    assert start(ground) == first
    assert ground.live("a1") == [1]


def test_the_same_effect_many_times_at_once_is_one_process(ground: Ground) -> None:
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: start(ground), range(6)))
    assert len(set(answers)) == 1
    assert isinstance(answers[0], Started)
    assert ground.live("a1") == [1]


def test_another_effect_does_not_start_a_generation_twice(ground: Ground) -> None:
    start(ground)
    answer = start(ground, effect="another-effect".ljust(64, "0"))
    assert isinstance(answer, StartRejected)
    assert answer.reason
    assert ground.live("a1") == [1]


def test_a_newer_generation_takes_the_place_of_an_older_one(ground: Ground) -> None:
    start(ground, 1)
    assert isinstance(start(ground, 2), Started)
    assert ground.live("a1") == [2]
    assert comes_to(ground, "running").generation == 2


def test_an_older_generation_is_refused_beside_a_newer_one(ground: Ground) -> None:
    start(ground, 2)
    assert isinstance(start(ground, 1), StartRejected)
    assert ground.live("a1") == [2]


def test_a_stop_ends_its_generation_and_is_done_again(ground: Ground) -> None:
    start(ground)
    for _ in range(2):
        assert ground.runtime.stop("t1", "a1", generation=1, effect_id="s".ljust(64, "0")) == Done()
    assert ground.live("a1") == []
    assert comes_to(ground, "exited").generation == 1


def test_a_stop_of_an_older_generation_touches_nothing(ground: Ground) -> None:
    start(ground, 1)
    start(ground, 2)
    assert ground.runtime.stop("t1", "a1", generation=1, effect_id="s".ljust(64, "0")) == Done()
    assert ground.live("a1") == [2]


def test_a_stop_of_an_agent_that_never_was_is_done(ground: Ground) -> None:
    assert ground.runtime.stop("t1", "nobody", generation=3, effect_id="s".ljust(64, "0")) == Done()


def test_an_agent_that_crashes_is_seen_to_have_exited_with_a_reason(ground: Ground) -> None:
    start(ground)
    ground.crash("a1")
    seen = comes_to(ground, "exited")
    assert seen.exit_reason
    assert seen.generation == 1


def test_agents_do_not_touch_one_another(ground: Ground) -> None:
    for agent_id in ("a1", "a2"):
        start(ground, agent_id=agent_id)
    ground.runtime.stop("t1", "a1", generation=1, effect_id="s".ljust(64, "0"))
    assert (ground.live("a1"), ground.live("a2")) == ([], [1])


def test_a_message_reaches_a_running_agent_and_a_known_one_is_done(ground: Ground) -> None:
    start(ground)
    comes_to(ground, "running")
    for _ in range(2):
        assert ground.runtime.message("t1", "a1", message_id="m1", text="wake up", mode="immediate") == Done()


def test_a_message_to_an_agent_that_does_not_run_may_be_tried_again(ground: Ground) -> None:
    answer = ground.runtime.message("t1", "nobody", message_id="m1", text="hi", mode="queue")
    assert answer == NotDone("the agent is not running", passing=True)


def test_a_model_is_updated_whether_the_agent_runs_or_not(ground: Ground) -> None:
    new = ModelOrder(town_id="t1", agent_id="a1", model="small", organization_id="org-1")
    assert ground.runtime.update_model(new, effect_id="u1".ljust(64, "0")) == Done()
    start(ground)
    comes_to(ground, "running")
    assert ground.runtime.update_model(new, effect_id="u2".ljust(64, "0")) == Done()


def test_a_token_is_refreshed_again_and_again(ground: Ground) -> None:
    for effect_id in ("r1", "r2"):
        assert ground.runtime.refresh_token(TokenOrder(town_id="t1"), effect_id=effect_id) == Done()


def test_the_container_has_a_state(ground: Ground) -> None:
    assert ground.runtime.container_state("t1") == ground.idle_container
