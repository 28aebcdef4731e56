"""What every command is given: the place of the towns, the clock, the streams; how a person's files and JSON are read."""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final, TextIO

from cyclopts import Parameter
from rich.console import Console

from infra.buckets import Bucket
from infra.townctl import wiring
from shared.adapters import clock as clocks
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.local_processes import LocalProcessRuntime
from shared.domain.errors import Refused
from shared.domain.times import parse_iso
from shared.intake import strict_json
from shared.ports.forge import SourceForge
from shared.ports.object_store import ObjectStore
from shared.ports.runtime import AgentRuntime
from shared.runner.surroundings import Surroundings
from shared.storage.restore import Archive
from shared.storage.towns import ObjectTownStore

DATA_VARIABLE: Final = "TOWNCTL_DATA"
DEFAULT_DATA: Final = Path("town-data")
_FILE_SIZE: Final = 64 << 20
_FILE_DEPTH: Final = 64
_WIDE: Final = 240  # columns where no terminal says how many there are: an event with the longest id is one line


@dataclass(frozen=True, slots=True)
class Desk:
    """One call of townctl. `named_data` is what --data says, `named_bucket` what --bucket says, if anything."""

    named_data: Path | None = None
    named_bucket: Bucket | None = None
    wants_json: bool = False
    objects: Callable[[Path], ObjectStore] = DirectoryObjects

    @property
    def data(self) -> Path:
        """The data directory: --data, else TOWNCTL_DATA, else ./town-data."""
        return self.named_data or Path(os.environ.get(DATA_VARIABLE) or DEFAULT_DATA)

    @property
    def bucket(self) -> Bucket | None:
        """The bucket that holds the towns: --bucket, else TOWNCTL_BUCKET unless --data was named; None: a directory does."""
        if self.named_bucket is not None or self.named_data is not None:
            return self.named_bucket
        return Bucket.from_environment(os.environ)

    @property
    def place(self) -> str:
        """Where the towns are kept, for people."""
        return str(self.bucket or self.data)

    @property
    def clock(self) -> wiring.LocalClock:
        """The wall clock; in a process that an agent started, its town's clock."""
        given = clocks.from_text(os.environ.get(clocks.CLOCK_VARIABLE, ""))
        return given if isinstance(given, clocks.ScaledClock) else clocks.SystemClock()

    def clock_of(self, store: ObjectTownStore, *towns: str, speed: float = 1) -> wiring.LocalClock:
        """The clock of these towns: as `clock`; and where a faster one has left them in the future, it goes on there."""
        clock = self.clock
        return clock if isinstance(clock, clocks.ScaledClock) else wiring.clock_for(store, towns, speed=speed)

    def store(self, *, towns: tuple[str, ...] = ()) -> ObjectTownStore:
        """The towns of the bucket or directory. Raises Refused if there is no such directory."""
        return wiring.open_store(self.kept(), towns=towns)

    def kept(self) -> Any:
        """The objects of the bucket or directory with their past. Raises Refused if there is no such directory."""
        if self.bucket is not None:
            return self.bucket.objects()
        if not self.data.is_dir():
            problem = "is a file" if self.data.exists() else "does not exist"
            hint = "`townctl town create TOWN` makes it; or name another one with --data DIR"
            raise Refused(f"the data directory {self.data} {problem}", status=404, path="data", hint=hint)
        return self.objects(self.data)

    def archive(self, town_id: str) -> Archive:
        """A town with its past. Raises Refused as `kept` does."""
        objects = self.kept()
        return Archive(objects, objects, town_id)

    def founding_store(self) -> ObjectTownStore:
        """The towns of the bucket, or of the directory, which the first write makes."""
        if self.bucket is not None:
            return wiring.open_store(self.bucket.objects())
        if self.data.exists() and not self.data.is_dir():
            hint = "name a directory with --data DIR"
            raise Refused(f"the data directory {self.data} is a file", status=400, path="data", hint=hint)
        return wiring.open_store(self.objects(self.data))

    def prove_store(self) -> None:
        """See that a bucket honours conditions, once in this process; a directory does. Raises StoreIncapable."""
        if self.bucket is not None:
            wiring.prove(self.bucket)

    def runtime(self, runs: wiring.AgentProgram, clock: wiring.LocalClock) -> LocalProcessRuntime:
        """The local agents of these towns."""
        return wiring.local_runtime(self.data, runs, clock, bucket=self.bucket)

    def around(
        self,
        store: ObjectTownStore,
        *,
        clock: wiring.LocalClock | None = None,
        runtime: AgentRuntime | None = None,
        forge: SourceForge | None = None,
    ) -> Surroundings:
        """What runs of this directory's towns need. Alerts are lines on standard error."""
        return wiring.surroundings(
            store,
            clock=clock or self.clock,
            runtime=runtime,
            forge=forge,
            write_line=lambda line: print(line, file=sys.stderr, flush=True),
        )

    def talk(self, line: str) -> None:
        """Say something while a command runs: on standard output, or beside the JSON document on standard error."""
        print(line, file=sys.stderr if self.wants_json else sys.stdout, flush=True)


TheDesk = Annotated[Desk, Parameter(parse=False)]
TownName = Annotated[str, Parameter(help="The town's id: 1 to 64 lower-case letters, digits and hyphens.")]


def screen(stream: TextIO) -> Console:
    """A console that takes no text for markup; wide where it is no terminal, so that pipes lose nothing."""
    return Console(file=stream, markup=False, highlight=False, emoji=False, width=None if stream.isatty() else _WIDE)


def content_of(name: str, *, what: str, at_most: int = _FILE_SIZE) -> bytes:
    """The bytes of a file that a person named, `-` being standard input. Raises Refused."""
    try:
        if name == "-":
            return _at_most(sys.stdin.buffer, what, at_most)
        with Path(name).open("rb") as file:
            return _at_most(file, what, at_most)
    except OSError as error:
        hint = "name a file that is there and can be read, or - for standard input"
        raise Refused(f"cannot read {name}: {error.strerror or error}", status=400, path=what, hint=hint) from error


def json_of(body: bytes, *, what: str) -> Any:
    """One JSON value, read strictly. Raises Refused, which says at which place it is wrong."""
    try:
        return strict_json.parse(body, limit=_FILE_SIZE, depth=_FILE_DEPTH)
    except Refused as problem:
        hint = problem.hint or 'one JSON value is due, as in {"key": "text"}'
        raise Refused(
            f"{what} is no JSON that can be used: {problem.message}",
            status=problem.status,
            path=problem.path or what,
            hint=hint,
        ) from None


def time_of(text: str | None, *, what: str) -> datetime | None:
    """A time that a person wrote. Raises Refused."""
    if text is None:
        return None
    try:
        return parse_iso(text)
    except (ValueError, OverflowError) as error:
        hint = "write it as 2026-01-10T12:00:00Z"
        raise Refused(f"{what} is no time: {text[:40]!r}", status=400, path=what, hint=hint) from error


def compact(value: Any) -> str:
    """The one JSON document of an answer, in ASCII: it passes every terminal, locale and pipe."""
    return json.dumps(value, indent=2)


def _at_most(file: BinaryIO, what: str, size: int) -> bytes:
    body = file.read(size + 1)
    if len(body) > size:
        raise Refused(f"{what} is larger than {size >> 20} MiB", status=413, path=what)
    return body
