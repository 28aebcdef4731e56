"""The control server: what it reports about its agents, where they work, and how it shuts down."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from infra.agents.activity import ACTIVITY, Activity
from infra.agents.control_server import eviction, git_runs
from infra.agents.control_server.git_runs import Git
from infra.agents.control_server.settings import ControlServerSettings
from infra.agents.posting import poster_from
from infra.devstack import container, git_seed
from infra.devstack.gateway import serving
from shared.adapters.clock import Budget, wait_for
from shared.adapters.control_server import ControlServerRuntime
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.http_json import Answered, call
from shared.adapters.local_processes import NotPrepared
from shared.adapters.start_request import start_request
from shared.adapters.town_containers import FixedAddresses
from shared.domain import wire
from shared.domain.orders import StartOrder
from shared.domain.processes import ProcessStatus
from shared.domain.times import to_text
from shared.events.containers import drain_nonce
from shared.ports.forge import Asker, ForgeError, MergeClaim, Proof
from shared.ports.runtime import Done, Started, StartRejected
from tests.control_servers import PATIENT, SLEEPER, START, Fail, Listener, TestServer, a_control_server, started
from tests.fakes import FakeClock
from tests.patience import PATIENCE_SECONDS
from tests.towns import T, a_town
from tests.worlds import a_world

URL = "https://git.example.com/acme/work.git"
RIG = {"id": "rig-1", "name": "work", "git_url": URL, "default_branch": "main"}
TALKER = ("sh", "-c", "echo hello; sleep 600")
WAITER = (
    "sh",
    "-c",
    'printf \'{"since":"2026-01-10T12:00:00.000Z"}\' > "${TOWN_AGENT_CONTEXT%/*}/waiting.json"; sleep 600',
)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(T)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return git_seed.create_repository(tmp_path / "work.git")


def calm(server: TestServer) -> TestServer:
    """Stop the thread, so that only the test observes the agents."""
    server.running.watch._ended.set()
    return server


@pytest.fixture
def server(tmp_path: Path, clock: FakeClock, repository: Path) -> Iterator[TestServer]:
    environment = {**git_seed.OFFLINE, **git_seed.redirect({URL: repository})}
    with a_control_server(
        tmp_path, command=TALKER, clock=clock, environment=environment, eviction_seconds=0.2
    ) as server:
        yield calm(server)


def adapter(server: TestServer) -> ControlServerRuntime:
    return ControlServerRuntime(FixedAddresses(server.address), key_of=lambda _: server.settings.key, seconds=PATIENT)


def order(generation: int = 1, agent_id: str = "a1", role: str = "polecat", **more: Any) -> StartOrder:
    return wire.read(
        StartOrder,
        {
            "town_id": "t1",
            "agent_id": agent_id,
            "role": role,
            "identity": f"Toast-{role}-rig-1@t1",
            "generation": generation,
            "rig": RIG,
            "bead": {"id": "b1", "title": "Do it"},
            "prompt_kind": "work",
            **more,
        },
    )


def start(server: TestServer, *args: Any, effect: str = "e1", **more: Any) -> Any:
    return adapter(server).start(order(*args, **more), effect_id=effect)


def look(server: TestServer) -> Listener:
    """Observe all agents once. Returns the events that the town has received."""
    server.running.watch.look()
    assert wait_for(lambda: server.running.reporter._unposted == 0, seconds=PATIENCE_SECONDS)
    town: Listener = server.town
    return town


def _is_written(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def tree(server: TestServer, agent_id: str = "a1") -> Path:
    return server.settings.root / "agents" / "t1" / agent_id / "work" / "tree"


def git(at: Path, *words: str) -> str:
    environment = {**os.environ, **git_seed.OFFLINE}
    return subprocess.run(["git", *words], check=True, cwd=at, env=environment, capture_output=True, text=True).stdout


# what the town is told ------------------------------------------------------------------------------


def test_a_running_agent_has_a_heartbeat_every_thirty_seconds_from_its_instance(
    server: TestServer, clock: FakeClock
) -> None:
    start(server)
    log = server.runtime.newest("t1", "a1").directory / "agent.log"
    assert wait_for(lambda: log.exists() and log.stat().st_size > 0, seconds=PATIENCE_SECONDS)
    for _ in range(7):
        look(server)
        clock.move(seconds=10)
    beats = server.town.heard("agent_heartbeat", "a1")
    assert len(beats) == 3
    assert len({beat["event_id"] for beat in beats}) == 3
    assert {beat["payload"]["container_instance_id"] for beat in beats} == {"instance-1"}
    assert {beat["payload"]["generation"] for beat in beats} == {1}


def test_an_agent_is_told_that_its_server_says_that_it_lives(tmp_path: Path, clock: FakeClock) -> None:
    command = ("sh", "-c", 'echo "$TOWN_HEARTBEATS"; sleep 600')
    with a_control_server(tmp_path, command=command, clock=clock) as server:
        start(server, rig=None)
        log = server.runtime.newest("t1", "a1").directory / "agent.log"
        assert wait_for(lambda: _is_written(log), seconds=PATIENCE_SECONDS)
        assert log.read_text() == "container\n"


def test_all_agents_of_a_server_beat_in_one_request(server: TestServer, clock: FakeClock) -> None:
    calm(server)
    for number in range(1, 4):
        start(server, agent_id=f"a{number}", effect=f"e{number}")
        clock.move(seconds=10)
        look(server)
    clock.move(seconds=30)
    server.town.posts.clear()
    look(server)
    assert [[event["agent_id"] for event in events] for events in server.town.posts] == [["a1", "a2", "a3"]]


def test_a_beat_that_the_town_refuses_keeps_no_other_agent_from_being_heard(server: TestServer) -> None:
    calm(server)
    server.town.refuses = "a1"
    start(server)
    start(server, agent_id="a2", effect="e2")
    assert [event["agent_id"] for event in look(server).heard("agent_heartbeat")] == ["a2"]


def test_a_silent_agent_becomes_stale_although_its_process_is_alive(server: TestServer, clock: FakeClock) -> None:
    """Its heartbeats continue, but say since when it has done nothing; output counts as activity."""
    start(server)
    log = server.runtime.newest("t1", "a1").directory / "agent.log"
    assert wait_for(lambda: log.exists() and log.stat().st_size > 0, seconds=PATIENCE_SECONDS)
    look(server)
    clock.move(minutes=20)
    look(server)
    with log.open("a") as more:
        more.write("still there\n")
    clock.move(seconds=30)
    look(server)
    said = [beat["payload"]["last_event_at"][11:16] for beat in server.town.heard("agent_heartbeat")]
    assert said == ["12:00", "12:00", "12:20"]


@pytest.mark.parametrize(
    ("number", "event_type", "payload"),
    [
        (
            signal.SIGKILL,
            "container_status",
            {"status": "exited", "exit_reason": "killed by signal 9", "generation": 1},
        ),
        (None, "agent_completed", {"status": "completed", "reason": "completed", "generation": 1}),
    ],
)
def test_the_end_of_an_agent_is_reported_with_its_reason(
    tmp_path: Path, clock: FakeClock, number: Any, event_type: str, payload: dict[str, Any]
) -> None:
    command = ("sleep", "600") if number else ("sh", "-c", "read line < $TOWN_AGENT_HOME/go; exit 0")
    with a_control_server(tmp_path, command=command, clock=clock) as server:
        calm(server)
        pipe = server.settings.root / "agents" / "t1" / "a1" / "work" / "go"
        pipe.parent.mkdir(parents=True)
        os.mkfifo(pipe)
        start(server, rig=None)
        look(server)
        if number:
            [agent] = server.runtime.running()
            os.kill(agent.pid, number)
        else:
            pipe.write_text("go\n")
        assert wait_for(lambda: server.runtime.status("t1", "a1").status == "exited", seconds=PATIENCE_SECONDS)
        town = look(server)
        look(server)
        assert [event["payload"] for event in town.heard(event_type)] == [payload]


def test_an_agent_that_ends_between_two_looks_is_reported_too(tmp_path: Path) -> None:
    """Only what was running when the watch looked was known to it: an agent that ended sooner, such as a CLI that breaks at
    once, was never told, and the town waited for a heartbeat that could not come.
    """
    with a_control_server(tmp_path, command=("sh", "-c", "exit 3")) as server:
        calm(server)
        assert isinstance(start(server, rig=None), Started)
        assert wait_for(lambda: server.generations() == [], seconds=PATIENCE_SECONDS)
        look(server)
        look(server)
        [end] = server.town.heard("container_status")
        assert end["payload"] == {"status": "exited", "exit_reason": "crashed (exit code 3)", "generation": 1}


def test_an_agent_that_ended_before_the_eviction_is_reported_as_it_ended(tmp_path: Path) -> None:
    """Once an eviction had begun, the watch reported no ends, and the eviction reported only agents that were still running."""
    with a_control_server(tmp_path, command=("true",), eviction_seconds=0.2) as server:
        calm(server)
        start(server, rig=None)
        assert wait_for(lambda: server.generations() == [], seconds=PATIENCE_SECONDS)
        server.running.evict()
        [end] = server.town.heard("agent_completed")
        assert end["payload"] == {"status": "completed", "reason": "completed", "generation": 1}


def test_events_that_the_town_does_not_acknowledge_are_retried_in_order(server: TestServer) -> None:
    start(server)
    look(server)
    server.town.deaf = True
    adapter(server).stop("t1", "a1", generation=1, effect_id="s1")
    server.running.watch.look()
    server.running.watch.report_end("a2", 1, "later")
    server.town.deaf = False
    assert wait_for(lambda: len(server.town.heard("container_status")) == 2, seconds=PATIENCE_SECONDS)
    assert [event["agent_id"] for event in server.town.heard("container_status")] == ["a1", "a2"]


def test_an_event_that_the_town_refuses_for_good_does_not_block_later_ones(server: TestServer) -> None:
    """It was retried until the container ended, and no other agent's end was reported meanwhile."""
    server.town.refuses = "a1"
    server.running.watch.report_end("a1", 1, "gone")
    server.running.watch.report_end("a2", 1, "gone")
    assert [event["agent_id"] for event in look(server).heard("container_status")] == ["a2"]


@pytest.mark.parametrize(("role", "patience"), [("polecat", 2), ("refinery", 10)])
def test_an_agent_that_only_waits_is_stopped(tmp_path: Path, clock: FakeClock, role: str, patience: int) -> None:
    with a_control_server(tmp_path, command=WAITER, clock=clock) as server:
        calm(server)
        start(server, role=role, rig=None)
        note = server.runtime.newest("t1", "a1").desk / "waiting.json"
        assert wait_for(lambda: note.exists() and note.stat().st_size > 0, seconds=PATIENCE_SECONDS)
        look(server)
        clock.move(minutes=patience)
        look(server)
        assert server.generations() == [1]
        clock.move(ms=1)
        look(server)
        assert server.generations() == []
        assert adapter(server).status("t1", "a1") == ProcessStatus("exited", "idle: it only waited", 1)


def test_an_agent_that_is_active_again_no_longer_waits_and_a_mayor_may_wait_forever(
    tmp_path: Path, clock: FakeClock
) -> None:
    with a_control_server(tmp_path, command=WAITER, clock=clock) as server:
        calm(server)
        for agent_id, role in (("a1", "polecat"), ("m1", "mayor")):
            start(server, agent_id=agent_id, role=role, rig=None, effect=agent_id)
            note = server.runtime.newest("t1", agent_id).desk / "waiting.json"
            assert wait_for(partial(_is_written, note), seconds=PATIENCE_SECONDS)
        look(server)
        (server.runtime.newest("t1", "a1").desk / "spoke").touch()
        look(server)
        clock.move(hours=9)
        look(server)
        assert (server.generations("a1"), server.generations("m1")) == ([1], [1])


@pytest.mark.parametrize(
    "note", [b"\xff\xfe", b"[" * 100_000, b'{"since": []}'], ids=["no text", "too deep", "no time"]
)
def test_an_unreadable_note_of_one_agent_stops_no_heartbeats(server: TestServer, note: bytes) -> None:
    """A note that was not UTF-8 ended the thread that observes all agents, and the town declared every agent lost."""
    calm(server)
    start(server)
    (server.runtime.newest("t1", "a1").desk / "waiting.json").write_bytes(note)
    start(server, agent_id="a2", effect="e2")

    assert [event["agent_id"] for event in look(server).heard("agent_heartbeat")] == ["a1", "a2"]


def test_a_program_that_hangs_shows_as_silent_although_its_driver_goes_on(tmp_path: Path, clock: FakeClock) -> None:
    """The note of a driver says what its program did last; beside it, nothing else counts as activity."""
    with a_control_server(tmp_path, command=SLEEPER, clock=clock) as server:
        calm(server)
        start(server, rig=None)
        began = clock.now()
        desk = server.runtime.newest("t1", "a1").desk
        (desk / ACTIVITY).write_text(json.dumps(Activity("tool_began", began, ("bash",)).note()))
        look(server)
        clock.move(minutes=20)
        (desk / "spoke").touch()
        beats = [event["payload"] for event in look(server).heard("agent_heartbeat")]
        assert [(beat["last_event_type"], beat["active_tools"]) for beat in beats] == [("tool_began", ["bash"])] * 2
        assert {beat["last_event_at"] for beat in beats} == {to_text(began)}


# where agents work ----------------------------------------------------------------------------------


def test_a_polecat_works_on_its_own_branch_which_starts_at_the_target(server: TestServer) -> None:
    assert isinstance(start(server), Started)
    assert git(tree(server), "branch", "--show-current").strip() == "gt/toast/b1"
    assert (tree(server) / "README.md").exists()


def test_work_continues_on_a_branch_that_exists(server: TestServer, repository: Path) -> None:
    git(repository, "branch", "gt/other/b1", "main")
    first = start(server, branch="gt/other/b1", prompt_kind="rework")
    (tree(server) / "half.txt").write_text("half")
    assert isinstance(first, Started)
    assert server.running.sessions.save(tree(server).parent, order(branch="gt/other/b1"), lambda: False).startswith(
        "saved"
    )
    assert isinstance(start(server, 2, branch="gt/other/b1", effect="e2"), Started)
    assert (tree(server) / "half.txt").read_text() == "half"


def test_two_agents_work_on_one_branch_without_touching_one_another(server: TestServer) -> None:
    """The refinery has a detached worktree; a second polecat may take the branch of one that is idle."""
    for number, (agent_id, role) in enumerate([("a1", "polecat"), ("a2", "polecat"), ("a3", "refinery")]):
        answer = start(server, agent_id=agent_id, role=role, branch="gt/toast/b1", effect=f"e{number}")
        assert isinstance(answer, Started)
    assert git(tree(server, "a3"), "branch", "--show-current").strip() == ""
    assert len({tree(server, agent_id) for agent_id in ("a1", "a2", "a3")}) == 3


def test_credentials_are_removed_from_urls_in_messages_of_git() -> None:
    """Newer versions of git remove them themselves."""
    assert git_runs.said(b"fatal: unable to access 'https://user:hunter2@x.example/a'") == (
        "fatal: unable to access 'https://x.example/a'"
    )


def test_a_repository_that_cannot_be_fetched_rejects_the_start(server: TestServer) -> None:
    rig = {
        "id": "r",
        "name": "r",
        "git_url": "https://nowhere.example.com/x.git",
        "default_branch": "main",
    }
    answer = start(server, rig=rig)
    assert isinstance(answer, StartRejected)
    assert "git clone" in answer.reason


def test_an_address_with_credentials_rejects_the_start_and_shows_none(server: TestServer) -> None:
    rig = {"id": "r", "name": "r", "git_url": "https://user:hunter2@x.example.com/x.git", "default_branch": "main"}
    answer = start(server, rig=rig)
    assert isinstance(answer, StartRejected)
    assert "not a repository's address without credentials" in answer.reason
    assert "hunter2" not in answer.reason


@pytest.mark.parametrize("branch", ["--upload-pack=touch x", "-B", "..", "a b"])
def test_an_invalid_branch_name_rejects_the_start(server: TestServer, branch: str) -> None:
    assert isinstance(start(server, branch=branch), StartRejected)
    assert server.generations() == []


def test_a_hook_that_an_agent_left_in_a_clone_is_not_run(server: TestServer) -> None:
    start(server)
    [clone] = (server.settings.root / "clones").glob("*.git")
    (clone / "hooks").mkdir(exist_ok=True)
    (clone / "hooks" / "post-checkout").write_text("#!/bin/sh\nexit 1\n")
    (clone / "hooks" / "post-checkout").chmod(0o755)
    assert isinstance(start(server, 2, effect="e2"), Started)


def test_a_damaged_clone_is_created_again(server: TestServer) -> None:
    start(server)
    [clone] = (server.settings.root / "clones").iterdir()
    (clone / "HEAD").write_text("rubbish")
    assert isinstance(start(server, 2, effect="e2"), Started)


def test_a_start_that_is_superseded_while_it_clones_is_cancelled(
    server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Generation 1 hangs while it clones. When generation 2 is started, 1 is cancelled and never starts, and 2 runs."""
    reached = threading.Event()
    whole = Git.run

    def hangs(self: Git, *words: str) -> str:
        if words[0] == "fetch" and not reached.is_set():
            reached.set()
            wait_for(self.cancelled, seconds=PATIENCE_SECONDS)
            raise NotPrepared("cancelled")
        return whole(self, *words)

    monkeypatch.setattr(Git, "run", hangs)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(start, server, 1)
        assert reached.wait(PATIENCE_SECONDS)
        assert adapter(server).status("t1", "a1") == ProcessStatus("starting", generation=1)
        second = pool.submit(start, server, 2, effect="e2")
        assert isinstance(second.result(PATIENCE_SECONDS), Started)
        answer = first.result(PATIENCE_SECONDS)
    assert isinstance(answer, StartRejected)
    assert "superseded: generation 2" in answer.reason
    assert server.generations() == [2]


def hanging_rig(server: TestServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A repository on which the real git hangs, because a pipe is in place of the network."""
    pipe = server.settings.root / "hangs.git"
    os.mkfifo(pipe)
    url = "https://hangs.example.com/acme/work"
    configured = {
        "GIT_ALLOW_PROTOCOL": "file:ext",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.ext::cat {pipe}.insteadOf",
        "GIT_CONFIG_VALUE_0": url,
    }
    for name, value in configured.items():
        monkeypatch.setitem(server.running.sessions.workspaces._environment, name, value)
    return {"id": "r", "name": "r", "git_url": url, "default_branch": "main"}


def test_a_start_that_is_stopped_while_it_clones_is_cancelled(
    server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = hanging_rig(server, monkeypatch)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(start, server, rig=rig)
        clones = server.settings.root / "clones"
        assert wait_for(lambda: any(clones.glob("*.git/HEAD")), seconds=PATIENCE_SECONDS)
        assert adapter(server).stop("t1", "a1", generation=1, effect_id="s1") == Done()
        answer = first.result(PATIENCE_SECONDS)
    assert isinstance(answer, StartRejected)
    assert "stopped before it was started" in answer.reason
    assert server.generations() == []


# the end, and a new beginning -----------------------------------------------------------------------


def test_an_eviction_is_announced_saves_the_work_and_refuses_starts(server: TestServer, repository: Path) -> None:
    start(server)
    look(server)
    (tree(server) / "new.txt").write_text("unfinished")
    server.running.sessions.evicting = True
    answer = start(server, agent_id="a2", effect="e2")
    assert isinstance(answer, StartRejected)
    assert answer.kind == "no_capacity"
    assert server.running.evict() == ["a1 generation 1: saved on gt/toast/b1"]
    town: Listener = server.town
    assert [event["event_type"] for event in town.events if event["event_type"] != "agent_heartbeat"] == [
        "container_eviction",
        "agent_completed",
    ]
    [told] = town.heard("agent_completed", "a1")
    assert told["payload"] == {"status": "completed", "reason": "container eviction", "generation": 1}
    assert git(repository, "show", "gt/toast/b1:new.txt") == "unfinished"
    mailbox = server.runtime.newest("t1", "a1").directory / "messages"
    assert "Commit and push" in next(iter(mailbox.iterdir())).read_text()


def test_an_idle_container_announces_no_eviction(server: TestServer) -> None:
    """The reconciler stops a container that nobody uses; were that told as an eviction, the next bead would wait for the
    end of a drain, up to seven minutes.
    """
    assert server.running.evict() == []
    assert server.town.events == []


def test_the_container_of_a_single_agent_saves_its_work_and_announces_no_eviction(
    server: TestServer, repository: Path
) -> None:
    """An announced eviction would block every other agent of the town when one agent's task is stopped."""
    start(server)
    look(server)
    (tree(server) / "new.txt").write_text("unfinished")
    assert server.running.leave() == ["a1 generation 1: saved on gt/toast/b1"]
    kinds = [event["event_type"] for event in server.town.events]
    assert [kind for kind in kinds if kind != "agent_heartbeat"] == ["agent_completed"]
    assert git(repository, "show", "gt/toast/b1:new.txt") == "unfinished"


def test_a_start_that_still_clones_when_the_container_is_evicted_is_cancelled_and_reported(
    server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its agent could start after the eviction had listed the agents, and then died with the container without a report."""
    monkeypatch.setattr(server.running.sessions, "_settings", replace(server.settings, answer_within=0.1))
    rig = hanging_rig(server, monkeypatch)
    assert isinstance(start(server, rig=rig), Started)
    assert wait_for(lambda: any((server.settings.root / "clones").glob("*.git/HEAD")), seconds=PATIENCE_SECONDS)
    assert server.running.evict() == []
    assert server.generations() == []
    [end] = server.town.heard("container_status")
    assert "stopped before it was started" in end["payload"]["exit_reason"]


def test_an_origin_that_hangs_does_not_delay_the_reports_of_other_agents(
    server: TestServer, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work was saved for one agent after another, up to ten minutes each; the platform kills a container sooner."""

    class UntilTheOtherIsSaved(Budget):
        def left(self, *, at_most: float = float("inf")) -> float:
            is_saved = git(repository, "branch", "--list", "gt/a2") != ""
            return 0 if is_saved else super().left(at_most=at_most)

    monkeypatch.setattr(eviction, "Budget", UntilTheOtherIsSaved)
    for agent_id in ("a1", "a2"):
        start(server, agent_id=agent_id, rig=RIG | {"id": agent_id}, branch=f"gt/{agent_id}", effect=agent_id)
        (tree(server, agent_id) / "half.txt").write_text("half done\n")
    hook = repository / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\nread old new ref\n[ $ref = refs/heads/gt/a2 ] || sleep 600\n")
    hook.chmod(0o755)
    assert sorted(server.running.evict()) == [
        "a1 generation 1: could not be saved: cancelled",
        "a2 generation 1: saved on gt/a2",
    ]
    assert {event["agent_id"] for event in server.town.heard("agent_completed")} == {"a1", "a2"}


@pytest.mark.parametrize("instance_id", ["1", "arn:aws:ecs:eu-west-1:123456789012:task/towns/0f1e2d3c", "x" * 300])
def test_reports_are_accepted_whatever_the_name_of_the_instance(tmp_path: Path, instance_id: str) -> None:
    """Event ids contained the name unchanged: with a slash in it, the town refused the eviction for good."""
    world = a_world(a_town(), objects=DirectoryObjects(tmp_path / "towns"))
    town = poster_from({"TOWN_AGENT_DATA": str(tmp_path / "towns")}, town_id="t1", clock=world.clock)
    with a_control_server(tmp_path, clock=world.clock, eviction_seconds=0.2) as first:
        server = started(replace(first.settings, instance_id=instance_id, root=tmp_path / "disk"), town)
        start(calm(server), rig=None)
        server.running.watch.look()
        server.running.evict()
    told = [event["event_type"] for key in world.inbox() for event in json.loads(_body(world, key))["events"]]
    assert sorted(told) == ["agent_completed", "agent_heartbeat", "container_eviction"]


def test_the_next_instance_on_the_same_disk_ends_the_drain_with_its_nonce_once(server: TestServer) -> None:
    start(server)
    server.running.evict()
    for instance in ("instance-2", "instance-3"):
        newer = server.replaced(instance)
        newer.running.reporter.finish(seconds=PATIENCE_SECONDS)
        newer.close()
    [ready] = server.town.heard("container_ready")
    [eviction] = server.town.heard("container_eviction")
    assert ready["payload"] == {"nonce": drain_nonce("t1", eviction["event_id"])}


def test_a_server_that_was_restarted_knows_what_it_started(server: TestServer) -> None:
    """The process survives the server: the new server finds it, reports its status and stops it."""
    first = start(server)
    server.running._close()
    server.running.reporter.finish(seconds=PATIENCE_SECONDS)
    newer = calm(server.replaced("instance-2"))
    assert adapter(newer).start(order(), effect_id="e1") == first
    assert [beat["payload"]["generation"] for beat in look(newer).heard("agent_heartbeat")][-1:] == [1]
    assert adapter(newer).stop("t1", "a1", generation=1, effect_id="s1") == Done()
    assert newer.generations() == []
    newer.running.kill()
    server.running = newer.running
    server.settings = newer.settings
    server.close = lambda: None  # type: ignore[method-assign] # it is closed


# the door -------------------------------------------------------------------------------------------


def ask(server: TestServer, method: str, path: str, body: Any = None, **headers: str) -> Answered:
    sent = {"Authorization": f"Bearer {server.settings.key}", **headers}
    answer = call(method, f"{server.address}{path}", body=body, headers=sent, seconds=PATIENCE_SECONDS)
    assert isinstance(answer, Answered)
    return answer


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("GET", "/nothing", None, 404, "no such route"),
        ("PUT", "/agents/start", {}, 405, "PUT is not allowed"),
        ("PROPFIND", "/agents/start", None, 405, "PROPFIND is not allowed"),
        ("DELETE", "/agents/a1/stop", None, 405, "DELETE is not allowed"),
        ("GET", "/agents/a1/stop", None, 405, "is not allowed for stop"),
        ("POST", "/agents/start", {}, 400, "agentId"),
        ("POST", "/agents/a1/stop", {"signal": "SIGHUP"}, 400, "signal"),
        ("POST", "/agents/a1/message", {"prompt": ""}, 400, "prompt"),
        ("POST", "/agents/a1/message", {"prompt": "hi", "more": 1}, 400, "more"),
        ("PATCH", "/agents/nobody/model", {"model": "m"}, 404, "no such agent"),
        ("POST", "/agents/nobody/stop", {}, 404, "no such agent"),
        ("GET", "/agents/nobody/status", None, 404, "no such agent"),
        ("POST", "/refresh-token", {"token": ""}, 400, "token"),
        ("POST", "/agents/start", {**START, "branch": "a\0b"}, 400, "branch"),
        ("POST", "/agents/start", {**START, "gitUrl": "a\0b"}, 400, "gitUrl: U+0000 is not allowed"),
        ("POST", "/agents/start", {**START, "gitUrl": "fd::3"}, 400, "gitUrl: not a repository's address"),
        ("POST", "/agents/start", {**START, "envVars": {"BASH_ENV": "$(id)"}}, 400, "may not set BASH_ENV"),
        ("POST", "/sync-config", {"envVars": {"TOWN_TOKEN": "t"}}, 400, "may not set TOWN_TOKEN"),
        ("POST", "/sync-config", {"rigs": [{"git_url": "ext::sh"}]}, 400, "rigs.0.git_url: not a repository's address"),
        ("POST", "/agents/start", {**START, "envVars": {"LANG": "a\0b"}}, 400, "envVars.LANG: U+0000 is not allowed"),
        ("POST", "/agents/start", {**START, "envVars": {"TOWN_AGENT_ORDER": "[" * 100_000}}, 400, "nested deeper than"),
        (
            "POST",
            "/agents/start",
            {**START, "envVars": {"TOWN_AGENT_ORDER": "{}"}},
            400,
            "TOWN_AGENT_ORDER: town_id is missing",
        ),
        ("POST", "/agents/start", {**START, "rigs": [{"id": 5}]}, 400, "rigs.0.id: a text is required"),
    ],
)
def test_a_wrong_request_is_answered_with_the_problem(
    server: TestServer, method: str, path: str, body: Any, status: int, said: str
) -> None:
    answer = ask(server, method, path, body)
    assert answer.status == status
    assert said in answer.body["error"]


@pytest.mark.parametrize("text", ["one", "-1", "\xb2", "9" * 5000])
def test_a_generation_that_is_not_a_number_is_refused(server: TestServer, text: str) -> None:
    answer = ask(server, "POST", "/agents/a1/stop", {}, **{"Town-Generation": text})
    assert (answer.status, answer.body["error"]) == (400, "Town-Generation: must be a whole number")


def test_clones_that_hang_delay_no_start_and_end_with_the_server(
    server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The threads that start agents also fetched clones: a forge that hung blocked all of them for ten minutes."""
    url = hanging_rig(server, monkeypatch)["git_url"]
    rigs = [{"git_url": f"{url}/{number}"} for number in range(65)]
    assert ask(server, "POST", "/sync-config", {"rigs": rigs}).status == 200
    clones = server.settings.root / "clones"
    assert wait_for(lambda: len(list(clones.glob("*.git/HEAD"))) == 4, seconds=PATIENCE_SECONDS)
    assert ask(server, "POST", "/agents/start", START).body["status"] == "running"
    server.running.sessions.close()
    server.running.sessions._fetches.shutdown(wait=True)


def test_a_body_that_is_too_large_is_not_read(server: TestServer) -> None:
    """Its Content-Length is enough to refuse it; the body is never sent."""
    connection = HTTPConnection("127.0.0.1", server.running.door.port, timeout=PATIENCE_SECONDS)
    connection.putrequest("POST", "/agents/a1/message")
    connection.putheader("Authorization", f"Bearer {server.settings.key}")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str((1 << 20) + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_a_start_for_another_town_is_refused(server: TestServer) -> None:
    answer = adapter(server).start(replace(order(), town_id="t2"), effect_id="e1")
    assert isinstance(answer, StartRejected)
    assert "serves town t1" in answer.reason


def test_a_caller_that_knows_no_generations_gets_them_numbered(server: TestServer) -> None:
    """The minimal request: without our headers and without an order in envVars."""
    body = start_request(order(), model="m", small_model=None, environment={})
    del body["envVars"]
    for number in (1, 2):
        assert ask(server, "POST", "/agents/start", body).body["generation"] == number
    assert ask(server, "GET", "/agents/a1/status").body == {
        "agentId": "a1",
        "status": "running",
        "generation": 2,
        "processId": "a1:2",
    }
    assert ask(server, "POST", "/agents/a1/stop", {"signal": "SIGKILL"}).body["status"] == "stopped"
    assert server.generations() == []
    found = json.loads((server.runtime.newest("t1", "a1").directory / "context.json").read_text())
    assert found["prompt"] == body["prompt"]
    assert found["rig"]["git_url"] == URL


def test_a_merge_is_looked_for_in_a_clone_of_the_servers_own(server: TestServer, repository: Path) -> None:
    git(repository, "branch", "gt/toast/b1", "main")
    head = git(repository, "rev-parse", "main").strip()
    claim = MergeClaim(URL, "main", "gt/toast/b1", head=head)
    found = adapter(server).proof(Asker("t1"), claim)
    assert found == Proof(True, sha=head, says="the target contains the branch")
    assert adapter(server).proof(Asker("t1"), replace(claim, target_branch="none")) == Proof(
        False, says="the repository has no branch none"
    )


def test_an_older_server_that_cannot_look_says_nothing_about_a_merge(server: TestServer) -> None:
    claim = MergeClaim(URL, "main", "gt/toast/b1")
    server.faults.add("/merge-proof", Fail(404))
    found = adapter(server).proof(Asker("t1"), claim)
    assert isinstance(found, Proof)
    assert found.contained is None
    server.faults.add("/merge-proof", Fail(503))
    assert isinstance(adapter(server).proof(Asker("t1"), claim), ForgeError)


def test_health_lists_the_running_agents(server: TestServer) -> None:
    start(server)
    assert ask(server, "GET", "/health").body == {
        "status": "ok",
        "townId": "t1",
        "instanceId": "instance-1",
        "agents": [{"agentId": "a1", "generation": 1}],
    }


# as a process ---------------------------------------------------------------------------------------


def test_settings_come_from_the_environment_and_say_what_is_missing() -> None:
    given = {"TOWN_ID": "t1", "TOWN_AGENT_COMMAND": '["agent", "--fast"]', "GIT_SSL_NO_VERIFY": "1"}
    settings = ControlServerSettings.from_environment(given)
    assert settings.command == ("agent", "--fast")
    assert settings.environment == {"GIT_SSL_NO_VERIFY": "1"}
    with pytest.raises(ValueError, match="TOWN_AGENT_COMMAND"):
        ControlServerSettings.from_environment({"TOWN_ID": "t1"})
    for wrong in ('["agent"', "agent 'sesame", "[1]", "[" * 100_000):
        with pytest.raises(ValueError, match="TOWN_AGENT_COMMAND") as caught:
            ControlServerSettings.from_environment({**given, "TOWN_AGENT_COMMAND": wrong})
        assert "sesame" not in str(caught.value)
    with pytest.raises(ValueError, match="TOWN_CONTROL_KEY"):
        ControlServerSettings.from_environment({**given, "TOWN_CONTROL_HOST": "0.0.0.0"})
    for name in ("TOWN_CONTROL_PORT", "TOWN_EVICTION_SECONDS"):
        with pytest.raises(ValueError, match=f"{name}: 'soon' is not a number"):
            ControlServerSettings.from_environment({**given, name: "soon"})
        for odd in ("nan", "inf", "-1", "1e400"):
            with pytest.raises(ValueError, match=f"{name}: '{odd}' is not"):
                ControlServerSettings.from_environment({**given, name: odd})
    for odd in ("65536", "80.5"):
        with pytest.raises(ValueError, match=f"TOWN_CONTROL_PORT: '{odd}' is not a port"):
            ControlServerSettings.from_environment({**given, "TOWN_CONTROL_PORT": odd})


def test_as_a_process_it_serves_until_sigterm(tmp_path: Path, clock: FakeClock) -> None:
    world = a_world(a_town(), objects=DirectoryObjects(tmp_path / "towns"))
    environment = {"TOWN_AGENT_DATA": str(tmp_path / "towns"), "TOWN_EVICTION_SECONDS": "0.2"}
    run = container.start(
        "t1", tmp_path / "disk", instance_id="one", key="k", command="sleep 600", environment=environment
    )
    try:
        runtime = ControlServerRuntime(FixedAddresses(run.address), key_of=lambda _: "k", seconds=PATIENT)
        assert isinstance(runtime.start(order(rig=None), effect_id="e1"), Started)
        run.evict()
        assert run.wait(seconds=PATIENCE_SECONDS) == 0
    finally:
        run.close()
    last_words = ["a1 generation 1: nothing to save", "evicted"]
    assert wait_for(lambda: run.said[-2:] == last_words, seconds=PATIENCE_SECONDS), run.said
    kinds = [event["event_type"] for key in world.inbox() for event in json.loads(_body(world, key))["events"]]
    assert [kind for kind in kinds if kind != "agent_heartbeat"] == ["container_eviction", "agent_completed"]


def _body(world: Any, key: str) -> bytes:
    stored = world.objects.get(key)
    assert stored is not None
    body: bytes = stored.body
    return body


def for_a_single_agent(tmp_path: Path, *, command: str) -> "subprocess.CompletedProcess[str]":
    """A task of its own, from its start to its end."""
    request = json.dumps(start_request(order(rig=None), model="m", small_model=None, environment={}))

    class Shelf:
        def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
            return {"statusCode": 200, "body": request}

    environment = {
        **os.environ,
        "PYTHONPATH": str(Path.cwd()),
        "TOWN_ID": "t1",
        "TOWN_AGENT_COMMAND": command,
        "TOWN_CONTROL_ROOT": str(tmp_path / "disk"),
        "TOWN_CONTROL_PORT": "0",
        "TOWN_AGENT_DATA": str(tmp_path / "towns"),
        "TOWN_START_KEY": "e1",
    }
    words = [sys.executable, "-m", "infra.agents.control_server"]
    with serving(Shelf()) as url:
        environment["TOWN_START_URL"] = f"{url}/secret"
        return subprocess.run(
            words, check=False, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS
        )


def test_as_a_process_for_a_single_agent_it_ends_with_the_agent(tmp_path: Path) -> None:
    """A task of its own fetches the start request, runs the agent and reports its end."""
    world = a_world(a_town(), objects=DirectoryObjects(tmp_path / "towns"))
    done = for_a_single_agent(tmp_path, command="true")
    assert (done.returncode, done.stderr) == (0, "")
    assert "secret" not in done.stdout
    assert json.loads((tmp_path / "disk/agents/t1/a1/00000001/exit.json").read_text()) == {"code": 0}
    kinds = {e["event_type"] for key in world.inbox() for e in json.loads(_body(world, key))["events"]}
    assert "agent_completed" in kinds


def test_as_a_process_for_an_agent_that_cannot_be_started_it_fails(tmp_path: Path) -> None:
    a_world(a_town(), objects=DirectoryObjects(tmp_path / "towns"))
    assert for_a_single_agent(tmp_path, command="/no/such/agent").returncode == 1
