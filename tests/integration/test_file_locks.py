"""Locks of files: who waits for one is told who holds it, and nobody waits for ever."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from shared.adapters import file_locks
from shared.adapters.clock import Budget
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.local_locks import Busy, locked
from shared.adapters.local_state import AgentHome
from shared.adapters.local_users import AgentUsers
from shared.domain.errors import StoreUnavailable
from tests.conventions.sources import ROOT

STOPS_IN_MID_WRITE = """
import os, pathlib, signal, sys
from shared.adapters import directory_files
from shared.adapters.directory_objects import DirectoryObjects
objects = DirectoryObjects(pathlib.Path(sys.argv[1]))
objects.put("towns/alpha/first", b"1")
directory_files.to_disk = lambda _: os.kill(os.getpid(), signal.SIGSTOP)
objects.put(sys.argv[2], b"2")
"""
"""A writer that is stopped while it holds the lock of one key, as by SIGSTOP from outside."""

STOPS_WITH_EVERY_LOCK = """
import contextlib, os, pathlib, signal, sys
from shared.adapters import file_locks
with contextlib.ExitStack() as locks:
    for number in range(64):
        locks.enter_context(file_locks.held(pathlib.Path(sys.argv[1], ".locks", f"{number:02}")))
    os.kill(os.getpid(), signal.SIGSTOP)
"""

HOLDS_FOR_A_MOMENT = """
import pathlib, sys, time
from shared.adapters import file_locks
with file_locks.held(pathlib.Path(sys.argv[1])):
    print(flush=True)
    time.sleep(0.3)
"""


def a_stopped_writer(data: Path, key: str) -> AbstractContextManager[int]:
    """The id of a process that holds the lock of this key and was stopped; killed in the end."""
    return a_stopped_program(STOPS_IN_MID_WRITE, str(data), key)


@contextmanager
def a_stopped_program(program: str, *arguments: str) -> Iterator[int]:
    """The id of a process that stopped itself; killed in the end."""
    with subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=ROOT) as writer:
        try:
            os.waitpid(writer.pid, os.WUNTRACED)
            yield writer.pid
        finally:
            writer.kill()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits end after a fraction of a second, so that the tests do not wait."""
    monkeypatch.setattr(file_locks, "LIMIT_SECONDS", 0.2)
    monkeypatch.setattr(file_locks, "TELL_AFTER_SECONDS", 0.05)


@pytest.mark.usefixtures("impatient")
def test_a_writer_that_waits_for_a_stopped_one_names_it_and_gives_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seen: a stopped writer held the directory's lock, and the others printed nothing for ever."""
    objects = DirectoryObjects(tmp_path)
    with a_stopped_writer(tmp_path, "due/20260110T120000Z/alpha") as pid:
        with pytest.raises(StoreUnavailable) as raised:
            objects.put("due/20260110T120000Z/alpha", b"")
        said = capsys.readouterr().err
    assert re.search(rf"held by process {pid} \(.+\) since \d{{4}}-.*Z, which is stopped", said)
    assert f"process {pid} " in raised.value.message
    assert "which is stopped" in raised.value.message
    assert f"kill -CONT {pid}" in raised.value.hint
    assert objects.put("due/20260110T120000Z/alpha", b""), "the lock ended with its process"


@pytest.mark.usefixtures("impatient")
def test_every_call_that_takes_a_lock_of_the_directory_gives_up(tmp_path: Path) -> None:
    objects = DirectoryObjects(tmp_path)
    etag = objects.create("towns/alpha/head", b"one")
    with a_stopped_writer(tmp_path, "towns/alpha/head"):
        for call in (
            lambda: objects.replace("towns/alpha/head", b"two", etag),
            lambda: objects.put("towns/alpha/head", b"two"),
            lambda: objects.delete("towns/alpha/head"),
            lambda: objects.delete_version("towns/alpha/head", "1-x"),
        ):
            with pytest.raises(StoreUnavailable, match="held by process"):
                call()


@pytest.mark.usefixtures("impatient")
def test_a_loop_that_waits_again_and_again_says_it_once_for_each_holder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = DirectoryObjects(tmp_path)
    with a_stopped_writer(tmp_path, "due/x"):
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                objects.put("due/x", b"")
    assert capsys.readouterr().err.count("waiting for the lock") == 1


@pytest.mark.usefixtures("impatient")
def test_a_lock_whose_note_cannot_be_read_is_waited_for_no_longer(tmp_path: Path) -> None:
    """A holder of an older release leaves no note, and a full disk takes none."""
    place = tmp_path / "lock"
    for note in (b"", b"\xff{", b"x\np\nh\ns\n", b"1\n\x1b[2J\nh\ns\n"):
        with file_locks.held(place):
            place.write_bytes(note)
            with pytest.raises(file_locks.LockHeld) as raised, file_locks.held(place):
                pass
        assert "\x1b" not in str(raised.value)
        assert raised.value.hint


@pytest.mark.usefixtures("impatient")
def test_the_lock_of_an_agent_names_its_holder(tmp_path: Path) -> None:
    home = AgentHome(tmp_path / "alpha" / "toast")
    with (
        locked(home, Budget(1)),
        pytest.raises(Busy, match=rf"another start or stop .* process {os.getpid()} \("),
        locked(home, Budget(1)),
    ):
        pass


@pytest.mark.usefixtures("impatient")
def test_the_register_of_users_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    users = AgentUsers(range(70_000, 70_002), tmp_path / "users")
    (tmp_path / "users").mkdir()
    with file_locks.held(tmp_path / "users" / "lock"), pytest.raises(Busy, match="held by process"):
        users.user_of(AgentHome(tmp_path / "alpha" / "toast"))


def test_a_waiter_gets_a_lock_that_is_released_in_time(tmp_path: Path) -> None:
    place = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDS_FOR_A_MOMENT, str(place)], cwd=ROOT, stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with file_locks.held(place, seconds=60):
            noted = file_locks.holder_of(place)
    assert noted is not None
    assert noted.pid == os.getpid()


def test_a_note_tells_no_arguments_of_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/townctl", "run", "--agent-env", "TOKEN=secret"])
    with file_locks.held(tmp_path / "lock"):
        assert "townctl run" in (tmp_path / "lock").read_text()
        assert "secret" not in (tmp_path / "lock").read_text()
    monkeypatch.setattr(sys, "argv", ["/srv/infra/townctl/main.py", "secret=1"])
    with file_locks.held(tmp_path / "lock"):
        assert "\ntownctl\n" in (tmp_path / "lock").read_text()


@pytest.mark.slow
def test_a_command_beside_a_stopped_writer_names_it_within_seconds(tmp_path: Path) -> None:
    data = tmp_path / "data"
    townctl = [sys.executable, "-m", "infra.townctl.main", "--data", str(data)]
    subprocess.run([*townctl, "town", "create", "alpha"], cwd=ROOT, check=True, capture_output=True)
    with a_stopped_program(STOPS_WITH_EVERY_LOCK, str(data)) as pid:
        done = subprocess.run(
            [*townctl, "town", "create", "beta"], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert done.returncode != 0
    assert "waiting for the lock" in done.stderr
    assert f"process {pid} " in done.stderr
    assert f"kill -CONT {pid}" in done.stderr
