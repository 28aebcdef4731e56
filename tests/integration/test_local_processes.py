"""Agents as local processes: real processes, real signals; what counts is the process table."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shared.adapters import local_generations, local_supervisor
from shared.adapters.clock import wait_for
from shared.adapters.local_processes import LocalProcessRuntime
from shared.domain.orders import ModelOrder, StartOrder, TokenOrder
from shared.domain.processes import ProcessStatus
from shared.domain.states import Role
from shared.ports.runtime import Done, NotDone, Started, StartRejected
from tests.patience import PATIENCE_SECONDS

SLEEPER = "import time; time.sleep(600)"


class Bench:
    """A runtime directory with everything a test wants to say about it."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def runtime(self, script: str = SLEEPER, **environment: str) -> LocalProcessRuntime:
        """A new adapter object on the same directory, as after a restart of townctl."""
        command = [sys.executable, "-I", "-S", "-c", textwrap.dedent(script)]
        return LocalProcessRuntime(self.root, command=command, environment=environment)

    def directory(self, agent_id: str = "a1", generation: int = 1) -> Path:
        """Where that generation keeps its files."""
        return self.root / "t1" / agent_id / f"{generation:08d}"

    def printed(self, agent_id: str = "a1", generation: int = 1) -> str:
        """What the agent printed, once it has printed a line."""
        log = self.directory(agent_id, generation) / local_supervisor.LOG
        assert wait_for(lambda: log.exists() and log.read_text().endswith("\n"), seconds=PATIENCE_SECONDS)
        return log.read_text().strip()

    def recorded(self, agent_id: str = "a1", generation: int = 1) -> dict[str, Any]:
        """The process record as it is stored."""
        facts: dict[str, Any] = json.loads((self.directory(agent_id, generation) / "process.json").read_text())
        return facts

    def processes(self, agent_id: str = "a1", generation: int = 1) -> set[int]:
        """Every process that belongs to that generation, its supervisor among them."""
        return set(
            local_supervisor.marked(str(self.directory(agent_id, generation) / "agent" / local_supervisor.CONTEXT))
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A directory of agents; none of them outlives the test."""
    bench = Bench(tmp_path / "runtime")
    yield bench
    assert bench.runtime().stop_all() == ()


def order(generation: int = 1, agent_id: str = "a1") -> StartOrder:
    """A start order as small as the runtime allows."""
    return StartOrder(town_id="t1", agent_id=agent_id, generation=generation, role=Role.POLECAT)


def ends_as(runtime: LocalProcessRuntime, expected: ProcessStatus) -> bool:
    """Whether the agent's status comes to be this one."""
    return wait_for(lambda: runtime.status("t1", "a1") == expected, seconds=PATIENCE_SECONDS)


def is_alive(pid: int) -> bool:
    """Whether a process of that number runs; the number is of a process that the test knows."""
    return local_supervisor.identity(pid) is not None


def test_an_agent_that_never_was_is_not_found(bench: Bench) -> None:
    """Nothing was started: not_found, and no file appears from asking."""
    assert bench.runtime().status("t1", "a1") == ProcessStatus("not_found")
    assert not bench.root.exists()


def test_an_agent_runs_with_its_order_and_a_small_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent finds its order where TOWN_AGENT_CONTEXT says, what it was given, and none of our secrets."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    script = """
        import json, os
        order = json.load(open(os.environ["TOWN_AGENT_CONTEXT"]))
        print(order["agent_id"], os.environ["GIVEN"], "AWS_SECRET_ACCESS_KEY" in os.environ, os.getcwd()[-4:])
    """
    runtime = bench.runtime(script, GIVEN="this")
    assert isinstance(runtime.start(order(), effect_id="e1"), Started)
    assert bench.printed() == "a1 this False work"
    assert ends_as(runtime, ProcessStatus("exited", "completed", 1))


def test_one_effect_id_is_one_process(bench: Bench) -> None:
    """The second start gives the first answer, from the same object and from a new one."""
    runtime = bench.runtime()
    first = runtime.start(order(), effect_id="e1")
    assert runtime.start(order(), effect_id="e1") == first
    assert bench.runtime().start(order(), effect_id="e1") == first
    assert (
        [agent.pid for agent in runtime.running()] == [int(first.process_id)] if isinstance(first, Started) else False
    )


def test_eight_starts_at_once_are_one_process(bench: Bench) -> None:
    """Eight adapter objects start the same effect at the same time: one process, eight equal answers."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        answers = set(pool.map(lambda _: bench.runtime().start(order(), effect_id="e1"), range(8)))
    assert len(answers) == 1
    assert isinstance(answers.pop(), Started)
    assert bench.processes() == {bench.recorded()["pid"], bench.recorded()["supervisor_pid"]}


def test_a_start_waits_for_everybody_who_looks(bench: Bench) -> None:
    """The lock of a start is exclusive: as long as anybody else holds the file, nothing is started."""
    lock = bench.root / "t1" / "a1" / "lock"
    lock.parent.mkdir(parents=True)
    with ThreadPoolExecutor() as pool, lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_SH)
        starting = pool.submit(bench.runtime().start, order(), effect_id="e1")
        assert not wait_for(starting.done, seconds=0.3)
        fcntl.flock(held, fcntl.LOCK_UN)
        assert isinstance(starting.result(timeout=PATIENCE_SECONDS), Started)


def test_eight_agents_start_at_once(bench: Bench) -> None:
    """Different agents do not wait for one another's processes, and none is lost."""
    runtime = bench.runtime()
    with ThreadPoolExecutor(max_workers=8) as pool:
        list(pool.map(lambda n: runtime.start(order(agent_id=f"a{n}"), effect_id=f"e{n}"), range(8)))
    assert {agent.agent_id for agent in runtime.running()} == {f"a{n}" for n in range(8)}


def test_a_restarted_townctl_finds_and_stops_its_agent(bench: Bench) -> None:
    """A new adapter object on the same directory sees the process run, and ends it."""
    bench.runtime().start(order(), effect_id="e1")
    after_restart = bench.runtime()
    assert after_restart.status("t1", "a1") == ProcessStatus("running", generation=1)
    assert after_restart.stop("t1", "a1", generation=1, effect_id="s1") == Done()
    assert after_restart.status("t1", "a1") == ProcessStatus("exited", "stopped", 1)


def test_an_exit_code_is_known_after_a_restart(bench: Bench) -> None:
    """The supervisor keeps the code, whoever asks later."""
    bench.runtime("import os; os._exit(3)").start(order(), effect_id="e1")
    assert ends_as(bench.runtime(), ProcessStatus("exited", "crashed (exit code 3)", 1))


def test_a_killed_agent_is_told_from_a_crashed_one(bench: Bench) -> None:
    """A signal from elsewhere shows as that signal."""
    runtime = bench.runtime()
    runtime.start(order(), effect_id="e1")
    os.kill(bench.recorded()["pid"], signal.SIGKILL)
    assert ends_as(runtime, ProcessStatus("exited", "killed by signal 9", 1))


def test_an_agents_own_words_about_its_end_count(bench: Bench) -> None:
    """An agent that writes exit-reason.txt beside its order is quoted."""
    script = """
        import os, pathlib
        context = pathlib.Path(os.environ["TOWN_AGENT_CONTEXT"])
        context.with_name("exit-reason.txt").write_text("container eviction")
    """
    runtime = bench.runtime(script)
    runtime.start(order(), effect_id="e1")
    assert ends_as(runtime, ProcessStatus("exited", "container eviction", 1))


STUBBORN_FAMILY = """
    import os, signal, subprocess, sys, time
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleeper = [sys.executable, "-I", "-S", "-c", "import signal, time; signal.signal(15, 1); time.sleep(600)"]
    child = subprocess.Popen(sleeper)
    stray = subprocess.Popen(sleeper, start_new_session=True)
    print(child.pid, stray.pid, flush=True)
    {then}
"""


def test_stop_leaves_no_descendant(bench: Bench) -> None:
    """An agent that ignores TERM, with a child in its group and one in a session of its own: all are gone."""
    runtime = bench.runtime(STUBBORN_FAMILY.format(then="time.sleep(600)"))
    runtime.start(order(), effect_id="e1")
    family = [bench.recorded()["pid"], *map(int, bench.printed().split())]
    supervisor = bench.recorded()["supervisor_pid"]
    assert all(is_alive(pid) for pid in family)
    assert runtime.stop("t1", "a1", generation=1, effect_id="s1") == Done()
    assert not any(is_alive(pid) for pid in [*family, supervisor])


@pytest.mark.parametrize("supervisor", ["lives", "was killed"])
def test_stop_ends_a_child_without_environment(bench: Bench, supervisor: str) -> None:
    """A child that wiped its environment, and with it our mark, is still known by the agent's session."""
    script = """
        import subprocess, time
        print(subprocess.Popen(["/bin/sleep", "600"], env={}, process_group=0).pid, flush=True)
        time.sleep(600)
    """
    runtime = bench.runtime(script)
    runtime.start(order(), effect_id="e1")
    child = int(bench.printed())
    if supervisor == "was killed":
        os.kill(bench.recorded()["supervisor_pid"], signal.SIGKILL)
    assert runtime.stop("t1", "a1", generation=1, effect_id="s1") == Done()
    assert wait_for(lambda: not is_alive(child), seconds=PATIENCE_SECONDS)


def test_an_agent_may_say_goodbye(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """TERM comes first: an agent that listens ends in its own way."""
    monkeypatch.setattr(local_generations, "TERM_GRACE_SECONDS", PATIENCE_SECONDS)
    monkeypatch.setattr(local_generations, "_EXIT_CODE_SECONDS", PATIENCE_SECONDS)
    script = """
        import os, pathlib, signal, sys, time
        place = pathlib.Path(os.environ["TOWN_AGENT_CONTEXT"]).with_name("exit-reason.txt")
        signal.signal(signal.SIGTERM, lambda *_: (place.write_text("saved my work"), sys.exit(0)))
        print("listening", flush=True)
        time.sleep(600)
    """
    runtime = bench.runtime(script)
    runtime.start(order(), effect_id="e1")
    bench.printed()
    assert runtime.stop("t1", "a1", generation=1, effect_id="s1") == Done()
    assert runtime.status("t1", "a1") == ProcessStatus("exited", "saved my work", 1)


def test_a_stop_waits_for_no_stuck_supervisor(bench: Bench) -> None:
    """A supervisor that does nothing any more is ended too, and the end is noted in its place."""
    runtime = bench.runtime()
    runtime.start(order(), effect_id="e1")
    os.kill(bench.recorded()["supervisor_pid"], signal.SIGSTOP)
    assert runtime.stop("t1", "a1", generation=1, effect_id="s1") == Done()
    assert wait_for(lambda: bench.processes() == set(), seconds=PATIENCE_SECONDS)
    assert runtime.status("t1", "a1") == ProcessStatus("exited", "stopped", 1)


def test_an_agent_that_ends_by_itself_leaves_no_descendant(bench: Bench) -> None:
    """The supervisor kills what an ended agent left running, before it says that the agent has exited."""
    runtime = bench.runtime(STUBBORN_FAMILY.format(then="os._exit(0)"))
    runtime.start(order(), effect_id="e1")
    left = [int(pid) for pid in bench.printed().split()]
    assert wait_for((bench.directory() / "exit.json").exists, seconds=PATIENCE_SECONDS)
    assert not any(is_alive(pid) for pid in left)
    assert runtime.status("t1", "a1") == ProcessStatus("exited", "completed", 1)


def test_an_agent_that_prints_for_ever_keeps_its_newest_words_and_fills_no_disk(bench: Bench) -> None:
    """A log had no limit: one agent in a loop took the disk from every agent of its container."""
    runtime = bench.runtime(
        """
        import sys, time
        for number in range(12):
            print("x" * (1 << 20), flush=True)
        print("the last words", flush=True)
        time.sleep(600)
        """
    )
    runtime.start(order(), effect_id="e1")
    log = bench.directory() / local_supervisor.LOG
    cut = b"the log grew too long"
    assert wait_for(lambda: log.exists() and cut in log.read_bytes(), seconds=PATIENCE_SECONDS)
    assert wait_for(lambda: log.read_bytes().endswith(b"the last words\n"), seconds=PATIENCE_SECONDS)
    assert log.stat().st_size < local_supervisor.LARGEST_LOG


def test_an_agent_outlives_its_supervisor_and_can_still_be_stopped(bench: Bench) -> None:
    """Without supervisor the agent works on and is found; only its exit code is lost."""
    runtime = bench.runtime(STUBBORN_FAMILY.format(then="time.sleep(600)"))
    runtime.start(order(), effect_id="e1")
    family = [bench.recorded()["pid"], *map(int, bench.printed().split())]
    os.kill(bench.recorded()["supervisor_pid"], signal.SIGKILL)
    assert wait_for(lambda: not is_alive(bench.recorded()["supervisor_pid"]), seconds=PATIENCE_SECONDS)
    assert bench.runtime().status("t1", "a1") == ProcessStatus("running", generation=1)
    os.kill(family[0], signal.SIGKILL)
    expected = "ended without an exit code (its supervisor or this machine was stopped)"
    assert ends_as(runtime, ProcessStatus("exited", expected, 1))
    assert len(runtime.running()) == 1
    assert runtime.stop("t1", "a1", generation=1, effect_id="s1") == Done()
    assert not any(is_alive(pid) for pid in family)


def test_a_newer_generation_supersedes(bench: Bench) -> None:
    """What is left of generation 1 is gone when generation 2 runs."""
    runtime = bench.runtime()
    runtime.start(order(1), effect_id="e1")
    runtime.start(order(2), effect_id="e2")
    assert [agent.generation for agent in runtime.running()] == [2]
    assert runtime.status("t1", "a1") == ProcessStatus("running", generation=2)


def test_a_stop_of_an_older_generation_touches_nothing(bench: Bench) -> None:
    """Generation 1 is stopped while 2 runs: done, and 2 runs on."""
    runtime = bench.runtime()
    runtime.start(order(1), effect_id="e1")
    runtime.start(order(2), effect_id="e2")
    assert runtime.stop("t1", "a1", generation=1, effect_id="s1") == Done()
    assert runtime.status("t1", "a1") == ProcessStatus("running", generation=2)


def test_a_late_start_of_an_older_generation_is_refused(bench: Bench) -> None:
    """An order that was overtaken starts nothing and ends nothing."""
    runtime = bench.runtime()
    runtime.start(order(2), effect_id="e2")
    answer = runtime.start(order(1), effect_id="e1")
    assert answer == StartRejected("superseded: generation 2 of this agent was started before")
    assert [agent.generation for agent in runtime.running()] == [2]


def test_a_generation_stopped_before_its_start_never_starts(bench: Bench) -> None:
    """A stop overtakes the start order: the start is refused, so nothing runs that nobody wants."""
    runtime = bench.runtime()
    assert runtime.stop("t1", "a1", generation=1, effect_id="s1") == Done()
    assert runtime.start(order(1), effect_id="e1") == StartRejected("this generation was stopped before it was started")
    assert runtime.running() == ()


def test_a_missing_command_is_refused_with_its_name(bench: Bench) -> None:
    """The answer names the command and what to do; the same start again gives the same answer."""
    runtime = LocalProcessRuntime(bench.root, command=["/nowhere/agent"])
    first = runtime.start(order(), effect_id="e1")
    assert isinstance(first, StartRejected)
    assert first.reason.startswith("cannot run '/nowhere/agent': No such file or directory; set the runtime's command")
    assert bench.runtime().start(order(), effect_id="e1") == first
    assert bench.runtime().status("t1", "a1").status == "not_found"


def test_an_unusable_directory_is_refused(tmp_path: Path) -> None:
    """A file where the directory should be: rejected with the path, not raised."""
    (tmp_path / "runtime").write_text("")
    runtime = LocalProcessRuntime(tmp_path / "runtime", command=["true"])
    answer = runtime.start(order(), effect_id="e1")
    assert isinstance(answer, StartRejected)
    assert str(tmp_path) in answer.reason
    assert isinstance(runtime.stop("t1", "a1", generation=1, effect_id="s1"), NotDone)


def test_unreadable_files_are_an_unknown_status(bench: Bench) -> None:
    """A directory where the record should be: nobody knows, and nothing is raised."""
    (bench.directory() / "process.json").mkdir(parents=True)
    assert bench.runtime().status("t1", "a1").status == "unknown"


def test_a_start_under_way_shows_as_starting(bench: Bench) -> None:
    """The order is there, its process is not yet, and somebody holds the agent's lock; without him it is not found."""
    bench.directory().mkdir(parents=True)
    with (bench.root / "t1" / "a1" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert bench.runtime().status("t1", "a1") == ProcessStatus("starting", generation=1)
    assert bench.runtime().status("t1", "a1") == ProcessStatus("not_found", generation=1)


def test_a_recycled_pid_is_never_taken_for_the_agent(bench: Bench) -> None:
    """The record names the pid of a stranger with another start time: exited, and stop leaves the stranger alone."""
    runtime = bench.runtime("import os; os._exit(0)")
    runtime.start(order(), effect_id="e1")
    assert ends_as(runtime, ProcessStatus("exited", "completed", 1))
    assert wait_for(lambda: not is_alive(bench.recorded()["supervisor_pid"]), seconds=PATIENCE_SECONDS)
    (bench.directory() / "exit.json").unlink()
    stranger = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        forged = bench.recorded() | {"pid": stranger.pid, "supervisor_pid": stranger.pid}
        (bench.directory() / "process.json").write_text(json.dumps(forged))
        assert runtime.status("t1", "a1").status == "exited"
        assert runtime.running() == ()
        assert runtime.stop("t1", "a1", generation=1, effect_id="s1") == Done()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_townctl_killed_while_starting_leaves_a_record(bench: Bench) -> None:
    """The process that starts an agent is killed at once after: the next one finds the agent and starts no second."""
    starter = f"""
import os, sys
sys.path.insert(0, {str(Path.cwd())!r})
from pathlib import Path
from shared.adapters.local_processes import LocalProcessRuntime
import shared.adapters.local_processes as module
module.wait_for = lambda holds, *, seconds, every=0.01: holds() or os._exit(9)
LocalProcessRuntime(Path({str(bench.root)!r}), command=["sleep", "600"]).start({order()!r}, effect_id="e1")
"""
    subprocess.run([sys.executable, "-c", starter], check=False)
    runtime = LocalProcessRuntime(bench.root, command=["sleep", "600"])
    assert isinstance(runtime.start(order(), effect_id="e1"), Started)
    assert bench.processes() == {bench.recorded()["pid"], bench.recorded()["supervisor_pid"]}


def test_a_message_is_delivered_once(bench: Bench) -> None:
    """One file for each message id, in the mailbox of the running generation; a known id is done, also for the next
    one.
    """
    runtime = bench.runtime()
    runtime.start(order(1), effect_id="e1")
    assert runtime.message("t1", "a1", message_id="m/1", text="wake \x1b\u202eup", mode="immediate") == Done()
    assert runtime.message("t1", "a1", message_id="m/1", text="wake up", mode="immediate") == Done()
    assert [json.loads(file.read_text()) for file in (bench.directory() / "messages").glob("*.json")] == [
        {"message_id": "m/1", "text": "wake up", "mode": "immediate"}
    ]
    runtime.start(order(2), effect_id="e2")
    assert bench.runtime().message("t1", "a1", message_id="m/1", text="wake up", mode="immediate") == Done()
    assert not (bench.directory(generation=2) / "messages").exists()


def test_a_message_with_which_an_agent_was_started_has_been_delivered(bench: Bench) -> None:
    runtime = bench.runtime()
    assert runtime.message("t1", "a1", message_id="mail-m", text="hi", mode="queue") != Done()
    runtime.start(replace(order(1), message="hi", message_id="mail-m"), effect_id="e1")
    assert runtime.message("t1", "a1", message_id="mail-m", text="hi", mode="queue") == Done()
    assert not (bench.directory() / "messages").exists()
    assert runtime.message("t1", "a1", message_id="mail-n", text="ho", mode="queue") == Done()


def test_a_message_to_an_agent_that_does_not_run_may_be_tried_again(bench: Bench) -> None:
    """Not delivered, passing: the agent may run later."""
    runtime = bench.runtime()
    assert runtime.message("t1", "a1", message_id="m1", text="hi", mode="queue") == NotDone(
        "the agent is not running", passing=True
    )


def test_a_new_model_lies_where_the_agent_looks(bench: Bench) -> None:
    """The order is stored as it came; without an agent it is done all the same."""
    runtime = bench.runtime()
    new = ModelOrder(town_id="t1", agent_id="a1", model="large")
    assert runtime.update_model(new, effect_id="u0") == Done()
    runtime.start(order(), effect_id="e1")
    assert runtime.update_model(new, effect_id="u1") == Done()
    assert json.loads((bench.root / "t1" / "a1" / "model.json").read_text())["model"] == "large"


def test_local_agents_have_no_container(bench: Bench) -> None:
    """No container, no token: done, and `none`."""
    runtime = bench.runtime()
    assert runtime.container_state("t1") == "none"
    assert runtime.stop_container("t1", effect_id="c1") == Done()
    assert runtime.refresh_token(TokenOrder(town_id="t1"), effect_id="r1") == Done()


def test_stop_all_of_one_town_leaves_the_others(bench: Bench) -> None:
    """Ids that look like paths stay what they are: ids."""
    runtime = bench.runtime()
    runtime.start(order(), effect_id="e1")
    runtime.start(replace(order(), town_id="../t2", agent_id=".."), effect_id="e2")
    assert {agent.town_id for agent in runtime.running()} == {"t1", "../t2"}
    assert runtime.stop_all("../t2") == ()
    assert [agent.town_id for agent in runtime.running()] == ["t1"]
    assert [path.name for path in bench.root.parent.iterdir()] == ["runtime"]


def test_old_generations_are_forgotten(bench: Bench) -> None:
    """The newest ten ended generations keep their files; the directory does not grow for ever."""
    runtime = bench.runtime("pass")
    for generation in range(1, 14):
        runtime.start(order(generation), effect_id=f"e{generation}")
    kept = sorted(int(path.name) for path in (bench.root / "t1" / "a1").iterdir() if path.name.isdigit())
    assert kept == list(range(3, 14))
