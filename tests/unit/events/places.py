"""Every place that has to know an event type (docs/changing.md, "How to add ..."), and whether it does.

`python -m tests.unit.events.places` says what is missing, one line for each place.
"""

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import shared.events
from shared.events import EVENTS
from shared.events.base import Event
from tests.properties.facts import FACTS
from tests.properties.outside import RESULTS
from tests.unit.events.catalogue import CATALOGUE

ROOT: Final = Path(__file__).resolve().parents[3]
SPECIFICATION: Final = "docs/spec/events.md"


def missing_in_code_and_tests() -> list[str]:
    """What is missing in `EVENTS`, in the catalogue of the tests and in the histories."""
    return [*_not_registered(), *_not_catalogued(), *_not_in_histories()]


def missing_in_specification() -> list[str]:
    """What is missing in the specification's catalogue: one row of a table for each event."""
    file = ROOT / SPECIFICATION
    if not file.is_file():
        return [f"{SPECIFICATION} does not exist: the catalogue of events (section 4) belongs there"]
    described = set(re.findall(r"^\| (\w+) \|", file.read_text(encoding="utf-8"), re.MULTILINE))
    return [
        f"{event.event_type}: add its row to the catalogue in {SPECIFICATION}, section 4"
        for event in EVENTS
        if event.event_type not in described
    ]


def _not_registered() -> Iterator[str]:
    for module in pkgutil.iter_modules(shared.events.__path__, f"{shared.events.__name__}."):
        importlib.import_module(module.name)
    for event in _below(Event):
        if event.event_type and event not in EVENTS:
            yield f"{event.event_type}: add {event.__name__} to EVENTS in shared/events/__init__.py"


def _below(base: type[Event]) -> Iterator[type[Event]]:
    for event in base.__subclasses__():
        yield event
        yield from _below(event)


def _not_catalogued() -> Iterator[str]:
    place = "CATALOGUE in tests/unit/events/catalogue.py"
    for event in EVENTS:
        said = CATALOGUE.get(event.event_type)
        if said is None:
            yield f"{event.event_type}: add it and its senders to {place}"
        elif set(said.split()) != event.senders:
            yield f"{event.event_type}: {event.__name__}.senders says {sorted(event.senders)}, {place} says {said.split()}"
    known = [event.event_type for event in EVENTS]
    if (in_order := [name for name in CATALOGUE if name in known]) != [name for name in known if name in CATALOGUE]:
        yield f"{place} has another order than EVENTS in shared/events/__init__.py: {', '.join(in_order)}"
    yield from (
        f"{name}: {place} has it, EVENTS in shared/events/__init__.py has not" for name in CATALOGUE.keys() - known
    )


def _not_in_histories() -> Iterator[str]:
    for event in EVENTS:
        if event.senders and event.event_type not in FACTS:
            yield f"{event.event_type}: add a maker to FACTS in tests/properties/facts.py, so that histories post it"
        if not event.senders and event.event_type not in {*RESULTS, *FACTS}:
            yield f"{event.event_type}: add it to RESULTS in tests/properties/outside.py, so that histories answer with it"


if __name__ == "__main__":
    missing = [*missing_in_code_and_tests(), *missing_in_specification()]
    print(*missing, sep="\n")
    sys.exit(bool(missing))
