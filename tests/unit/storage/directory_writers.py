"""Processes that increment one town in a directory and die at random calls: run by the directory store's tests.

    python -m tests.unit.storage.directory_writers DIRECTORY SEED

Four writers make 25 operations each. Before an operation each posts a batch of its name and, once that is acknowledged,
writes the name into DIRECTORY/../acknowledged. A writer that died is started again and goes on. Prints the deaths.

This is a program and no function, because forking is safe only in a process that never had threads.
"""

import os
import random
import sys
from functools import partial
from pathlib import Path

from shared.adapters.directory_objects import DirectoryObjects
from shared.domain.errors import Conflict
from shared.domain.steps import Call, Steps, drive
from shared.domain.town_store import TownImage
from shared.storage.towns import ObjectTownStore
from tests.fault_injection import each_call
from tests.unit.storage.images import NOON, an_image, facts, operations_in

WRITERS = 4
OPERATIONS = 25
_DIED = 77
_DEATHS_PER_CALL = 0.03


def write(directory: Path, writer: int, chance: random.Random) -> None:
    """Make all operations of one writer that the town does not hold yet, until death or the end."""
    store = ObjectTownStore(DirectoryObjects(directory))

    def mortal(steps: Steps[object]) -> None:
        drive(each_call(steps, lambda call: Call(call.name, partial(_call_or_die, call, chance))))

    done = operations_in(drive(store.load("demo")).image)
    for number in range(OPERATIONS):
        name = f"{writer}-{number}"
        if name in done:
            continue
        mortal(store.post("demo", name.encode(), received_at=NOON, batch_id=name, wake=True))
        _append(directory.parent / "acknowledged", name)
        while True:
            try:
                mortal(_increment(store, name, worker=os.getpid()))
            except Conflict:
                continue
            break


def _increment(store: ObjectTownStore, name: str, *, worker: int) -> Steps[TownImage]:
    image = yield from store.load("demo")
    operations = operations_in(image.image)
    if name in operations:
        return image
    commit_id = f"{image.txid}-{worker}"
    return (yield from store.commit(image, an_image([*operations, name]), facts(commit_id, tick_no=image.txid)))


def _call_or_die(call: Call, chance: random.Random) -> object:
    if chance.random() < _DEATHS_PER_CALL:
        os._exit(_DIED)
    answer = call.make()
    if chance.random() < _DEATHS_PER_CALL:
        os._exit(_DIED)
    return answer


def _append(path: Path, name: str) -> None:
    with path.open("a") as file:
        file.write(f"{name}\n")


def _start(directory: Path, writer: int, chance: random.Random) -> int:
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        write(directory, writer, chance)
        status = 0
    finally:
        os._exit(status)


def main(directory: Path, seed: int) -> int:
    """Run all writers until each has made its operations; the number of deaths on the way."""
    running = {_start(directory, writer, random.Random(f"{seed}-{writer}-0")): writer for writer in range(WRITERS)}
    deaths = 0
    while running:
        process, status = os.wait()
        writer = running.pop(process)
        match os.waitstatus_to_exitcode(status):
            case 0:
                continue
            case code if code == _DIED:
                deaths += 1
                running[_start(directory, writer, random.Random(f"{seed}-{writer}-{deaths}"))] = writer
            case code:
                raise SystemExit(f"writer {writer} failed with {code}")
    return deaths


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), int(sys.argv[2])))
