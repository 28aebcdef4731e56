"""A dry run that another process takes, through the command line and from the stored bytes, is what the tick then does.

The tick is given the input that the dry run printed. What is compared: the journal row in the committed image, and
digests that are computed anew from the bytes that were read back.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.directory_objects import DirectoryObjects
from shared.domain.shapes import read
from shared.domain.tick import TickInput
from shared.domain.times import to_text
from shared.images import dump
from shared.images.image_digest import of_image
from shared.ports.town_store import TownImage
from tests.documented import as_stored
from tests.towns import T, TownBuilder, a_town, ago, event
from tests.worlds import World, a_world

TOWNCTL = Path(sys.executable).with_name("townctl")
PR = "https://github.com/acme/main-rig/pull/1"


ONE_AFTER_ANOTHER = """\
import json, sys
from infra.townctl import main
for line in sys.stdin:
    main.run(json.loads(line))
"""


def townctl(*words: str, data: Path, seed: int = 0) -> Any:
    """What townctl prints as JSON."""
    return json.loads(in_another_process([TOWNCTL, *words, "--json", "--data", data], seed=seed))


def in_another_process(command: list[str | Path], *, seed: int, told: str | None = None) -> str:
    """What a process with that hash seed prints."""
    done = subprocess.run(
        command,
        input=told,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def a_busy_town() -> TownBuilder:
    """Agents to recover, beads to dispatch, a review to poll, a convoy to land, a container to refresh."""
    return (
        a_town()
        .bead("ready")
        .bead("b1", status="in_progress", assignee_agent_bead_id="p")
        .agent("p", status="working", hook="b1", last_activity_at=ago(minutes=3), last_dispatch_outcome="started")
        .bead("b2", status="in_progress", assignee_agent_bead_id="q")
        .agent("q", status="working", hook="b2", last_event_at=ago(minutes=16))
        .review("m1", "in_progress", pr_url=PR, branch="gt/ünï")
        .bead("task", status="closed")
        .convoy("c1", tracked=["task"])
        .key("last_token_refresh_at", None)
    )


def with_events(world: World) -> None:
    world.post(
        event("agent_heartbeat", {"generation": 1}, agent="q"),
        event("bead_cancelled", bead="b2"),
        event("bead_updated", {"title": "Ünïcode ☂"}, bead="ready"),
        event("bead_updated", {"title": "x"}, bead="missing"),
    )


def with_poison(world: World) -> None:
    with_events(world)
    world.put_raw(b'{"event_id":"poison-1","event_type":"no_such_event","payload":{}}', name="poison")
    world.put_raw(
        b'{"event_id":"poison-2","event_type":"bead_updated","bead_id":"b1","payload":{"title":7}}', name="wrong"
    )
    world.put_raw(b"\xff\xfe no JSON", name="torn")
    world.post(event("agent_status", {"message": "x"}, agent="stranger", event_id="fails-01"))


def with_a_backlog(world: World) -> None:
    for batch in range(11):
        world.post(
            *[
                event("bead_updated", {"title": f"{batch}-{number}"}, bead="ready", event_id=f"many-{batch}-{number}")
                for number in range(100)
            ]
        )


def nothing(world: World) -> None:
    """Leave the inbox empty."""


DRAINING = {"nonce": "n", "started_at": to_text(ago(minutes=1))}

STATES: dict[str, tuple[Callable[[], TownBuilder], Callable[[World], None]]] = {
    "busy": (a_busy_town, nothing),
    "unread inbox": (a_busy_town, with_events),
    "poison events": (lambda: a_busy_town().agent("stranger", "witness", "working"), with_poison),
    "more than one tick can read": (a_busy_town, with_a_backlog),
    "draining": (lambda: a_busy_town().key("drain", DRAINING), with_events),
    "settling": (lambda: a_busy_town().key("last_tick_at", to_text(ago(hours=1))), with_events),
    "paused": (lambda: a_busy_town().key("paused", True), with_events),
    "damaged": (lambda: a_busy_town().bead("torn", labels="{no"), with_poison),
    "quiet": (lambda: a_town().bead("b1", labels=["gt:held"]), nothing),
}


def compare(world: World, shown: dict[str, Any]) -> None:
    """The committed image and its newest journal row against the answer of a dry run."""
    image = world.image()
    town = world.town()
    assert of_image(image.image) == image.image_digest == shown["digests"]["image"]
    assert dump.logical_digest(town.sql) == shown["digests"]["logical"]
    if shown["quiet"]:
        assert world.journal() == []
        return
    row = world.journal()[-1]
    outputs = row["outputs"]
    assert TickInput.from_record(row) == read(TickInput, shown["input"])
    assert outputs.pop("next_due_at") == shown["nextDueAt"]
    assert outputs.pop("business_events") == []
    assert outputs == as_stored(shown)


@dataclass(frozen=True)
class Seen:
    """A world as it was when the other process looked at it, and what that process has shown of its next tick."""

    world: World
    before: TownImage
    shown: dict[str, Any]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    """Each state, looked at by one other process."""
    worlds, asked = {}, []
    for state, (build, fill) in STATES.items():
        data = tmp_path_factory.mktemp("town")
        worlds[state] = a_world(build(), objects=DirectoryObjects(data))
        fill(worlds[state])
        asked.append(json.dumps(["dry-run", "t1", "--now", to_text(T), "--json", "--data", str(data)]))
    before = {state: world.image() for state, world in worlds.items()}
    said = in_another_process([sys.executable, "-c", ONE_AFTER_ANOTHER], seed=7, told="\n".join(asked))
    decoder, shown = json.JSONDecoder(), {}
    for state in STATES:
        shown[state], end = decoder.raw_decode(said)
        said = said[end:].lstrip()
    return {state: Seen(world, before[state], shown[state]) for state, world in worlds.items()}


@pytest.mark.parametrize("state", list(STATES))
@pytest.mark.slow
def test_the_tick_does_what_another_process_has_shown(state: str, seen: dict[str, Seen]) -> None:
    world, shown = seen[state].world, seen[state].shown
    assert world.image() == seen[state].before
    assert shown["quiet"] is (state == "quiet")
    done = world.run(exactly=read(TickInput, shown["input"]))
    assert done.outcome == ("quiet" if state == "quiet" else "committed")
    compare(world, shown)


@pytest.mark.slow
def test_the_tick_of_a_third_process_does_the_same(tmp_path: Path) -> None:
    world = a_world(a_busy_town().agent("stranger", "witness", "working"), objects=DirectoryObjects(tmp_path))
    with_poison(world)
    shown = townctl("dry-run", "t1", "--now", to_text(T), "--observe", data=tmp_path, seed=1)
    given = tmp_path.with_name("input.json")
    given.write_text(json.dumps(shown))

    done = townctl("tick", "t1", "--input", str(given), data=tmp_path, seed=2)

    assert done["outcome"] == "committed"
    compare(world, shown)
    poisoned = {
        seen["eventId"]: seen["outcome"] for seen in shown["events"] if seen["outcome"] in ("poisoned", "failed")
    }
    assert sorted(poisoned.values()) == ["failed", "poisoned", "poisoned", "poisoned"]
