"""The context of a command: where the towns are kept, which clock they use, and where to print."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from infra.townctl.output import lines
from shared.domain.errors import ArchivedTown, Refused, UnknownTown

if TYPE_CHECKING:
    from datetime import datetime

    from infra.buckets import Bucket
    from infra.townctl.agent_programs import AgentProgram
    from infra.townctl.wiring import LocalClock
    from shared.adapters.local_processes import LocalProcessRuntime
    from shared.ports.agent_logs import AgentLogs
    from shared.ports.forge import MergeProver, SourceForge
    from shared.ports.object_store import ObjectStore
    from shared.ports.runtime import AgentRuntime
    from shared.runner.surroundings import Surroundings
    from shared.storage.restore import KeptPast
    from shared.storage.towns import ObjectTownStore

DATA_VARIABLE: Final = "TOWNCTL_DATA"
DEFAULT_DATA: Final = Path("town-data")
AGENTS: Final = ".agents"
OpenDirectory = Callable[[Path], "ObjectStore"]


@dataclass(frozen=True, slots=True)
class Context:
    """One call of townctl. `named_data` is the value of --data, `named_bucket` that of --bucket, if given.

    Its methods import what they need, because most commands need little of it.
    """

    named_data: Path | None = None
    named_bucket: Bucket | None = None
    wants_json: bool = False
    open_directory: OpenDirectory | None = None

    @property
    def data(self) -> Path:
        """The data directory: --data, else TOWNCTL_DATA, else ./town-data."""
        return self.named_data or Path(os.environ.get(DATA_VARIABLE) or DEFAULT_DATA)

    @property
    def bucket(self) -> Bucket | None:
        """The bucket that holds the towns: --bucket, else TOWNCTL_BUCKET unless --data was given; None: a directory holds them."""
        if self.named_bucket is not None or self.named_data is not None:
            return self.named_bucket
        from infra.buckets import Bucket

        return Bucket.from_environment(os.environ)

    @property
    def place(self) -> str:
        """The name of the place where the towns are kept, for messages."""
        return str(self.bucket or self.data)

    @property
    def clock(self) -> LocalClock:
        """The clock of the system; in a process that an agent started, the clock of the agent's town."""
        from shared.adapters import clock as clocks

        given = clocks.from_text(os.environ.get(clocks.CLOCK_VARIABLE, ""))
        return given if isinstance(given, clocks.ScaledClock) else clocks.SystemClock()

    def clock_of(self, store: ObjectTownStore, *towns: str, speed: float = 1) -> LocalClock:
        """The clock of these towns. If they run on their own clock and it is in the future, it continues from there."""
        from infra.townctl.own_clocks import clock_for
        from shared.adapters import clock as clocks

        clock = self.clock
        return clock if isinstance(clock, clocks.ScaledClock) else clock_for(store, towns, speed=speed)

    def checked_time(self, store: ObjectTownStore) -> datetime:
        """The time at which something is written to these towns. Raises ClocksDisagree if this machine's clock is wrong."""
        from infra.townctl import wiring

        return wiring.checked_time(store, self.clock)

    def store(self, *, towns: tuple[str, ...] = (), others: tuple[str, ...] = ()) -> ObjectTownStore:
        """The towns of the bucket or directory: all, or only `towns`, or all but `others`.

        Raises Refused if the directory does not exist.
        """
        from infra.townctl import wiring

        return wiring.open_store(self.objects(), towns=towns, others=others)

    def objects(self) -> Any:
        """The objects of the bucket or directory, past versions included. Raises Refused if the directory does not exist."""
        if self.bucket is not None:
            return self.bucket.objects()
        if not self.data.exists():
            hint = "create its first town with `townctl town create TOWN`, or give another directory with --data DIR"
            raise Refused(f"the data directory {self.data} does not exist", status=404, path="data", hint=hint)
        if not self.data.is_dir():
            raise self._not_a_directory()
        return self._directory()

    def logs(self) -> AgentLogs:
        """The logs of agents: of this machine's agents, and those that containers report."""
        from shared.adapters.local_logs import AllLogs, LocalLogs
        from shared.storage.agent_logs import StoredLogs

        return AllLogs((LocalLogs(self.data.resolve() / AGENTS), StoredLogs(self.objects())))

    def kept_past(self, town_id: str) -> KeptPast:
        """A town with its past. Raises Refused if the directory does not exist."""
        from shared.storage.restore import KeptPast

        objects = self.objects()
        return KeptPast(objects, objects, town_id)

    def founding_store(self) -> ObjectTownStore:
        """Like `store`, but if the directory does not exist, the first write creates it."""
        from infra.townctl import wiring

        return wiring.open_store(self.founding_objects())

    def founding_objects(self) -> Any:
        """Like `objects`, but if the directory does not exist, the first write creates it."""
        if self.bucket is not None:
            return self.bucket.objects()
        if self.data.exists() and not self.data.is_dir():
            raise self._not_a_directory()
        return self._directory()

    def require_towns(self, store: ObjectTownStore, *wanted: str) -> tuple[str, ...]:
        """Check that these towns exist, and return every town that does. Raises UnknownTown, or Refused for an invalid id."""
        from shared.ports.steps import drive
        from shared.storage.keys import checked_town_id
        from shared.storage.waiting_room import no_head

        known = drive(store.towns())
        for town_id in map(checked_town_id, wanted):
            if town_id not in known:
                error = drive(no_head(self.objects(), town_id))
                if not isinstance(error, UnknownTown) or isinstance(error, ArchivedTown):
                    raise error
                raise UnknownTown(f"there is no town {town_id} in {self.place}", hint=self.where_towns_are())
        return known

    def where_towns_are(self) -> str:
        """The hint for a town that does not exist here."""
        return (
            f"townctl looked in {self.place}: `townctl town list` shows its towns, `townctl town create TOWN` creates one, "
            "and --data, --bucket or --api name another place"
        )

    def prove_store(self) -> None:
        """Check, once per process, that a bucket honours conditional writes; a directory does. Raises StoreIncapable."""
        if self.bucket is not None:
            from infra.townctl import wiring

            wiring.prove(self.bucket)

    def runtime(self, runs: AgentProgram, clock: LocalClock) -> LocalProcessRuntime:
        """The local agents of these towns."""
        from infra.townctl import agent_programs

        return agent_programs.local_runtime(self.data, runs, clock, bucket=self.bucket)

    def agents(self, clock: LocalClock) -> LocalProcessRuntime:
        """The local agents of these towns, to observe and stop them only."""
        from infra.townctl import agent_programs

        return self.runtime(agent_programs.AgentProgram(), clock)

    def around(
        self,
        store: ObjectTownStore,
        *,
        clock: LocalClock | None = None,
        runtime: AgentRuntime | None = None,
        forge: SourceForge | None = None,
        prover: MergeProver | None = None,
        api: str | None = None,
    ) -> Surroundings:
        """The surroundings of a run of these towns. Alerts become lines on standard error. `api`: the address of this process."""
        from infra.townctl import notices, wiring

        fleet = notices.fleet_of(os.environ, api=api)
        return wiring.surroundings(
            store,
            clock=clock or self.clock,
            runtime=runtime,
            forge=forge,
            prover=prover,
            notices=notices.OnThisMachine(fleet, self.data),
            fleet_channels=fleet.names,
            write_line=lambda line: print(line, file=sys.stderr, flush=True),
        )

    def talk(self, line: str) -> None:
        """Print a progress line: on standard output, or with --json on standard error."""
        print(lines(line), file=sys.stderr if self.wants_json else sys.stdout, flush=True)

    def _directory(self) -> ObjectStore:
        from shared.adapters.directory_objects import DirectoryObjects

        return (self.open_directory or DirectoryObjects)(self.data)

    def _not_a_directory(self) -> Refused:
        hint = "give a directory with --data DIR"
        return Refused(f"the data directory {self.data} is a file", status=400, path="data", hint=hint)


TheContext = Annotated[Context, Parameter(parse=False)]
