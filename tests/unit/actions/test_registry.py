"""The registry of actions: whole, named as classes are, readable in the journal."""

import importlib
import pkgutil
import re
from dataclasses import fields

import pytest

from shared import actions
from shared.actions import (
    ACTIONS,
    Action,
    CloseConvoy,
    DispatchAgent,
    FailConvoy,
    HookAgent,
    SendNudge,
    StartTriageBatch,
    TransitionAgent,
    TransitionBead,
    UnhookAgent,
)
from shared.domain.states import AgentStatus, BeadStatus

# spec/actions.md sections 1 and 2, and escalate_triage of rule H2
FIELDS = {
    "transition_bead": "bead_id from_ to reason actor",
    "assign_bead": "bead_id agent_id",
    "clear_bead_assignee": "bead_id",
    "create_mr_bead": "source_bead_id agent_id rig_id branch target_branch pr_url summary",
    "create_landing_mr": "convoy_id rig_id feature_branch target_branch",
    "close_sibling_mrs": "source_bead_id exclude_mr_id",
    "set_review_pr_url": "bead_id pr_url",
    "transition_agent": "agent_id from_ to reason dispatch_lost",
    "reset_agent_dispatch_attempts": "agent_id",
    "hook_agent": "agent_id bead_id",
    "unhook_agent": "agent_id reason",
    "clear_agent_checkpoint": "agent_id",
    "delete_agent": "agent_id reason",
    "update_convoy_progress": "convoy_id closed_beads",
    "set_convoy_ready_to_land": "convoy_id",
    "close_convoy": "convoy_id",
    "fail_convoy": "convoy_id reason",
    "create_triage_request": "agent_id triage_type reason",
    "escalate_triage": "requests batches",
    "escalate_review_cap": "bead_id attempts",
    "emit_event": "event_name data",
    "bump_escalation": "bead_id severity",
    "raise_escalation": "bead_id reason episode message",
    "close_escalation": "bead_id reason",
    "warn_of_budget": "kind subject limit message",
    "mark_budget": "kind subject spent",
    "expire_nudge": "nudge_id",
    "dispatch_agent": "agent_id bead_id rig_id",
    "start_triage_batch": "rig_id request_ids",
    "stop_agent": "agent_id reason",
    "poll_pr": "bead_id pr_url",
    "merge_pr": "bead_id pr_url",
    "verify_merge": "bead_id",
    "update_branch": "bead_id pr_url",
    "dequeue": "bead_id",
    "request_review": "bead_id pr_url",
    "send_nudge": "agent_id message tier source mode priority mail",
    "notify_mayor": "subject message",
    "refresh_container_token": "",
    "stop_container": "reason",
    "update_agent_model": "agent_id model",
}


def _defined_anywhere() -> set[type[Action]]:
    found = set()
    for module in pkgutil.iter_modules(actions.__path__):
        for value in vars(importlib.import_module(f"{actions.__name__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Action) and value is not Action:
                found.add(value)
    return found


def test_no_action_is_missing_from_the_registry() -> None:
    assert _defined_anywhere() == set(ACTIONS)
    assert len(ACTIONS) == len(set(ACTIONS))


def test_every_action_can_be_imported_from_the_package() -> None:
    assert [action for action in ACTIONS if getattr(actions, action.__name__, None) is not action] == []


def test_the_wire_name_is_the_class_name_in_snake_case() -> None:
    spelled = {action.type: re.sub(r"(?<!^)(?=[A-Z])", "_", action.__name__).lower() for action in ACTIONS}
    assert {wire: snake for wire, snake in spelled.items() if wire != snake} == {}


def test_the_fields_are_those_of_the_specification() -> None:
    assert {action.type: " ".join(field.name for field in fields(action)) for action in ACTIONS} == FIELDS


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.type)
def test_an_action_is_a_frozen_value_with_slots(action: type[Action]) -> None:
    given = {field.name: "x" for field in fields(action)}
    assert action(**given) == action(**given)
    assert dict(action(**given).parts()) == given, "an action has fields of its own only"
    assert not hasattr(action(**given), "__dict__")
    assert action.__dataclass_params__.frozen  # type: ignore[attr-defined]


def test_the_journal_shows_wire_names() -> None:
    action = TransitionBead(bead_id="b", from_=BeadStatus.OPEN, to=BeadStatus.FAILED, reason="why")
    assert action.as_json() == {
        "type": "transition_bead",
        "bead_id": "b",
        "from": "open",
        "to": "failed",
        "reason": "why",
        "actor": "system",
    }
    batch = StartTriageBatch(rig_id="r", request_ids=("a", "b"))
    assert batch.as_json() == {"type": "start_triage_batch", "rig_id": "r", "request_ids": ["a", "b"]}


def test_actions_say_in_which_state_they_want_rows() -> None:
    assert TransitionBead(bead_id="b", to=BeadStatus.OPEN, reason="").wants() == ((("bead", "b"), "open"),)
    assert CloseConvoy(convoy_id="c").wants() == ((("bead", "c"), "closed"),)
    assert FailConvoy(convoy_id="c", reason="").wants() == ((("bead", "c"), "failed"),)
    assert TransitionAgent(agent_id="p", to=AgentStatus.IDLE, reason="").wants() == ((("agent", "p"), "idle"),)
    assert HookAgent(agent_id="p", bead_id="b").wants() == ((("hook", "p"), "b"),)
    assert UnhookAgent(agent_id="p", reason="").wants() == ((("hook", "p"), ""),)
    assert DispatchAgent(agent_id="", bead_id="b", rig_id="r").wants() == ((("bead", "b"), "in_progress"),)
    assert DispatchAgent(agent_id="p", bead_id="b", rig_id="r").wants() == (
        (("bead", "b"), "in_progress"),
        (("agent", "p"), "working"),
    )
    assert SendNudge(agent_id="p", message="").wants() == ()
