"""What a command of townctl imports: nothing that it does not need, told by names and not by a clock.

Every command imported the modules of all of them: the demo, the routes of the API, the libraries for tokens. `--version` took
1.3 seconds of processor time, and agents wait for such a start many times an hour.
"""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.townctl.commands import COMMANDS, GROUPS, Command
from tests.conventions.test_cold_start import found_in

pytestmark = pytest.mark.lengthy  # `make quick` leaves it out

PARSER = ("cyclopts", "rich", "pydantic", "shared")
NO_COMMAND_NEEDS = (
    "anyio",
    "aws_lambda_powertools",
    "boto3",
    "cryptography",
    "functions",
    "graphql",
    "h11",
    "infra.demo",
    "infra.devstack",
    "infra.listening",
    "infra.ops",
    "jwt",
    "moto",
    "requests",
    "sentry_sdk",
    "shared.adapters.ecs_runtime",
    "shared.adapters.s3_objects",
    "starlette",
    "tests",
    "uvicorn",
)
LOCAL_AGENTS = ("infra.agents", "shared.adapters.control_server", "shared.adapters.local_processes", "urllib3")
PAST = ("shared.moving", "shared.replay")
READS = (*LOCAL_AGENTS, *PAST, "shared.runner.worker")
RULES = ("shared.engine.reconcile", "shared.questions.guards", "shared.rules")
NOT_NEEDED = {
    "town create alpha": PAST,
    "town list": (*READS, *RULES, "shared.events"),
    "town status alpha": (*READS, "shared.history", "shared.questions.explain"),
    "setting list alpha": (*READS, *RULES, "shared.events", "shared.history"),
    "bead list alpha": (*READS, "shared.history.rerun"),
    "agent list alpha": (*READS, *RULES, "shared.events", "shared.history"),
    "convoy list alpha": (*READS, "shared.history.rerun"),
    "event post alpha --type town_started": (*READS, *RULES, "shared.history", "shared.questions.status"),
    "event list alpha": (*READS, *RULES),
    "explain bead b-1": (*LOCAL_AGENTS, "shared.moving"),
    "dry-run alpha": (*READS, "shared.questions.explain"),
    "ticks alpha": (*READS, "shared.engine", "shared.questions.guards"),
    "points alpha": (*LOCAL_AGENTS, *PAST, *RULES, "shared.events"),
}
MOST_MODULES = {
    "town create alpha": 504,
    "town list": 442,
    "town status alpha": 632,
    "setting list alpha": 460,
    "bead list alpha": 577,
    "agent list alpha": 458,
    "convoy list alpha": 577,
    "event post alpha --type town_started": 548,
    "event list alpha": 573,
    "explain bead b-1": 670,
    "dry-run alpha": 645,
    "ticks alpha": 504,
    "points alpha": 444,
}
"""Modules in all, the interpreter's own among them: a little below, and a new library shows here at once."""
CODE = """
import json, sys
from infra.townctl import main
code = main.run(json.loads(sys.argv[1]))
print(json.dumps([code, sorted(sys.modules)]), file=sys.stderr)
"""


def modules_of(*words: str, data: Path | None = None) -> set[str]:
    """The modules that one call of townctl has imported when it ends."""
    given = [*(() if data is None else ("--data", str(data))), *words]
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(given)], capture_output=True, text=True, check=True, timeout=60
    )
    return set(json.loads(done.stderr.splitlines()[-1])[1])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with one town."""
    place = tmp_path_factory.mktemp("data")
    modules_of("town", "create", "alpha", data=place)
    return place


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_need_no_parser(option: str) -> None:
    assert found_in(modules_of(option), PARSER) == set()


def test_the_parser_needs_no_command() -> None:
    loaded = modules_of("town", "--help")
    assert (
        found_in(loaded, (*NO_COMMAND_NEEDS, "pydantic", "shared.domain.config", "shared.storage", "sqlite3")) == set()
    )


@pytest.mark.parametrize("words", NOT_NEEDED)
def test_a_command_imports_nothing_that_it_does_not_need(words: str, data: Path) -> None:
    loaded = modules_of(*words.split(), data=data)
    assert found_in(loaded, (*NO_COMMAND_NEEDS, *NOT_NEEDED[words])) == set()
    assert len(loaded) <= MOST_MODULES[words]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_the_table_says_of_a_command_what_its_function_says(command: Command) -> None:
    """The help is printed from the table, so that it needs no command's module."""
    module, _, name = command.path.partition(":")
    first = (getattr(importlib.import_module(f"infra.{module}"), name).__doc__ or "").partition("\n\n")[0]
    assert re.sub(r"\s+", " ", first).startswith(command.about)


def test_every_group_has_commands() -> None:
    assert {name.partition(" ")[0] for name, _, _ in COMMANDS if " " in name} == set(GROUPS)


@pytest.mark.parametrize(
    ("words", "environment", "unwanted"),
    [
        (["--help"], {}, ("pydantic", "shared.events", "shared.town", "urllib3")),
        (["status", "busy"], {"TOWN_API": "http://127.0.0.1:1", "TOWN_TOKEN": "t"}, ("pydantic", "shared.events")),
        (
            ["bead", "show"],
            {"TOWN_API": "http://127.0.0.1:1", "TOWN_TOKEN": "t"},
            ("pydantic", "shared.questions", "sqlite3"),
        ),
        (["status", "busy"], {"TOWN_AGENT_DATA": "DATA"}, ("shared.questions", "shared.rules", "urllib3")),
    ],
    ids=["help", "over an API", "a question to an API", "into a directory"],
)
def test_town_agent_imports_little_because_agents_call_it_all_the_time(
    words: list[str], environment: dict[str, str], unwanted: tuple[str, ...], data: Path, tmp_path: Path
) -> None:
    order = {"town_id": "alpha", "agent_id": "a1", "generation": 1, "role": "polecat", "bead": {"id": "b1"}}
    (tmp_path / "context.json").write_text(json.dumps(order))
    place = {name: value.replace("DATA", str(data)) for name, value in environment.items()}
    code = (
        "import json, sys; from infra.agents.town_agent import main; "
        f"main.run({words!r}, {{**{place!r}, 'TOWN_AGENT_CONTEXT': {str(tmp_path / 'context.json')!r}}}); "
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert found_in(loaded, (*NO_COMMAND_NEEDS, "cyclopts", "mcp", "rich", "infra.townctl", *unwanted)) == set()
