"""The demo from end to end, as `make demo` runs it: real processes, a real repository, a clock at 40 times real time."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.demo import stage, story
from infra.devstack.fake_forge import TOKEN
from infra.townctl import agent_programs
from shared.adapters.clock import wait_for
from tests.integration.townctl_calls import REPOSITORY, Townctl
from tests.patience import PATIENCE_SECONDS

SPEED = "20"
"""Half of the ordinary speed: on a busy machine, an agent takes seconds to start, and more than 90 on the clock of the demo
mean that it is lost.
"""
LONGEST_SECONDS = 900.0


def demo_in(data: Path, *words: str) -> "subprocess.Popen[str]":
    """Start the demo as a process, in a directory of its own."""
    line = [sys.executable, "-m", "infra.townctl.main", "--data", str(data), "demo", *words]
    return subprocess.Popen(
        line,
        cwd=data.parent,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def the_story_of(data: Path, *words: str) -> Any:
    """What a demo tells that comes to its end."""
    demo = demo_in(data, "--speed", SPEED, "--json", *words)
    out, err = demo.communicate(timeout=LONGEST_SECONDS)
    assert demo.returncode == 0, (out, err)
    told = json.loads(out)
    assert told["ok"] is True
    return told


def assert_recovery(told: Any) -> None:
    """The crash was observed, and then every rule of the recovery has acted, in order.

    Nothing is said of other losses of the bead: an agent that starts slowly is taken for lost, too.
    """
    beats = told["recovery"]
    crashed = next(number for number, beat in enumerate(beats) if "crashed (exit code 3)" in beat["what"])
    assert beats[crashed]["by"] == "observed"
    after = iter([beat["by"] for beat in beats[crashed:]])
    assert [code for code in story.RECOVERY if code not in after] == []


def processes_of(data: Path) -> list[int]:
    """Every process on this machine that has the demo's directory in its command line or environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            text = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
        except OSError:
            continue
        if str(data).encode() in text and int(path.name) != os.getpid():
            found.append(int(path.name))
    return found


@pytest.mark.slow
def test_a_convoy_and_a_bead_land_and_a_crash_is_recovered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The output of the demo is compared with the repository, the journal and the town."""
    told = the_story_of(tmp_path / "data")
    assert_recovery(told)

    log = subprocess.run(
        ["git", "log", "--format=%s", "main"],
        cwd=tmp_path / "data" / "work.git",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for title in (
        "Define the grammar",
        "Write the lexer",
        "Write the parser",
        "Wire them together",
        "Greet the reader",
    ):
        assert title in log.splitlines()
    assert any(line.startswith("Merge convoy/") for line in log.splitlines())

    assert told["dryRun"]["actions"] == []
    assert told["dryRun"]["effects"] == []
    assert processes_of(tmp_path / "data") == []

    townctl = Townctl(tmp_path / "data", capsys)
    assert townctl.document("doctor")["findings"] == []
    report = townctl.document("town", "status", "demo")
    assert report["beads"] == []
    assert [(convoy["state"], convoy["done"], convoy["total"]) for convoy in report["convoys"]] == [("landed", 4, 4)]
    rows = [tick["row"] for tick in townctl.document("ticks", "demo", "--limit", "1000")["ticks"]]
    rules = {judged["rule"] for row in rows for judged in row["outputs"]["actions"]}
    assert {"agents.recover_silent_hook", "beads.clear_stale_assignee", "beads.dispatch_ready"} <= rules
    types = {event["event_type"] for row in rows for event in row["inputs"]["new_events"]}
    assert {"convoy_started", "agent_heartbeat", "agent_done", "changes_requested"} <= types


@pytest.mark.long
@pytest.mark.slow
def test_a_convoy_lands_by_pull_requests_with_reviews_and_approvals(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `make demo-pr` runs it. The output is compared with the repository and the journal."""
    told = the_story_of(tmp_path / "data", "--strategy", "pr")
    assert_recovery(told)
    assert processes_of(tmp_path / "data") == []

    pulls = told["pullRequests"]
    assert len(pulls) == 6
    assert {(pull["state"], pull["merges"]) for pull in pulls} == {("merged", 1)}
    assert [pull["base"] for pull in pulls if pull["approved"]] == ["main", "main"]
    assert [pull["title"] for pull in pulls if pull["threads"]] == ["Write the parser"]
    for pull in pulls:
        assert f"Merge pull request #{pull['number']}: {pull['title']}" in "\n".join(told["merged"])

    townctl = Townctl(tmp_path / "data", capsys)
    report = townctl.document("town", "status", "demo")
    assert (report["beads"], report["failed"]) == ([], [])
    rows = [tick["row"] for tick in townctl.document("ticks", "demo", "--limit", "1000")["ticks"]]
    types = {event["event_type"] for row in rows for event in row["inputs"]["new_events"]}
    assert {"pr_polled", "pr_merge_result"} <= types
    everything = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and ".secrets" not in path.parts]
    assert not any(TOKEN.encode() in path.read_bytes() for path in everything)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_leaves_no_process_behind(tmp_path: Path, number: int) -> None:
    data = tmp_path / "data"
    demo = demo_in(data)
    runtime = agent_programs.no_agents(data)
    try:
        assert wait_for(lambda: len(runtime.running()) > 0, seconds=PATIENCE_SECONDS)
        demo.send_signal(number)
        out, err = demo.communicate(timeout=PATIENCE_SECONDS)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode == 130, (out, err)
    assert "it was interrupted" in out
    assert "Traceback" not in err
    assert processes_of(data) == []


def test_the_next_demo_removes_earlier_ones_unless_they_are_kept_or_still_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def left() -> set[str]:
        return {path.name for path in (tmp_path / "demo-data").glob("*/of-*")}

    with stage.fresh_directory(None, kept=False) as data:
        (data / "of-the-first").touch()
    with stage.fresh_directory(None, kept=True) as data:
        (data / "of-a-kept-one").touch()
    assert left() == {"of-a-kept-one"}
    with stage.fresh_directory(None, kept=False) as data:
        (data / "of-a-running-one").touch()
        with stage.fresh_directory(None, kept=False):
            assert left() == {"of-a-kept-one", "of-a-running-one"}
    (tmp_path / "demo-data" / "mine").mkdir()
    (tmp_path / "demo-data" / "mine" / "of-somebody-else").touch()
    with stage.fresh_directory(None, kept=False):
        assert left() == {"of-a-kept-one", "of-somebody-else"}
    with stage.fresh_directory(tmp_path / "named", kept=False) as named:
        assert named == tmp_path / "named"


def test_a_recovery_without_one_of_its_rules_is_reported() -> None:
    beats = [story.Beat(None, by, "") for by in ("B1", "observed", "A8", "A8", "B1b", "B1")]  # type: ignore[arg-type]
    assert story.missing_of(beats) == ""
    assert "never observed" in story.missing_of(beats[:1])
    assert "B1" in story.missing_of(beats[:-1])
    assert "A8 and B1b and B1" in story.missing_of(beats[:2])
