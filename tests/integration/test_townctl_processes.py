"""Processes of townctl that are killed, that run side by side, that are stopped; nothing is lost, nothing done twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from infra.devstack import git_seed
from infra.townctl import agent_programs
from shared.adapters.clock import CLOCK_VARIABLE, ScaledClock, wait_for
from shared.adapters.directory_objects import DirectoryObjects
from shared.domain.orders import StartOrder
from shared.domain.states import Role
from shared.ports.steps import drive
from shared.ports.town_store import TownImage
from shared.storage.towns import ObjectTownStore
from shared.town import database, journal
from tests.control_servers import a_control_server
from tests.integration.townctl_calls import REPOSITORY, RIG, Townctl
from tests.patience import PATIENCE_SECONDS

AGENT = "sleep 600"


@pytest.fixture
def townctl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Townctl]:
    """The command on a fresh directory; no process outlives the test."""
    called = Townctl(tmp_path / "data", capsys)
    yield called
    called.kill_all()
    for agents in tmp_path.rglob(".agents"):
        assert agent_programs.no_agents(agents.parent).stop_all() == ()


def stored(townctl: Townctl) -> TownImage:
    """What is committed."""
    return drive(ObjectTownStore(DirectoryObjects(townctl.data)).load("alpha"))


def rows(townctl: Townctl) -> list[dict[str, object]]:
    """The whole journal."""
    sql = database.open_image(stored(townctl).image)
    found = journal.rows(sql, limit=10_000)
    database.close(sql)
    return found


def outcomes(townctl: Townctl) -> list[tuple[str, str]]:
    """Every event that any tick drained, with its outcome."""
    return [
        (event["event_id"], event["outcome"])
        for row in rows(townctl)
        for event in row["outputs"]["events"]  # type: ignore[index]
    ]


@pytest.mark.long
@pytest.mark.slow
def test_a_tick_that_is_killed_at_any_call_is_made_good_by_the_next(
    townctl: Townctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL before and after each store call: events apply once, the agent starts once, the directory is healthy."""
    townctl.with_work()
    agent_programs.remember_program(townctl.data, agent_programs.AgentProgram(("sleep", "600")))
    place = tmp_path / "killed"
    place.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "tests.integration.townctl_killed", str(townctl.data), str(place)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10

    # Claims of the dead are taken up after five minutes.
    later = ScaledClock(epoch=datetime.now(UTC) + timedelta(minutes=6), wall_epoch=time.time(), speed=1)
    for data in sorted(place.iterdir()):
        killed = Townctl(data, townctl.capsys)
        for clock in ("", later.to_text(), later.to_text()):
            monkeypatch.setenv(CLOCK_VARIABLE, clock)
            killed.document("tick", "alpha", "--force")
        monkeypatch.delenv(CLOCK_VARIABLE)

        applied = [outcome for _, outcome in outcomes(killed)]
        assert applied.count("applied") == len(applied), (data, outcomes(killed))
        assert len({event_id for event_id, _ in outcomes(killed)}) == len(applied), data
        generations = list((data / ".agents" / "alpha").glob("*/0*"))
        assert len(generations) <= 1, data
        assert drive(ObjectTownStore(DirectoryObjects(data)).read_inbox("alpha", limit=10)).objects == () or generations
        agent_programs.no_agents(data).stop_all()


@pytest.mark.slow
def test_two_loops_on_one_directory_share_the_work_and_lose_nothing(townctl: Townctl) -> None:
    townctl.document("town", "create", "alpha")
    loops = [townctl.started("run", "--speed", "40", "--json") for _ in range(2)]
    for loop in loops:
        assert loop.stderr is not None
        assert any("running town alpha" in line for line in loop.stderr)
    posted = []
    for number in range(12):
        posted.append(townctl.post("town_configured", {"config": {"max_polecats_per_rig": number + 1}}))
        time.sleep(0.2)
    applied = {event_id for event_id, outcome in outcomes(townctl) if outcome == "applied"}
    settled = wait_for(
        lambda: set(posted) <= {e for e, outcome in outcomes(townctl) if outcome == "applied"},
        seconds=PATIENCE_SECONDS,
        every=0.2,
    )
    assert settled, applied
    for loop in loops:
        loop.send_signal(signal.SIGTERM)
    ends = [loop.communicate(timeout=PATIENCE_SECONDS) for loop in loops]
    assert {loop.returncode for loop in loops} <= {0, 1}, ends  # 1: no program for agents is set, so effects fail

    tallies = [json.loads(out) for out, _ in ends]
    assert all(tally["failing"] == {} for tally in tallies)
    assert sum(tally["ticks"]["committed"] for tally in tallies) == len(rows(townctl))
    assert sorted(event_id for event_id, _ in outcomes(townctl) if event_id in posted) == sorted(posted)
    assert [row["tick_no"] for row in rows(townctl)] == list(range(1, len(rows(townctl)) + 1))
    assert townctl.document("doctor")["findings"] == []


@pytest.mark.slow
def test_agents_survive_a_loop_that_is_killed_and_the_next_one_finds_them(townctl: Townctl) -> None:
    townctl.with_work()
    runtime = agent_programs.no_agents(townctl.data)
    loop = townctl.started("run", "--agent-command", AGENT)
    try:
        assert wait_for(lambda: len(runtime.running()) == 1, seconds=PATIENCE_SECONDS)
    finally:
        loop.kill()
        loop.communicate()
    [agent] = runtime.running()

    assert townctl.document("doctor")["findings"] == []
    seen = {agent.agent_id: {"status": "running", "exitReason": None, "generation": 1, "sign": None}}

    def is_seen() -> bool:
        return bool(townctl.document("dry-run", "alpha", "--observe")["input"]["observations"]["agents"] == seen)

    assert wait_for(is_seen, seconds=PATIENCE_SECONDS)  # it is `starting` for a moment
    next_loop = townctl.started("run", "--speed", "1")
    assert next_loop.stdout is not None
    assert "running town alpha" in next_loop.stdout.readline()
    next_loop.send_signal(signal.SIGINT)
    out, err = next_loop.communicate(timeout=PATIENCE_SECONDS)
    assert next_loop.returncode == 0, err
    assert "agents still running: 1" in out
    assert [(found.agent_id, found.generation) for found in runtime.running()] == [(agent.agent_id, 1)]


@pytest.mark.slow
def test_the_doctor_finds_an_agent_that_no_town_knows_of(townctl: Townctl) -> None:
    townctl.document("town", "create", "alpha")
    townctl.document("tick", "alpha")
    runtime = agent_programs.local_runtime(
        townctl.data, agent_programs.AgentProgram(("sleep", "600")), ScaledClock.starting_now(speed=1)
    )
    order = StartOrder(town_id="alpha", agent_id="stranger", generation=1, role=Role.POLECAT)
    runtime.start(order, effect_id="e1")
    found = townctl("doctor", "--json")
    assert found.code == 1
    [finding] = found.document["findings"]
    assert (finding["check"], finding["subject"]) == ("agent process", "stranger")
    assert "kill" in finding["hint"]


def test_a_loop_in_a_terminal_ends_at_the_first_signal(townctl: Townctl) -> None:
    townctl.document("town", "create", "alpha")
    loop = townctl.started("run")
    assert loop.stdout is not None
    assert any("Ctrl-C stops" in line for line in loop.stdout)
    os.kill(loop.pid, signal.SIGINT)
    out, err = loop.communicate(timeout=PATIENCE_SECONDS)
    assert (loop.returncode, err) == (0, "")
    assert "pass: " in out or "passes: " in out  # a slow machine has made only one when the signal arrives


INTERRUPTED_WHILE_IT_ENDS = """
import os, signal, threading, time
from infra.townctl import main
def interrupt():
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)
signal.signal(signal.SIGINT, signal.default_int_handler)
main.run = lambda _: threading.Thread(target=interrupt).start()
main.main()
"""


def test_a_second_interrupt_while_a_command_ends_ends_it_without_a_traceback() -> None:
    """Seen: Ctrl-C, pressed twice, printed "Exception ignored on threading shutdown" and a traceback."""
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_IT_ENDS],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")


def test_agents_of_a_loop_may_live_behind_a_control_server(
    townctl: Townctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = git_seed.create_repository(tmp_path / "work.git")
    environment = {**git_seed.OFFLINE, **git_seed.redirect({RIG["git_url"]: repository})}
    with a_control_server(tmp_path, environment=environment) as server:
        monkeypatch.setenv("TOWN_CONTROL_KEY", server.settings.key or "")
        townctl.document("town", "create", "t1")
        bead = {"bead_id": "b1", "type": "issue", "title": "Do it", "rig_id": "rig-1"}
        for event_type, payload in (("rig_registered", RIG), ("bead_created", {"bead": bead})):
            townctl.document("event", "post", "t1", "--type", event_type, "--payload", json.dumps(payload))
        assert townctl("run", "--once", "--control-server", server.address).code == 0
        assert [agent.generation for agent in server.runtime.running()] == [1]
        assert agent_programs.no_agents(townctl.data).running() == ()


@pytest.mark.parametrize("address", ["agents.example.com:8080", "ftp://agents.example.com", "http://", ""])
def test_a_control_server_that_cannot_be_meant_is_refused(townctl: Townctl, address: str) -> None:
    townctl.document("town", "create", "t1")
    called = townctl("run", "--once", "--control-server", address)
    assert called.code == 2
    assert "http://127.0.0.1:8080" in called.err


KILLS_ITS_PROCESS = """
import os, signal, sys
if "infra.townctl.main" in sys.orig_argv:
    from shared.runner import worker
    run_town = worker.run_town
    def runs_out_of_memory(town_id, *arguments, **named):
        if town_id == "killer" and not os.path.exists(os.environ["HEALED"]):
            os.kill(os.getpid(), signal.SIGKILL)
        return run_town(town_id, *arguments, **named)
    worker.run_town = runs_out_of_memory
"""
"""Loaded by every Python process of the test: whoever runs the town `killer` is killed, as by a lack of memory."""


@pytest.mark.long
@pytest.mark.slow
def test_a_town_that_kills_its_loop_is_set_aside_and_its_neighbours_go_on(townctl: Townctl, tmp_path: Path) -> None:
    """Seen: it kept two others from being looked at for six minutes and more, whatever restarted the loop."""
    for town_id in ("killer", "quiet", "alpha"):
        townctl.document("town", "create", town_id)
    (tmp_path / "sitecustomize.py").write_text(KILLS_ITS_PROCESS)
    around = {**os.environ, "PYTHONPATH": str(tmp_path), "HEALED": str(tmp_path / "healed")}
    command = [sys.executable, "-m", "infra.townctl.main", "run", "--data", str(townctl.data)]

    def looked_at(town_id: str) -> bool:
        return drive(ObjectTownStore(DirectoryObjects(townctl.data)).load(town_id)).facts.tick_no > 0

    first = subprocess.run(
        command, cwd=REPOSITORY, env=around, capture_output=True, check=False, timeout=PATIENCE_SECONDS
    )
    assert first.returncode == -signal.SIGKILL
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=around, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as loop:
        try:
            assert wait_for(lambda: looked_at("quiet") and looked_at("alpha"), seconds=PATIENCE_SECONDS)
            assert wait_for(
                lambda: townctl.document("town", "status", "killer")["setAside"] is not None,
                seconds=PATIENCE_SECONDS,
                every=1,
            )
            assert loop.poll() is None, "the loop lives on"
            (tmp_path / "healed").touch()
            assert townctl.document("town", "resume", "killer")["resumed"]
            assert wait_for(lambda: looked_at("killer"), seconds=PATIENCE_SECONDS, every=1)
        finally:
            loop.terminate()
            said, _ = loop.communicate()
    assert "killer: its run in a child process was ended by SIGKILL" in said.decode()
