"""Towns in a directory: a writer that is killed, a full disk, left-over files, and what is never read."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from shared.adapters.directory_objects import DirectoryObjects
from shared.domain.errors import AccessDenied, PreconditionFailed, Refused, StoreUnavailable

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def objects(root: Path) -> DirectoryObjects:
    return DirectoryObjects(root)


@pytest.mark.slow
def test_a_writer_killed_in_mid_write_leaves_only_whole_objects(root: Path) -> None:
    program = (
        "import itertools, sys, pathlib\n"
        "from shared.adapters.directory_objects import DirectoryObjects\n"
        "objects = DirectoryObjects(pathlib.Path(sys.argv[1]))\n"
        "for number in itertools.count():\n"
        "    objects.put('a/same', bytes([number % 256]) * 3_000_000)\n"
        "    objects.create(f'b/{number:09}', bytes([number % 256]) * 300_000)\n"
        "    print(number, flush=True)\n"
    )
    for _ in range(3):
        with suppress(FileNotFoundError):
            for path in (root / "b").iterdir():
                path.unlink()
        with subprocess.Popen(
            [sys.executable, "-c", program, str(root)], cwd=REPOSITORY, stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            for _ in range(5):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
        objects = DirectoryObjects(root)
        keys = objects.list("").keys
        assert len(keys) >= 5
        for key in keys:
            found = objects.get(key)
            assert found is not None
            assert found.body == found.body[:1] * (3_000_000 if key == "a/same" else 300_000)


def test_two_stores_on_one_directory_agree_on_etags(root: Path) -> None:
    one, other = DirectoryObjects(root), DirectoryObjects(root)
    first = one.create("towns/demo/head", b"one")
    second = other.replace("towns/demo/head", b"two", first)
    with pytest.raises(PreconditionFailed):
        one.replace("towns/demo/head", b"three", first)
    assert one.get_if_changed("towns/demo/head", second) == "unchanged"


def test_a_directory_may_be_copied_without_our_hidden_files(root: Path, objects: DirectoryObjects) -> None:
    (root / "towns" / "demo").mkdir(parents=True)
    (root / "towns" / "demo" / "head").write_bytes(b"copied")
    found = objects.get("towns/demo/head")
    assert found is not None
    objects.replace("towns/demo/head", b"next", found.etag)
    objects.delete("towns/demo/head")
    assert objects.list("").keys == ()


def test_reading_a_directory_that_is_not_there_makes_none(root: Path, objects: DirectoryObjects) -> None:
    assert objects.get("towns/demo/head") is None
    assert objects.list("").keys == ()
    objects.delete("due/20260110T120000Z/demo")
    assert not root.exists()


def test_left_over_temporary_files_are_never_listed_and_removed_after_an_hour(root: Path) -> None:
    DirectoryObjects(root).put("due/x", b"")
    old, fresh = root / ".writing" / "old", root / ".writing" / "fresh"
    for path in (old, fresh):
        path.write_bytes(b"half an ob")
    now = fresh.stat().st_mtime
    os.utime(old, (now - 3700, now - 3700))
    objects = DirectoryObjects(root)
    assert objects.list("").keys == ("due/x",)
    objects.put("due/y", b"")
    assert sorted((root / ".writing").iterdir()) == [fresh]


@pytest.mark.parametrize(
    "key",
    ["../outside", "a/../../outside", "/etc/passwd", "a//b", "", ".writing/x", "a/.locks", "a/.", "a\x00b", "a/"],
)
def test_a_key_never_reaches_outside_the_directory_or_our_own_files(objects: DirectoryObjects, key: str) -> None:
    for attempt in (
        lambda: objects.get(key),
        lambda: objects.get_if_changed(key, "x"),
        lambda: objects.create(key, b""),
        lambda: objects.replace(key, b"", "x"),
        lambda: objects.put(key, b""),
        lambda: objects.delete(key),
    ):
        with pytest.raises(Refused):
            attempt()


def test_a_full_disk_is_said_to_be_one_and_loses_nothing(
    root: Path, objects: DirectoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = objects.create("towns/demo/head", b"one")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        patch.setattr(os, "fdatasync", full, raising=False)  # macOS has none
        attempts: tuple[Callable[[], object], ...] = (
            lambda: objects.replace("towns/demo/head", b"two", etag),
            lambda: objects.create("towns/other/head", b"two"),
            lambda: objects.put("towns/demo/head", b"two"),
        )
        for attempt in attempts:
            with pytest.raises(StoreUnavailable) as failed:
                attempt()
            assert failed.value.hint == f"the disk is full: free space under {root}; nothing was lost"
    found = objects.get("towns/demo/head")
    assert found is not None
    assert (found.body, found.etag) == (b"one", etag)
    assert objects.list("").keys == ("towns/demo/head",)
    assert list((root / ".writing").iterdir()) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_missing_rights_are_told_from_a_passing_failure(
    root: Path, objects: DirectoryObjects, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("shared.adapters.directory_files.FileIO", forbidden)
    monkeypatch.setattr(os, "open", forbidden)
    with pytest.raises(AccessDenied, match="get towns/demo/head") as refused:
        objects.get("towns/demo/head")
    assert str(root) in refused.value.hint
    with pytest.raises(AccessDenied, match="put towns/demo/head"):
        objects.put("towns/demo/head", b"")


def test_a_broken_disk_is_a_failure_that_may_pass(objects: DirectoryObjects, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("shared.adapters.directory_files.FileIO", broken)
    with pytest.raises(StoreUnavailable, match=r"get towns/demo/head in .*: Input/output error"):
        objects.get("towns/demo/head")


def test_empty_due_directories_go_and_the_top_ones_stay(root: Path, objects: DirectoryObjects) -> None:
    for town in ("a", "b"):
        objects.put(f"due/20260110T120000Z/{town}", b"")
    objects.delete("due/20260110T120000Z/a")
    assert (root / "due" / "20260110T120000Z").is_dir()
    objects.delete("due/20260110T120000Z/b")
    assert list((root / "due").iterdir()) == []


def test_a_marker_survives_others_that_remove_its_directory_at_the_same_time(objects: DirectoryObjects) -> None:
    def come_and_go(town: int) -> None:
        for _ in range(100):
            objects.put(f"due/20260110T120000Z/{town}", b"")
            objects.delete(f"due/20260110T120000Z/{town}")
        objects.put(f"due/20260110T120000Z/{town}", b"")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(come_and_go, range(4)))
    assert objects.list("due/").keys == tuple(f"due/20260110T120000Z/{town}" for town in range(4))


def test_a_listing_reads_only_the_folders_that_it_needs(
    root: Path, objects: DirectoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    for town in ("a", "b", "c"):
        objects.put(f"towns/{town}/head", b"")
        objects.put(f"towns/{town}/inbox/1", b"")
        objects.put(f"due/2026011{town}/{town}", b"")
    read: list[str] = []
    scandir = os.scandir

    def watched(path: str) -> object:
        read.append(str(Path(path).relative_to(root)))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", watched)

    def folders_read(prefix: str, *, after: str = "", limit: int = 1000) -> list[str]:
        read.clear()
        objects.list(prefix, after=after, limit=limit)
        return list(read)

    assert folders_read("due/", limit=1) == ["due", "due/2026011a", "due/2026011b"]
    assert folders_read("towns/b/inbox/") == ["towns/b/inbox"]
    assert folders_read("towns/b/head", limit=1) == ["towns/b"]
    assert folders_read("towns/", after="towns/b/~") == ["towns", "towns/b", "towns/c", "towns/c/inbox"]
