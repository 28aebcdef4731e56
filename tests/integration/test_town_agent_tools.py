"""`town-agent mcp`: the verbs of an agent as tools, called by the client of the protocol's own SDK over a real process's pipes."""

import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.types import CallToolResult, TextContent

from infra.agents.town_agent.main import run
from tests.agent_places import Place, a_working_town, wall
from tests.events_api import an_events_api
from tests.patience import PATIENCE_SECONDS
from tests.towns import T, a_town

WORD = [sys.executable, "-m", "infra.agents.town_agent.main", "mcp"]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def with_tools(environment: Mapping[str, str], use: Callable[[ClientSession], Awaitable[None]]) -> None:
    """Start the server as a driver has it started, and use its tools."""

    async def talk() -> None:
        own = {**environment, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())}
        server = StdioServerParameters(command=WORD[0], args=WORD[1:], env=own)
        with anyio.fail_after(PATIENCE_SECONDS):
            async with stdio_client(server) as (reads, writes), ClientSession(reads, writes) as session:
                await session.initialize()
                await use(session)

    anyio.run(talk)


def text_of(answer: CallToolResult) -> str:
    return "\n".join(part.text for part in answer.content if isinstance(part, TextContent))


def test_a_polecat_does_its_whole_work_with_tools(place: Place) -> None:
    place.with_town(a_working_town())
    letter = "f" * 64
    place.generation.deliver(letter, {"message_id": letter, "text": "Mind the tests.", "mode": "queue"})

    async def work(session: ClientSession) -> None:
        names = {tool.name for tool in (await session.list_tools()).tools}
        assert {"done", "give_up", "messages", "mail_send", "escalate", "bead_create"} <= names
        assert names.isdisjoint({"mcp", "convoy_create", "bead_cancel", "say", "request_changes"})
        assert text_of(await session.call_tool("messages", {})) == "Mind the tests."
        assert text_of(await session.call_tool("messages", {})) == "no unread messages"
        said = await session.call_tool("bead_create", {"title": "Found a bug", "label": ["bug"]})
        assert "proposed" in text_of(said)
        assert not (await session.call_tool("status", {"text": "pushing"})).is_error
        assert not (await session.call_tool("done", {"branch": "gt/toast/b1", "summary": "All."})).is_error

    with_tools(place.environment, work)
    assert place.ticks().status("b1") == "in_review"
    assert place.world.town().rows("SELECT title FROM beads WHERE labels LIKE '%gt:held%'") == [("Found a bug",)]


def test_a_mayor_plans_and_starts_a_convoy_with_tools(place: Place) -> None:
    place.with_town(
        a_town().update("agent_metadata", "mayor", status="working"), agent_id="mayor", role="mayor", bead=None
    )

    async def work(session: ClientSession) -> None:
        tasks = [{"title": "Lexer"}, {"title": "Parser", "depends_on": [0]}]
        given = {"title": "Build a parser", "id": "c1", "tasks": tasks, "staged": True}
        assert text_of(await session.call_tool("convoy_create", given)) == "c1"
        assert text_of(await session.call_tool("convoy_start", {"convoy": "c1"})).startswith("recorded")

    with_tools(place.environment, work)
    assert place.ticks().one("convoy_metadata", "c1", "staged") == 0
    assert len(place.world.town().rows("SELECT 1 FROM bead_dependencies WHERE dependency_type = 'blocks'")) == 1


def test_what_is_wrong_with_a_call_is_told_to_the_model_and_the_next_call_is_answered(place: Place) -> None:
    place.with_town(a_working_town())
    wrong: list[tuple[str, dict[str, Any], str]] = [
        ("done", {"branch": "b", "colour": "red"}, "'colour' is not an argument"),
        ("status", {}, "status: text is required"),
        ("status", {"text": 7}, "must be a text"),
        ("heartbeat", {"tool": "bash"}, "must be a list of texts"),
        ("escalate", {"text": "x", "severity": "huge"}, "one of low, medium, high, critical"),
        ("convoy_create", {"title": "x"}, "no tool 'convoy_create' for this agent"),
        ("bead_create", {"title": "x", "convoy": "c1"}, "leave out --convoy"),
    ]

    async def work(session: ClientSession) -> None:
        for name, arguments, problem in wrong:
            answer = await session.call_tool(name, arguments)
            assert (answer.is_error, problem in text_of(answer)) == (True, True), text_of(answer)
        assert not (await session.call_tool("status", {"text": "still here"})).is_error

    with_tools(place.environment, work)
    assert place.ticks().one("agent_metadata", "a1", "agent_status_message") == "still here"


def test_the_tools_outlive_a_town_that_cannot_be_reached(place: Place) -> None:
    place.with_town(a_working_town())
    with an_events_api(place.world.objects, place.world.clock) as api:
        environment = {**place.environment, "TOWNCTL_DATA": "", "TOWN_API": api.address, "TOWN_TOKEN": api.token}
        environment["TOWN_CLOCK"] = f"scaled {T.isoformat()} {wall()!r} 1000"  # it waits between its attempts

        async def work(session: ClientSession) -> None:
            api.fails = [503] * 3
            answer = await session.call_tool("escalate", {"text": "Help"})
            assert answer.is_error
            assert "try again later" in text_of(answer)
            assert not (await session.call_tool("escalate", {"text": "Help"})).is_error

        with_tools(environment, work)
    assert len(place.world.inbox()) == 1


def test_a_program_that_is_no_agent_of_a_town_is_told_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["mcp"], {}) == 2
    assert "TOWN_AGENT_CONTEXT is not set" in capsys.readouterr().err


def test_fifty_calls_at_once_are_all_answered_in_their_order_and_ten_megabytes_are_refused(place: Place) -> None:
    """A model that runs wild is no reason for its tools to end: they are all that it has to report with."""
    place.with_town(a_working_town())

    async def work(session: ClientSession) -> None:
        answers: dict[int, CallToolResult] = {}

        async def call(number: int) -> None:
            text = "x" * (10 << 20) if number == 25 else f"step {number}"
            answers[number] = await session.call_tool("checkpoint", {"note": text})

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(call, number)
        assert len(answers) == 50
        assert [number for number, answer in answers.items() if answer.is_error] == [25]
        assert "send less at a time" in text_of(answers[25])
        assert len(text_of(answers[25])) < 1000
        assert text_of(await session.call_tool("messages", {})) == "no unread messages"

    with_tools(place.environment, work)
