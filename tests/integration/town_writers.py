"""Processes that increment one town and die at random calls: run by test_real_processes.py.

    python -m tests.integration.town_writers PLACE ACKNOWLEDGED OPERATIONS DEATHS_PER_CALL

PLACE is a directory, or BUCKET@ENDPOINT. Six writers make so many operations each. Before an operation each posts a batch of
its name and, once that is acknowledged, writes the name into the file ACKNOWLEDGED. A writer that died is started again
and goes on. Whatever a worker does to the store, they do: publish, commit, post. Prints how often they died and how
often another one was faster, as JSON.

This is a program and no function, because forking is safe only in a process that never had threads.
"""

import json
import os
import random
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.s3_objects import S3Objects
from shared.domain.errors import Conflict
from shared.ports.object_store import ObjectStore
from shared.ports.steps import Call, Steps, drive
from shared.ports.town_store import TownImage
from shared.storage import layers
from shared.storage.towns import ObjectTownStore
from tests.fault_injection import each_call
from tests.unit.storage.images import NOON, an_image, facts, operations_in

WRITERS: Final = 6
ABOVE: Final = 120
"""Bytes of a tail that has grown: little, so that patch files, spills and snapshots are made all the time."""

_DIED: Final = 77


def objects_at(place: str) -> ObjectStore:
    """The store that PLACE names."""
    bucket, at, endpoint = place.partition("@http")
    return S3Objects(bucket, endpoint_url=f"http{endpoint}") if at else DirectoryObjects(Path(place))


@dataclass(frozen=True, slots=True)
class Writer:
    """One of them: it makes all its operations that the town does not hold yet, until death or the end."""

    number: int
    operations: int
    store: ObjectTownStore
    acknowledged: Path
    lost: Path
    chance: random.Random
    deaths_per_call: float

    def write(self) -> None:
        """Make them."""
        done = operations_in(drive(self.store.load("demo")).image)
        for number in range(self.operations):
            name = f"{self.number}-{number}"
            if name in done:
                continue
            self._drive(self.store.post("demo", name.encode(), received_at=NOON, batch_id=name, wake=True))
            _append(self.acknowledged, name)
            while True:
                try:
                    self._drive(self._increment(name))
                except Conflict:
                    _append(self.lost, name)
                    continue
                break

    def _increment(self, name: str) -> Steps[TownImage]:
        image = yield from self.store.load("demo")
        operations = operations_in(image.image)
        if name in operations:
            return image
        publication = self.store.publication(image, None)
        answers = []
        for call in publication.calls:
            try:
                answers.append((yield call))
            except Exception as raised:  # noqa: BLE001 - an answer like any other
                answers.append(raised)
        published = yield from publication.settled(tuple(answers))
        commit_id = f"{image.txid}-{os.getpid()}"
        after = an_image([*operations, name])
        return (yield from self.store.commit(image, after, facts(commit_id, tick_no=image.txid), published=published))

    def _drive(self, steps: Steps[object]) -> None:
        drive(each_call(steps, lambda call: Call(call.name, partial(self._call_or_die, call))))

    def _call_or_die(self, call: Call) -> object:
        if self.chance.random() < self.deaths_per_call:
            os._exit(_DIED)
        answer = call.make()
        if self.chance.random() < self.deaths_per_call:
            os._exit(_DIED)
        return answer


def _append(path: Path, name: str) -> None:
    with path.open("a") as file:
        file.write(f"{name}\n")


def _start(writer: Writer) -> int:
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        writer.write()
        status = 0
    finally:
        os._exit(status)


def main(place: str, acknowledged: Path, operations: int, deaths_per_call: float) -> dict[str, int]:
    """Run all writers until each has made its operations; how often they died, how often they came second."""
    if "@http" in place:
        import boto3  # noqa: F401 - once, and not in every child
    layers.WHOLE_UP_TO = layers.PATCH_FILE_ABOVE = ABOVE  # type: ignore[misc]
    layers.PATCH_FILES = 3  # type: ignore[misc]
    lost = acknowledged.with_name("lost")
    lost.touch()

    def writer(number: int, life: int) -> Writer:
        store = ObjectTownStore(objects_at(place))
        return Writer(number, operations, store, acknowledged, lost, random.Random(f"{number}-{life}"), deaths_per_call)

    running = {_start(writer(number, 0)): number for number in range(WRITERS)}
    deaths = 0
    while running:
        process, status = os.wait()
        number = running.pop(process)
        match os.waitstatus_to_exitcode(status):
            case 0:
                continue
            case code if code == _DIED:
                deaths += 1
                running[_start(writer(number, deaths))] = number
            case code:
                raise SystemExit(f"writer {number} failed with {code}")
    return {"deaths": deaths, "lost": len(lost.read_text().splitlines())}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))))
