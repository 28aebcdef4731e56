"""An object store in a directory: the guarantees of S3 on a local disk, for any number of processes.

A write first goes to a file under `.writing/` and is forced to the disk. Then one rename or link turns it into the object,
so an object is either complete or absent. Only empty objects are not forced to the disk: they say nothing but that they exist, as
the due markers do, which a sweep restores. A link fails if the file exists, which makes `create` conditional. `replace`,
`put` and `delete` hold one of 64 lock files while they compare and rename; the lock of a process that dies is released. A
process that waits for a lock says on standard error who holds it, and gives up after some seconds (`file_locks`). The
ETag is a hash of the content, so it is also correct for files that were copied here by hand.

The state that `replace` overwrites is kept under a second name, `.versions/<key>/<ms>-<etag>`, until that version is deleted.
The name holds the time of writing, and a replacement is always at least a millisecond younger than the state it replaces,
whatever the writers' clocks show. So the order of the names is the order of the writes.

Names that start with a dot belong to the store and are never keys. Files that a crash left under `.writing/` are removed
after an hour.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from hashlib import blake2b
from itertools import count, islice
from pathlib import Path
from typing import Final, Literal, Self

from shared.adapters import directory_files as files
from shared.adapters import file_locks
from shared.adapters.directory_errors import translated
from shared.adapters.shared_calls import SharedCalls
from shared.domain.errors import PreconditionFailed, Refused, StoreUnavailable
from shared.ports.object_store import Listing, ObjectVersion, StoredObject

_WRITING: Final = ".writing"
_LOCKS: Final = ".locks"
_VERSIONS: Final = ".versions"
_LOCK_COUNT: Final = 64
_ABANDONED_SECONDS: Final = 3600
_PLACING_TRIES: Final = 100  # a directory may be removed as empty before a file is moved into it
_KEY: Final = re.compile(r"[^/.\0][^/\0]*(?:/[^/.\0][^/\0]*)*")


class DirectoryObjects:
    """The ObjectStore and VersionedObjects ports over one directory.

    The first write makes the directory. Reading does not require permission to write.
    """

    at_once: Final = 1

    def __init__(self, root: Path) -> None:
        self._root = root
        self._place_of_all = f"{root}/"
        self._writer = os.urandom(8).hex()
        self._numbers = count()
        self._listings = SharedCalls()
        self._writing = root / _WRITING
        self._locks = root / _LOCKS
        self._is_ready = False
        self._translated = partial(translated, root)
        self._told: set[file_locks.Holder | None] = set()
        self._on_disk: set[str] = set()

    @property
    def waiting(self) -> Self:
        """Inboxes and due markers are objects like any other."""
        return self

    def get(self, key: str) -> StoredObject | None:
        """The object, or None if there is none."""
        path = self._path(key)
        with self._translated(f"get {key}"):
            body = files.content(path)
            return None if body is None else StoredObject(body, files.etag(body))

    def get_if_changed(self, key: str, etag: str) -> StoredObject | Literal["unchanged"] | None:
        """The object if its ETag differs from `etag`; `unchanged` if it does not; None if there is none."""
        found = self.get(key)
        return "unchanged" if found is not None and found.etag == etag else found

    def start_of(self, key: str, length: int) -> bytes | None:
        """The first `length` bytes of an object; None if there is none."""
        path = self._path(key)
        with self._translated(f"get {key}"):
            return files.content(path, at_most=length)

    def create(self, key: str, body: bytes) -> str:
        """Store a new object and return its ETag. Raises PreconditionFailed if the key exists."""
        path = self._path(key)
        with self._translated(f"create {key}"), self._written(body) as written:
            try:
                self._place(path, partial(os.link, written, path), force=body != b"")
            except FileExistsError:
                raise PreconditionFailed(f"create {key}: it exists") from None
        return files.etag(body)

    def replace(self, key: str, body: bytes, etag: str) -> str:
        """Replace the object that has this ETag and keep the old state as a version.

        Raises PreconditionFailed if the object has another ETag or is gone.
        """
        path = self._path(key)
        with self._translated(f"replace {key}"), self._written(body) as written, self._locked(key):
            found = files.content(path)
            if found is None or files.etag(found) != etag:
                raise PreconditionFailed(f"replace {key}: it has changed")
            self._keep(key, path, etag)
            files.make_younger(Path(written), than=Path(path))
            Path(written).rename(path)
            files.to_disk(_above(path))
        return files.etag(body)

    def put(self, key: str, body: bytes) -> str:
        """Store unconditionally. An empty object that exists, such as the due marker of this second, is left as it is."""
        path = self._path(key)
        with self._translated(f"put {key}"):
            if body == b"" and files.is_empty(path):
                return files.etag(body)
            with self._written(body) as written, self._locked(key):
                self._place(path, partial(Path(written).rename, path), force=body != b"")
        return files.etag(body)

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none.

        With an empty object its directory is removed as well if nothing else is in it, except at the top level; other directories
        stay, so that what was forced to the disk about them remains true. A deletion is not forced to the disk: if a power
        failure brings the object back, the caller that finds it deletes it again.
        """
        path = self._path(key)
        with self._translated(f"delete {key}"):
            is_empty = files.is_empty(path)
            if is_empty is None:
                return
            with self._locked(key), contextlib.suppress(*files.NO_FILE):
                os.unlink(path)  # noqa: PTH108 - the path is a text, which is fast
            if is_empty and key.count("/") > 1:
                with contextlib.suppress(OSError):
                    Path(path).parent.rmdir()

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        """At most `limit` keys that start with `prefix` and are greater than `after`, ascending.

        Reads only directories that can hold such keys, and stops once `limit` is exceeded. Threads that ask for the same keys at
        the same time share a listing.
        """
        with self._translated(f"list {prefix}"):
            make = partial(self._listed, prefix, after=after, limit=limit)
            return self._listings.answer((prefix, after, limit), make)

    def list_with_bodies(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        """As `list`: reading a file takes its own time."""
        return self.list(prefix, after=after, limit=limit)

    def _listed(self, prefix: str, *, after: str, limit: int) -> Listing:
        start = prefix.rpartition("/")[0]
        found = tuple(islice(self._keys_below(start, prefix=prefix, after=after), limit + 1))
        listed = found[:limit]
        seen = files.Looked([f"{self._place_of_all}{key}" for key in listed])
        sizes, times = files.Column(lambda: seen.sizes, len(listed)), files.Column(lambda: seen.times, len(listed))
        return Listing(listed, more=len(found) > limit, sizes=sizes, times=times)

    def time(self) -> datetime:
        """The present time by the clock of the file system, which may be that of another machine. Writes a file and removes it."""
        with self._translated("ask for the time"):
            self._make_ready()
            return files.time_in(self._writing)

    def versions(self, key: str) -> tuple[ObjectVersion, ...]:
        """The current state and those that were replaced, newest first."""
        path, kept = Path(self._path(key)), self._versions_of(key)
        with self._translated(f"versions {key}"):
            # read first, so that a state that is replaced meanwhile is found among the past ones
            present = files.present(path)
            names = [name for name in reversed(files.entries(str(kept))) if files.VERSION_ID.fullmatch(name)]
            # if a writer died before its rename, the current state is among these too
            past = [files.past_version(kept / name) for name in names]
        if present is None:
            return tuple(each for each in past if each is not None)
        version_id, body = present
        current = ObjectVersion(version_id, files.etag(body), files.time_of(version_id), len(body), current=True)
        return (current, *(each for each in past if each is not None and each.version_id != version_id))

    def get_version(self, key: str, version_id: str) -> StoredObject | None:
        """The object as it was; None if that version is not kept."""
        path = Path(self._path(key))
        with self._translated(f"get version {version_id} of {key}"):
            present = files.present(path)  # first, as in versions
            if present is not None and present[0] == version_id:
                return StoredObject(present[1], files.etag(present[1]))
            body = (
                files.content(self._versions_of(key) / version_id) if files.VERSION_ID.fullmatch(version_id) else None
            )
            return None if body is None else StoredObject(body, files.etag(body))

    def delete_version(self, key: str, version_id: str) -> None:
        """Delete one past state; no error if it is gone. Raises Refused for the current one."""
        path = Path(self._path(key))
        with self._translated(f"delete version {version_id} of {key}"), self._locked(key):
            present = files.present(path)
            if present is not None and present[0] == version_id:
                hint = "list the versions again; only those that were replaced may be deleted"
                raise Refused(
                    f"delete version {version_id} of {key}: it is current", status=409, path="version_id", hint=hint
                )
            if files.VERSION_ID.fullmatch(version_id):
                (self._versions_of(key) / version_id).unlink(missing_ok=True)

    def _versions_of(self, key: str) -> Path:
        return self._root.joinpath(_VERSIONS, *key.split("/"))

    def _keep(self, key: str, path: str, etag: str) -> None:
        """Give the current state of an object a second name, which remains when the first one is replaced."""
        kept = self._versions_of(key) / files.version_id(Path(path).stat(), etag)
        with contextlib.suppress(FileExistsError):  # left by a writer that died right after this
            try:
                os.link(path, kept)
            except FileNotFoundError:
                kept.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, kept)

    def _keys_below(self, directory: str, *, prefix: str, after: str) -> Iterator[str]:
        above = f"{directory}/" if directory else ""
        for name in files.entries(self._path(directory) if directory else self._place_of_all):
            key = above + name
            if name[-1] != "/":
                if key > after and key.startswith(prefix):
                    yield key
                continue
            may_match = key.startswith(prefix) or prefix.startswith(key)
            if may_match and (key > after or after.startswith(key)):
                yield from self._keys_below(key[:-1], prefix=prefix, after=after)

    def _path(self, key: str) -> str:
        """The file of a key. No key leads outside the directory or to the store's own files in it."""
        if _KEY.fullmatch(key) is None:
            hint = "a key has no empty part and no part that leads out of the directory"
            raise Refused(f"not a key: {key[:200]!r}", status=400, path="key", hint=hint)
        return self._place_of_all + key

    @contextmanager
    def _written(self, body: bytes) -> Iterator[str]:
        """A temporary file with this content, forced to the disk; removed afterwards if it was not moved."""
        self._make_ready()
        path = f"{self._place_of_all}{_WRITING}/{self._writer}-{os.getpid()}-{next(self._numbers)}"
        try:
            files.write(path, body)
            yield path
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108 - as in delete

    def _make_ready(self) -> None:
        if self._is_ready:
            return
        self._writing.mkdir(parents=True, exist_ok=True)
        self._locks.mkdir(exist_ok=True)
        with contextlib.suppress(PermissionError):  # we may lack permission for the parent directory
            files.to_disk(self._root.parent)
        self._remove_abandoned()
        self._is_ready = True

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        self._make_ready()
        number = int.from_bytes(blake2b(key.encode(), digest_size=2).digest(), "big") % _LOCK_COUNT
        with file_locks.held(self._locks / f"{number:02}", tell=self._tell):
            yield

    def _tell(self, waiting: str, holder: file_locks.Holder | None) -> None:
        """Say who is waited for; once for each holder, because a loop waits for the same one again and again."""
        if holder not in self._told:
            self._told.add(holder)
            file_locks.say(waiting)

    def _place(self, path: str, move: Callable[[], object], *, force: bool) -> None:
        """Move a file to a path whose directories may not exist or may be removed meanwhile, and `force` it to the disk."""
        directory = _above(path)
        made: tuple[Path, ...] = ()
        for _ in range(_PLACING_TRIES):
            try:
                move()
            except FileNotFoundError:
                made += self._make_directory(Path(directory))
                continue
            if force:
                with contextlib.suppress(FileNotFoundError):  # the object has been deleted meanwhile
                    files.to_disk(directory)
                self._force_above(directory, made)
            return
        raise StoreUnavailable(f"write {path}: its directory was removed repeatedly", hint="try again")

    def _force_above(self, directory: str, made: tuple[Path, ...]) -> None:
        """Force the way to a directory to the disk, unless this process has done so: what is above it, and what was made for it."""
        if directory not in self._on_disk:
            # another process may have made the directory and not forced it to the disk yet
            for each in (Path(directory).parent, *made):
                with contextlib.suppress(FileNotFoundError):
                    files.to_disk(each)
            self._on_disk.add(directory)

    def _make_directory(self, directory: Path) -> tuple[Path, ...]:
        """Make a directory with its parents; returns the parent of each directory that was made."""
        missing = []
        while directory != self._root and not directory.exists():
            missing.append(directory)
            directory = directory.parent
        for each in reversed(missing):
            with contextlib.suppress(FileExistsError, FileNotFoundError):
                each.mkdir()
        return tuple(each.parent for each in missing)

    def _remove_abandoned(self) -> None:
        """Remove temporary files that are older than an hour, by the clock of the file system: their writers have died."""
        now = files.time_in(self._writing).timestamp()
        for path in self._writing.iterdir():
            with contextlib.suppress(FileNotFoundError):
                if now - path.stat().st_mtime > _ABANDONED_SECONDS:
                    path.unlink()


def _above(path: str) -> str:
    """The directory of a file or directory."""
    return path.rpartition("/")[0]
