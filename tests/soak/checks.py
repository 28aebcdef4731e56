"""What must hold after the calm: nothing is lost, nothing is done twice, and everything has ended or says why not."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from shared.domain.times import to_text
from shared.events import BY_TYPE
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.ports.town_past import JournalRow
from tests.soak.agent import starts
from tests.soak.loops import Loop
from tests.soak.places import REPOSITORY, TOWNS, Place
from tests.soak.producers import Producer

ENDED: Final = frozenset({"closed", "failed"})
PEOPLE_END_THEM: Final = frozenset({"escalation", "message", "agent"})
"""Beads that wait for a person, an agent's attention, or nothing."""
PEOPLE: Final = frozenset(
    {"held", "awaiting_approval", "failed_dependency", "no_rig", "missing_blocker", "convoy_over"}
)
"""The waiting reasons that only somebody outside of the town ends."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be, and what to look at."""

    place: str
    town: str
    problem: str
    look_at: str

    def __str__(self) -> str:
        return f"{self.place} {self.town}: {self.problem}\n    look at: {self.look_at}"


def status(place: Place, town: str) -> Any:
    """The answer of `townctl town status --json`."""
    return _answer(place, town, "town", "status", town)[1]


def unfinished(report: Mapping[str, Any]) -> list[str]:
    """What a town still has to do by itself, by its status; empty if only people can go on."""
    waiting = {each["beadId"]: each["reason"] for each in report["waiting"]}
    found = [
        f"bead {bead['beadId']} ({bead['type']}, {bead['status']}) waits: {waiting.get(bead['beadId'], 'no reason')}"
        for bead in report["beads"]
        if bead["status"] not in ENDED
        and bead["type"] not in PEOPLE_END_THEM
        and waiting.get(bead["beadId"]) not in PEOPLE
    ]
    if report["inboxBatches"] or report["events"]["pending"]:
        found.append(f"{report['inboxBatches']} batches and {report['events']['pending']} events wait")
    if any(agent["hook"] for agent in report["agents"]):
        found.append(f"agents work on {[agent['hook'] for agent in report['agents'] if agent['hook']]}")
    return found


def violations(place: Place, producers: Sequence[Producer], loops: Sequence[Loop]) -> Iterator[Violation]:
    """Everything that must not be at one place, once all loops have ended."""
    for producer in producers:
        yield from _of_events(place, producer)
        yield from _of_merges(place, producer)
    for town in TOWNS:
        report = status(place, town)
        for problem in unfinished(report):
            yield Violation(place.name, town, problem, _say(place, "explain", "bead", "BEAD", town))
        if report["violations"] or report["unreadable"]:
            yield Violation(
                place.name, town, f"violated invariants: {report['violations']}", _say(place, "town", "status", town)
            )
        yield from _of_replay(place, town)
        yield from _of_starts(place, town)
    yield from _of_command(place, "*", "doctor")
    for loop in loops:
        yield from _of_log(place, loop)


def journal(place: Place, town: str) -> Iterator[JournalRow]:
    """Every row of a town's journal."""
    past, tick = StoredPast(place.objects, place.objects), 0
    while rows := drive(past.rows_after(town, tick)):
        yield from rows
        tick = rows[-1]["tick_no"]


def _of_events(place: Place, producer: Producer) -> Iterator[Violation]:
    """Each accepted event has exactly one outcome, and only beats and the like, which leave no row, may have two."""
    outcomes: Counter[str] = Counter()
    said: dict[str, str] = {}
    ticks = 0
    for row in journal(place, producer.town):
        ticks += 1
        if row["tick_no"] != ticks:
            yield Violation(
                place.name, producer.town, f"the journal lacks tick {ticks}", _say(place, "points", producer.town)
            )
            ticks = row["tick_no"]
        for event in row["outputs"]["events"]:
            outcomes[event["event_id"]] += not BY_TYPE[event["event_type"]].transient
            said[event["event_id"]] = event["outcome"]
    look = _say(place, "event", "list", producer.town)
    for event_id in sorted(set(producer.accepted)):
        if outcomes[event_id] == 0:
            yield Violation(place.name, producer.town, f"{event_id} was accepted and never applied", look)
        elif said[event_id] != "applied":
            yield Violation(place.name, producer.town, f"{event_id} was accepted and is {said[event_id]}", look)
    for event_id, times in sorted(outcomes.items()):
        if times > 1:
            yield Violation(place.name, producer.town, f"{event_id} has {times} outcomes", look)
    for refusal in producer.refused:
        yield Violation(place.name, producer.town, f"a sound event was refused for good: {refusal}", look)


def _of_starts(place: Place, town: str) -> Iterator[Violation]:
    """A dispatch has one attempt: no generation of an agent is started twice."""
    counted = Counter((start.agent, start.generation) for start in starts(place.starts) if start.town == town)
    for (agent, generation), times in sorted(counted.items()):
        if times > 1:
            problem = f"generation {generation} of agent {agent} was started {times} times"
            yield Violation(place.name, town, problem, _say(place, "explain", "agent", agent, town))


def _of_merges(place: Place, producer: Producer) -> Iterator[Violation]:
    """Closed means merged, and merged once: the branch of a closed review, and the work of every issue that was posted."""
    town = producer.town
    landing = "--branches=convoy/*"  # a convoy that has not landed yet
    command = ["git", "log", "--format=%x00%B", "main", landing]
    done = subprocess.run(command, cwd=place.repository, capture_output=True, text=True, check=True)
    history = done.stdout.split("\0")
    merges = [message for message in history if message.startswith("Merge ")]
    for review in _closed(place, town, "merge_request"):
        look = f"git -C {place.repository} log main --grep '{review['title']}'"
        if not any(review["title"] in message for message in merges):  # perhaps by an earlier review of the same branch
            yield Violation(
                place.name, town, f"review {review['beadId']} is closed, and its branch is not merged", look
            )
        if sum(_is_about(review["beadId"], message) for message in merges) > 1:
            yield Violation(place.name, town, f"review {review['beadId']} was merged more than once", look)
    closed = {bead["beadId"] for bead in _closed(place, town, "issue")}
    for issue in sorted(closed.intersection(producer.issues)):
        if not any(_is_about(issue, message) for message in history):
            problem = f"issue {issue} is closed, and its work is not merged"
            yield Violation(place.name, town, problem, f"git -C {place.repository} log --all --grep 'Bead: {issue}'")


def _is_about(bead_id: str, message: str) -> bool:
    return f"Bead: {bead_id}" in message


def _closed(place: Place, town: str, bead_type: str) -> Iterator[Any]:
    cursor: tuple[str, ...] = ()
    while True:
        words = ("bead", "list", town, "--status", "closed", "--type", bead_type, "--limit", "500", *cursor)
        answer = _answer(place, town, *words)[1]
        yield from answer["beads"]
        if answer["next"] is None:
            return
        cursor = ("--cursor", answer["next"])


def _of_replay(place: Place, town: str) -> Iterator[Violation]:
    """Every tick, run again, gives what it gave."""
    first = next(journal(place, town), None)
    if first is None:
        yield Violation(place.name, town, "no tick was made", _say(place, "town", "status", town))
        return
    window = ("replay", town, "--from", first["now"], "--to", to_text(place.clock_of(town).now()))
    cursor: tuple[str, ...] = ()
    while True:
        code, answer = _answer(place, town, *window, *cursor)
        if code:
            said = json.dumps(
                {name: answer.get(name) for name in ("divergence", "stopped", "error", "stderr", "segments")}
            )
            yield Violation(place.name, town, f"townctl replay ended with {code}: {said[:2000]}", _say(place, *window))
        if not answer.get("cursor"):
            return
        cursor = ("--cursor", answer["cursor"])


def _of_command(place: Place, town: str, *words: str) -> Iterator[Violation]:
    code, answer = _answer(place, town, *words)
    if code:
        yield Violation(
            place.name, town, f"townctl {words[0]} ended with {code}: {json.dumps(answer)[:2000]}", _say(place, *words)
        )


def _of_log(place: Place, loop: Loop) -> Iterator[Violation]:
    """No process of townctl may show a stack trace; one that ends by itself must have said why."""
    text = loop.log.read_text(errors="replace")
    if "Traceback (most recent call last)" in text:
        start = text.index("Traceback (most recent call last)")
        yield Violation(
            place.name, loop.town, f"{loop.name} showed a stack trace:\n{text[start : start + 3000]}", str(loop.log)
        )


def _answer(place: Place, town: str, *words: str) -> tuple[int, Any]:
    """Exit code and document of a command, past everything that fails."""
    line = place.townctl(*words, "--json")
    done = subprocess.run(
        line, cwd=REPOSITORY, env=place.environment(town), capture_output=True, text=True, check=False
    )
    if not done.stdout.strip():
        return done.returncode or 1, {"stderr": done.stderr[-2000:]}
    return done.returncode, json.loads(done.stdout)


def _say(place: Place, *words: str) -> str:
    options = (
        f"--data {place.data}" if place.bucket is None else f"--bucket {place.bucket.name} (stopped with the soak)"
    )
    return f"townctl {options} {' '.join(words)}"
