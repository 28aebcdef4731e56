"""The wall between a generation and what comes after it (W5): what an agent leaves behind is gone, and hinders nobody."""

import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.agents.control_server.requests import StartAgentRequest, wrong_address
from shared.adapters import local_supervisor as supervisor
from shared.adapters.local_generations import forget_old
from shared.adapters.local_removal import remove
from shared.adapters.local_state import AgentHome
from shared.intake import ingest
from tests.walled_agents import OWN_USERS, Walled, own_users, walled

only_root = pytest.mark.skipif(not OWN_USERS, reason="only root can run agents as other users")
HOPS = """
    use POSIX; $SIG{TERM} = $SIG{CHLD} = "IGNORE"; setpgid(0, 0);
    while (time - $^T < 60) { if (fork) { POSIX::_exit(0) } kill 9, -1 }
"""
"""A process that is replaced by its child all the time, which kills everything else of its user, also whoever comes to kill it.
It ends after a minute by itself, so that a test that is killed leaves nothing that uses up the machine.
"""


@pytest.fixture
def town() -> Iterator[Walled]:
    with walled(users=own_users()) as found:
        yield found


def processes_of(user: int) -> set[int]:
    """The processes of a user, also those that have ended and that nobody has waited for yet."""
    found: set[int] = set()
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            with suppress(OSError):
                if path.stat().st_uid == user:
                    found.add(int(path.name))
    return found


def born_within(seconds: float, user: int) -> bool:
    """Whether a user's process is born within a time. One that replaces itself all the time is hardly ever seen alive: only the
    numbers that it uses up show that it lives.
    """
    before = processes_of(user)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if processes_of(user) - before:
            return True
    return False


@only_root
@pytest.mark.skipif(shutil.which("perl") is None, reason="needs perl")
def test_a_process_that_is_in_no_list_and_kills_its_killer_ends() -> None:
    user = own_users()[0]
    subprocess.Popen(["perl", "-e", HOPS], start_new_session=True, cwd="/", **supervisor.as_user(user)).wait()
    assert born_within(10, user)
    assert supervisor.end_user(user)
    assert not born_within(0.3, user)


@only_root
def test_a_killer_that_did_not_kill_is_not_believed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    killed = tmp_path / "killed.py"
    killed.write_text("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    monkeypatch.setattr(supervisor, "_USER_END", killed)
    assert not supervisor.end_user(own_users()[0], seconds=0.05)


@only_root
@pytest.mark.skipif(shutil.which("ipcmk") is None, reason="needs ipcmk")
def test_shared_memory_and_queues_of_an_agent_end_with_its_generation(town: Walled) -> None:
    """They belong to the user: they would stay in memory, and be the next agent's who has the number."""
    town.runs(rig=False)
    user = town.user()
    assert "id:" in town.does("ipcmk --shmem 4096; ipcmk --queue; ipcmk --semaphore 3")
    tables = [Path("/proc/sysvipc") / name for name in ("shm", "msg", "sem")]
    assert all(str(user) in table.read_text().split() for table in tables)
    town.server.runtime.stop("t1", "a1", generation=1, effect_id="s")
    assert not any(str(user) in table.read_text().split() for table in tables)


FILTERS = """
cat > "$HOME/x" << END
#!/bin/sh
grep NoNewPrivs /proc/self/status > "$HOME/rights"
(setsid sleep 600 > /dev/null 2>&1 < /dev/null &)
exit {code}
END
chmod 755 "$HOME/x"; echo '* filter=x' > "$HOME/attributes"
git config --global core.attributesFile "$HOME/attributes"; git config --global filter.x.smudge "$HOME/x"
git config --global filter.x.required true
"""
"""Makes the git that prepares the next start run a program, which leaves a process."""


@only_root
@pytest.mark.parametrize("code", [1, 0], ids=["the start fails", "the start succeeds"])
def test_what_git_ran_for_a_start_does_not_live_on(town: Walled, code: int) -> None:
    town.runs()
    town.does(FILTERS.replace("{code}", str(code)))
    user = town.user()
    town.server.runtime.stop("t1", "a1", generation=1, effect_id="s")
    status, _ = town.starts(generation=2)
    assert (town.home() / "home" / "rights").exists()  # it ran
    assert status == (409 if code else 200)
    names = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in supervisor.of_user(user)]
    assert not [name for name in names if b"600" in name]


@only_root
def test_a_link_to_somebody_elses_file_is_not_read_for_an_agent(town: Walled) -> None:
    """The kernel need not protect hard links. The server would repeat the first kilobyte as the reason of an end."""
    town.runs("a1", rig=False).runs("a2", token="token-of-a2", rig=False)
    files = town.server.runtime.newest("t1", "a1")
    os.link(town.root / "tokens" / "a2.1", files.desk / "exit-reason.txt")
    assert files.written_by_agent("exit-reason.txt", most=100) == ""


@pytest.mark.parametrize("words", [b"a\0b", b"\x1b[31mred\x07", b"\xed\xa0\x80", "\u202etxet".encode()])
def test_the_last_words_of_an_agent_can_be_reported(tmp_path: Path, words: bytes) -> None:
    """The town takes no U+0000, so such an end would be refused for good; and escape sequences reach a person's terminal."""
    generation = AgentHome(tmp_path).generation(1)
    generation.desk.mkdir(parents=True)
    (generation.desk / "exit-reason.txt").write_bytes(words)
    supervisor.write_atomically(generation.directory / supervisor.EXIT, {"code": 0})
    said = generation.exit_reason()
    assert said is not None
    assert said.replace("\n", "").isprintable()
    payload = {"status": "exited", "exit_reason": said, "generation": 1}
    event = {"event_id": "end:1:agent", "event_type": "container_status", "agent_id": "a1", "payload": payload}
    ingest.accept(
        json.dumps([{**event, "occurred_at": "2026-01-01T00:00:00.000Z"}]).encode(),
        received_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def test_no_depth_of_directories_keeps_an_agent_from_its_next_start(tmp_path: Path) -> None:
    """`shutil.rmtree` needs an open file for each level: the agent could never be started again."""
    inside, before = tmp_path / "tree", resource.getrlimit(resource.RLIMIT_NOFILE)
    here = os.open(".", os.O_RDONLY)
    inside.mkdir()
    os.chdir(inside)
    try:
        for _ in range(300):
            Path("d").mkdir()
            Path("file").touch()
            os.chdir("d")
        os.fchdir(here)
        opened = max(int(path.name) for path in Path("/dev/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened + 20, before[1]))
        remove(inside)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        os.fchdir(here)
        os.close(here)
    assert not inside.exists()


def test_whatever_an_agent_leaves_is_removed_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").touch()
    tree = tmp_path / "tree"
    (tree / "closed" / "inner").mkdir(parents=True)
    (tree / "closed" / "inner" / "file").touch()
    (tree / "many").mkdir()
    for number in range(1100):
        (tree / "many" / str(number)).touch()
    (tree / "link").symlink_to(kept)
    (tree / "gone").symlink_to("nowhere")
    os.mkfifo(tree / "pipe")
    (tree / "closed" / "inner").chmod(0)
    (tree / "closed").chmod(0o500)
    remove(tree)
    remove(tree)
    (tmp_path / "link").symlink_to(kept)
    remove(tmp_path / "link")
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "file"]


def test_old_generations_are_forgotten_whatever_stands_beside_them(tmp_path: Path) -> None:
    """A name of other digits is no number of a generation."""
    home = AgentHome(tmp_path)
    for number in range(1, 14):
        (home.generation(number).directory / "agent").mkdir(parents=True)
    (tmp_path / "\u00b2").mkdir()
    forget_old(home)
    assert [each.number for each in home.generations()] == list(range(13, 2, -1))


@pytest.mark.parametrize("address", ["https://user:word@git.example.com/a/b", "https://word@git.example.com/a/b"])
def test_an_address_with_a_credential_is_refused(address: str) -> None:
    """Git would keep it in the cache and show it in the list of processes, which all agents can read."""
    assert wrong_address(address, local=False) is not None
    assert wrong_address("ssh://git@git.example.com/a/b", local=False) is None


@pytest.mark.parametrize("number", [" 5", "1_0", "\u0665", "9" * 19, "9" * 5000, "1e3", "", "+1"])
def test_a_generation_is_a_number_that_reads_the_same_to_everybody(number: str) -> None:
    """Names of files and fences are made of it: `int` reads blanks, underscores and foreign digits, too."""
    given = {
        "agentId": "a1",
        "rigId": "r1",
        "townId": "t1",
        "role": "polecat",
        "name": "n",
        "identity": "i",
        "prompt": "p",
    }
    given |= {"model": "m", "gitUrl": "", "branch": "b", "defaultBranch": "main"}
    request = StartAgentRequest.model_validate(given | {"envVars": {"TOWN_AGENT_GENERATION": number}})
    with pytest.raises(ValueError, match="whole number"):
        request.generation(otherwise=1)
