"""townctl as tests call it: in this process, with everything that it wrote, or as a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from infra.townctl import command_line
from shared.adapters.directory_objects import DirectoryObjects
from shared.ports.object_store import ObjectStore

REPOSITORY = Path(__file__).parents[2]
TOWNCTL = [sys.executable, "-m", "infra.townctl.main"]

RIG = {"rig_id": "rig-1", "name": "work", "git_url": "https://git.demo.invalid/town/work.git"}


@dataclass(frozen=True)
class Called:
    """What one call of townctl left: exit code and both streams."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, str]:
        """The error of a call with --json."""
        error: dict[str, str] = json.loads(self.err)["error"]
        return error


def done(called: Called, words: tuple[str, ...]) -> Any:
    """The JSON answer of a call that must have succeeded. A status may say with exit code 1 that something needs attention."""
    assert called.code in ((0, 1) if words[:2] == ("town", "status") else (0,)), (called.out, called.err)
    return called.document


@dataclass
class Townctl:
    """townctl on one data directory."""

    data: Path
    capsys: pytest.CaptureFixture[str]
    objects: Callable[[Path], ObjectStore] = DirectoryObjects
    running: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def __call__(self, *words: str) -> Called:
        """Call it in this process."""
        self.capsys.readouterr()
        code = command_line.run(["--data", str(self.data), *words], objects=self.objects)
        seen = self.capsys.readouterr()
        return Called(code, seen.out, seen.err)

    def document(self, *words: str) -> Any:
        """The JSON answer of a call that must succeed."""
        return done(self(*words, "--json"), words)

    def process(self, *words: str, **how: Any) -> Called:
        """Call it as a process of its own."""
        done = subprocess.run(self.line(*words), capture_output=True, text=True, check=False, cwd=REPOSITORY, **how)
        return Called(done.returncode, done.stdout, done.stderr)

    def started(self, *words: str) -> "subprocess.Popen[str]":
        """Start it as a process of its own and do not wait."""
        started = subprocess.Popen(
            self.line(*words),
            cwd=REPOSITORY,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(started)
        return started

    def kill_all(self) -> None:
        """End whatever was started and still runs."""
        for started in self.running:
            if started.returncode is None:
                started.kill()
                started.communicate()

    def line(self, *words: str) -> list[str]:
        """The command line."""
        return [*TOWNCTL, "--data", str(self.data), *words]

    def post(self, event_type: str, payload: dict[str, Any], *, town: str = "alpha", **about: str) -> str:
        """Post one event; its id."""
        options = [part for name, value in about.items() for part in (f"--{name}", value)]
        words = ("event", "post", town, "--type", event_type, "--payload", json.dumps(payload), *options)
        [event_id] = self.document(*words)["accepted"]
        return str(event_id)

    def with_work(self, town: str = "alpha") -> "Townctl":
        """A town with a rig and an issue that nobody works on yet; its inbox is not read."""
        issue = {"bead_id": "b1", "type": "issue", "title": "Do it", "rig_id": "rig-1"}
        self.document("town", "create", town)
        self.post("rig_registered", RIG, town=town)
        self.post("bead_created", {"bead": issue}, town=town)
        return self
