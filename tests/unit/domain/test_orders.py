"""Orders on the wire: what is written is what was always written, and what is read is strict and loses nothing."""

import json
import subprocess
import sys
from typing import Any

import pytest

from shared.domain import canonical, wire
from shared.domain.orders import MayorOrder, OrderedBead, OrderedRig, StartOrder
from shared.domain.states import Role

RIG = {"id": "rig-1", "name": "work", "git_url": "https://git.example/x.git", "default_branch": "main"}
BEAD = {"id": "b1", "type": "issue", "title": "Do it", "body": None, "labels": ["a"], "metadata": {"k": [1, None]}}
DISPATCH: dict[str, Any] = {
    "town_id": "t1",
    "organization_id": None,
    "agent_id": "a1",
    "role": "polecat",
    "identity": "Toast-polecat-rig-1@t1",
    "generation": 3,
    "runtime": None,
    "rig": RIG,
    "bead": BEAD,
    "prompt_kind": "work",
    "branch": None,
    "target_branch": "main",
    "pr_url": None,
    "feature_branch": None,
    "merge_strategy": "direct",
    "review_mode": "rework",
    "gates": ["make test"],
    "require_clean_merge": True,
    "git_push_flags": None,
    "custom_instructions": None,
    "model": None,
    "checkpoint": {"step": 2},
}
MAYOR: dict[str, Any] = {
    "town_id": "t1",
    "organization_id": None,
    "agent_id": "mayor",
    "role": "mayor",
    "identity": "Mayor-mayor@t1",
    "generation": 7,
    "runtime": "local",
    "rig": None,
    "rigs": [RIG],
    "bead": None,
    "prompt_kind": "mayor",
    "custom_instructions": None,
    "model": "large",
}
STORED = [
    DISPATCH,
    {**DISPATCH, "rig": None, "checkpoint": None, "gates": []},
    MAYOR,
    {**MAYOR, "message": "wake up"},
    {**DISPATCH, "prompt": "p", "system_prompt": "s"},
    {
        **DISPATCH,
        "prompt": "p",
        "system_prompt": "",
        "name": "Toast",
        "small_model": None,
        "start_point": None,
        "lightweight": False,
        "rigs": None,
    },
]


@pytest.mark.parametrize("stored", STORED, ids=range(len(STORED)))
def test_an_order_is_written_again_as_it_was_read(stored: dict[str, Any]) -> None:
    assert canonical.dumps(wire.read(StartOrder, stored).as_json()) == canonical.dumps(stored)


def test_keys_that_this_version_does_not_know_are_kept_at_every_depth() -> None:
    """A newer town adds a key; the control server of an older image must hand it on to the agent."""
    newer = {**DISPATCH, "mood": "calm", "rig": {**RIG, "depth": 1}, "bead": {**BEAD, "points": [3]}}
    assert wire.read(StartOrder, newer).as_json() == newer


def test_an_order_within_an_order_is_read_too() -> None:
    given = {"town_id": "t1", "agent_id": "mayor", "subject": "s", "message": "m", "start": MAYOR}
    order = wire.read(MayorOrder, given)
    assert order.start is not None
    assert (order.start.role, order.start.rigs, order.as_json()) == (Role.MAYOR, (wire.read(OrderedRig, RIG),), given)


def test_a_key_of_an_older_town_that_is_missing_has_its_default() -> None:
    order = wire.read(StartOrder, {"town_id": "t1", "agent_id": "a1", "generation": 1, "role": "polecat"})
    assert (order.bead, order.gates, order.model, order.lightweight) == (None, None, None, None)
    assert wire.read(OrderedBead, {"id": "b1"}) == OrderedBead(id="b1")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"agent_id": 5}, "agent_id: a text is required"),
        ({"generation": "3"}, "generation: a whole number is required"),
        ({"generation": True}, "generation: a whole number is required"),
        ({"role": "king"}, "role: one of polecat, refinery, mayor is required"),
        ({"require_clean_merge": 1}, "require_clean_merge: true or false is required"),
        ({"gates": "make"}, "gates: a list is required"),
        ({"gates": ["make", 5]}, "gates.1: a text is required"),
        ({"rig": []}, "rig: an object is required"),
        ({"bead": {**BEAD, "labels": [None]}}, "bead.labels.0: a text is required"),
        ({"bead": {"title": "x"}}, "bead.id is missing"),
        ({"bead": {**BEAD, "metadata": "x"}}, "bead.metadata: an object is required"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(wire.Unfit) as refused:
        wire.read(StartOrder, {**DISPATCH, **wrong})
    assert str(refused.value) == said


@pytest.mark.parametrize("text", ["[]", "null", "5", '"order"'])
def test_what_is_not_an_object_is_not_an_order(text: str) -> None:
    with pytest.raises(wire.Unfit, match="a JSON object is required"):
        wire.read(StartOrder, json.loads(text))


def test_a_program_that_reads_a_start_file_needs_no_library() -> None:
    """`town-agent` is started for every report; pydantic alone would take twice as long as the rest of it."""
    asked = "import sys, infra.agents.town_agent.main; print('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", asked], check=True, capture_output=True, text=True).stdout == "False\n"
