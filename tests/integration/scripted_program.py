"""The fourth driver, which the tests write against the contract, and its program: a script that prints what a test planned.

The program takes the next turn of its plan (a JSON list beside it, one list of steps for each turn) and notes with which
prompt and arguments it was called. A step is one of

    {"event": {...}}        print a JSON object          {"raw": "text"}     print something else
    {"error": "text"}       print error output           {"note": {...}}     write a note of town-agent
    {"hang": true}          wait until it is killed      {"exit": 3}         end with this code
    {"child": true}         leave a process behind       {"half": "text"}    print without a line feed
"""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from infra.agents.drivers import contract
from infra.agents.drivers.failures import failure_of, retry_after_in

Step = dict[str, Any]

PROGRAM: Final = """#!%s
import json, os, subprocess, sys, time
place = os.path.dirname(os.path.abspath(__file__))
desk = os.path.dirname(os.environ["TOWN_AGENT_CONTEXT"])
with open(os.path.join(place, "calls.jsonl"), "a") as calls:
    calls.write(json.dumps({"argv": sys.argv[1:], "prompt": sys.stdin.read()}) + "\\n")
with open(os.path.join(place, "calls.jsonl")) as calls:
    turn = len(calls.readlines()) - 1
with open(os.path.join(place, "plan.json")) as plan:
    turns = json.load(plan)
for step in turns[min(turn, len(turns) - 1)]:
    for kind, value in step.items():
        if kind == "event": print(json.dumps(value), flush=True)
        if kind == "raw": print(value, flush=True)
        if kind == "half": print(value, end="", flush=True)
        if kind == "error": print(value, file=sys.stderr, flush=True)
        if kind == "note":
            with open(os.path.join(desk, value["file"]), "w") as note: json.dump(value["is"], note)
        if kind == "child": subprocess.Popen(["sleep", "600"], start_new_session=True, stdout=subprocess.DEVNULL)
        if kind == "hang": time.sleep(600)
        if kind == "exit": sys.exit(value)
"""

SESSION: Final[Step] = {"event": {"session": "s1"}}
OVER: Final[Step] = {"event": {"over": True}}
DONE: Final[Step] = {"note": {"file": "reported.json", "is": {"event_type": "agent_done"}}}


def says(text: str) -> Step:
    """A step in which the model says something."""
    return {"event": {"text": text}}


def fails(said: str, *, status: int | None = None, retry_after: float | None = None) -> Step:
    """A step in which the turn fails."""
    return {"event": {"failed": said, "status": status, "retry_after": retry_after}}


class Scripted:
    """A driver in as many lines as the contract asks for."""

    name: Final = "scripted"
    program: Final = "scripted-agent"
    install: Final = "write it into a directory of PATH"
    logins: Final[Mapping[str, str]] = {}

    def missing_key(self, setting: contract.Access) -> str | None:
        return "set SCRIPTED_KEY" if setting.environment.get("SCRIPTED_KEY") == "" else None

    def start(self, program: str, prompt: str, setting: contract.Setting, *, session_id: str | None) -> contract.Start:
        resume = ("--resume", session_id) if session_id else ()
        return contract.Start((program, "--model", setting.models.model or "none", *resume), prompt)

    def reader(self) -> contract.Reader:
        return _Reader()


class _Reader:
    def event(self, line: Mapping[str, object]) -> Iterable[contract.Happening]:
        for kind, value in line.items():
            match kind:
                case "session":
                    yield contract.SessionBegan(str(value))
                case "text":
                    yield contract.Said(str(value))
                case "began":
                    yield contract.ToolBegan("1", "shell", str(value))
                case "ended":
                    yield contract.ToolEnded("1", "shell", "", str(value))
                case "used":
                    yield contract.Used(5, 3, 1)
                case "retry":
                    yield contract.Retrying(failure_of(str(value)))
                case "compacted":
                    yield contract.Compacted()
                case "failed":
                    status = line.get("status")
                    wait = retry_after_in(line.get("retry_after"))
                    known = status if isinstance(status, int) else None
                    yield contract.Failed(failure_of(str(value), status=known, retry_after=wait))
                case "over":
                    yield contract.TurnEnded()
                case _:
                    pass

    def complaint(self, line: str) -> Iterable[contract.Happening]:
        return ()


def install(place: Path, *turns: list[Step]) -> None:
    """Put the program with this plan into a directory."""
    place.mkdir(exist_ok=True)
    program = place / Scripted.program
    program.write_text(PROGRAM % sys.executable, encoding="utf-8")
    program.chmod(0o755)
    (place / "plan.json").write_text(json.dumps(turns), encoding="utf-8")
