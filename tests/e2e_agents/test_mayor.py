"""The mayor plans what a person asks for, and cares for a bead that failed: by tools once, by commands once."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from infra.devstack.model_server.scripts import Call, Reply, Say, Script, Shell, Step
from infra.devstack.model_server.server import KEY
from infra.devstack.model_server.workers import WORK, block
from tests.e2e_agents.real_towns import RIG, TOWN, a_real_town

pytestmark = pytest.mark.agents

CONVOY: Final = "c0de0000-0000-4000-8000-000000000001"
REASON: Final = "the door is locked"
AGENTS: Final = (sys.executable, "-m", "tests.e2e_agents.by_role", "polecat=claude", "refinery=claude")
BY: Final[dict[str, tuple[Reply, ...]]] = {
    "mcp": (
        Call(
            "convoy_create",
            {"id": CONVOY, "title": "A parser", "rig": RIG, "staged": True, "tasks": [{"title": "Write the lexer"}]},
        ),
        Call("convoy_start", {"convoy": CONVOY}),
        Call("list_beads", {"status": "failed"}),
        Call("bead_show", {"bead": "door"}),
        Call("bead_reopen", {"bead": "door", "reason": "it is open now"}),
        Call("waiting"),
    ),
    "cli": (
        Shell(
            f"town-agent convoy create --id {CONVOY} --title 'A parser' --rig {RIG} --staged --task 'Write the lexer'"
        ),
        Shell(f"town-agent convoy start {CONVOY}"),
        Shell("town-agent list beads --status failed"),
        Shell("town-agent bead show door"),
        Shell("town-agent bead reopen door --reason 'it is open now'"),
        Shell("town-agent waiting"),
    ),
}


def answers(tools: str, text: str) -> Callable[[str], Reply]:
    """Answer the message in the prompt."""

    def answer(prompt: str) -> Reply:
        message_id = re.findall(r"Message (\w+-\S+) from", prompt)[-1]  # `Message ID from` only explains the form
        if tools == "mcp":
            return Call("say", {"reply_to": message_id, "text": text})
        return Shell(f"town-agent say --reply-to '{message_id}' '{text}'")

    return answer


@pytest.mark.long
@pytest.mark.parametrize(
    ("program", "tools"),
    [
        ("opencode", "mcp"),
        ("opencode", "cli"),
        ("claude", "mcp"),
        ("claude", "cli"),
        ("codex", "mcp"),
        ("codex", "cli"),
    ],
)
def test_the_mayor_plans_and_cares_with_its_own_token(tmp_path: Path, program: str, tools: str) -> None:
    create, start, look, show, reopen, wait = BY[tools]
    steps = [Step(create), Step(start), Step(answers(tools, "It is planned.")), Step(wait), Step(Say("I wait."))]
    cares = [
        Step(look),
        Step(show),
        Step(reopen),
        Step(answers(tools, "It is reopened.")),
        Step(wait),
        Step(Say("I wait.")),
    ]
    gives_up = (Step(block(0)), Step(Shell(f"town-agent give-up --reason '{REASON}'")), Step(Say("No.")))
    scripts = [
        Script("plan", ("plan a parser",), tuple(steps)),
        Script("care", ("care for the door",), tuple(cares)),
        Script("door", (WORK, "Open the door"), gives_up),
        Script("lexer", (WORK, "Write the lexer"), (Step(Say("Later."), waits_for="the end"),)),
    ]
    command = (*AGENTS, f"mayor={program}")
    with a_real_town(tmp_path, command, scripts, environment={"TOWN_AGENT_TOOLS": tools}) as town:
        town.townctl("mayor", "say", TOWN, "plan a parser")
        town.until("the mayor has answered", lambda: said("It is planned.", town.rows))
        assert town.value("SELECT status FROM beads WHERE title = 'Write the lexer'") is not None
        town.creates("door", "Open the door")
        town.until("the bead has failed", lambda: town.status("door") == "failed")
        town.townctl("mayor", "say", TOWN, "care for the door")
        town.until("the mayor has answered again", lambda: said("It is reopened.", town.rows))
        assert REASON in "\n".join(
            result for each in town.model.asked_of("care") for result in each.conversation.results
        )
        log = town.townctl("mayor", "log", TOWN)
        words = ("plan a parser", "It is planned.", "care for the door", "It is reopened.")
        assert sorted(words, key=log.index) == list(words)
        assert town.places_with(KEY) == []
        assert town.status("door") != "closed"
        assert town.value("SELECT count(*) FROM bead_events WHERE bead_id = 'door' AND event_type = 'reopened'") != 0


def said(text: str, rows: Callable[..., list[tuple[object, ...]]]) -> bool:
    """Whether the mayor has said this."""
    return bool(rows("SELECT bead_id FROM beads WHERE type = 'message' AND body = ?", text))
