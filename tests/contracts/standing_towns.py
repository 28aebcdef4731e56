"""Towns in which everything has a value: each wait, each reason, each state of agents, processes, effects and events."""

from datetime import timedelta
from typing import Final, get_args

import pytest

from shared.domain.obstacles import OBSTACLES
from shared.domain.processes import ProcessState
from shared.domain.tick import Envelope
from shared.domain.times import to_text
from shared.ports.steps import drive
from shared.runner import worker
from shared.storage.in_place import restore_in_place
from shared.storage.restore import KeptPast
from shared.town import database
from tests.fakes import FakeProcess
from tests.replayed import a_world_with_a_past, past_of
from tests.scenarios.test_waits import PR, SINCE
from tests.small_layers import small_layers
from tests.towns import T, TownBuilder, a_town, ago, event
from tests.unit.questions.test_foresight import CASES
from tests.worlds import World


def _settling(town: TownBuilder) -> TownBuilder:
    return town.bead("b", status="in_progress", updated_at=ago(minutes=6)).key(
        "settling_until", to_text(T + timedelta(minutes=1))
    )


def _obstacles(town: TownBuilder) -> TownBuilder:
    """A pull request in progress for each obstacle."""
    for number, obstacle in enumerate(OBSTACLES, start=1):
        url = f"{PR.rpartition('/')[0]}/{100 + number}"
        notes = {
            "obstacle": obstacle,
            "obstacle_since": to_text(ago(minutes=5)),
            "last_poll_at": to_text(ago(seconds=5)),
        }
        town.review(f"m-{number:02}", "in_progress", pr_url=url, metadata={**notes, "pr_url": url, "head_sha": "sha-1"})
    return town


def _lacking(town: TownBuilder) -> TownBuilder:
    """A bead that depends on one that does not exist, and one whose convoy has failed."""
    return town.bead("lacks", metadata={"awaits": ["nobody"]}).bead("late").convoy("over", "failed", tracked=["late"])


def _paused(town: TownBuilder) -> TownBuilder:
    return town.bead("ready").key("paused", True)


MIXED: Final = "mixed"
REPEATED: Final = "repeated"
LONG: Final = "long"
RESTORED: Final = "restored"
ODD: Final = "odd"
ODD_IDS: Final = ("a/b", "what?", "#1", "50%", "ünïcode 🚂", "~tilde", '"quoted"')
REASONS: Final = {
    f"reason-{number}": build
    for number, build in enumerate([*(since[0] for since in SINCE.values()), _settling, _obstacles, _lacking, _paused])
}
WAITS: Final = {f"wait-{number}": (case[2], case[4]) for number, case in enumerate(CASES)}
"""Each with the row that waits."""


def a_world_that_stands_still() -> World:
    """All these towns at the time T, for which they are built."""
    world = a_world_with_a_past(
        *(build(a_town(town)) for town, build in REASONS.items()),
        *(build(a_town(town)) for town, (_, build) in WAITS.items()),
        _mixed(a_town(MIXED)),
        _odd(a_town(ODD)),
        _effects(
            a_town(REPEATED).bead("b").review("review", "in_progress", pr_url=PR).bead("torn", metadata="{not JSON")
        ),
    )
    for number, state in enumerate(get_args(ProcessState)):
        world.runtime.processes[MIXED, f"worker-{number}"] = FakeProcess(f"process-{number}", 1, state)
    return world


def an_event_comes_again(world: World) -> None:
    """The same event twice, then another one with its id; and one that stays in the inbox."""
    for title in ("One", "One", "Another"):
        world.clock.move(seconds=5)
        world.post(_renamed("same-event-1", title), town_id=REPEATED)
        world.run(town_id=REPEATED)
    world.post(_renamed("left-in-the-inbox", "Later"), town_id=REPEATED)


def a_world_with_a_long_past() -> World:
    """A town most of whose ticks are published and whose commits are not kept, and at last ticks of other code and SQLite."""
    world = a_world_with_a_past(a_town(LONG).bead("b"), kept_versions=2)
    with pytest.MonkeyPatch.context() as then:
        small_layers(then, 4096)
        for number in range(140):
            _tick(world, number)
    with pytest.MonkeyPatch.context() as then:
        then.setattr(worker, "code_version", lambda: "older")
        _tick(world, 140)
    with pytest.MonkeyPatch.context() as then:
        then.setattr(database, "SQLITE_VERSION", "3.0.0")
        _tick(world, 141)
    _tick(world, 142)
    return world


def a_world_with_a_restored_town() -> World:
    """A town that was restored in place after its third tick, to the state after the first one, and has gone on since."""
    world = a_world_with_a_past(a_town(RESTORED).bead("b"))
    for number in range(3):
        _tick(world, number, RESTORED)
    past = past_of(world)
    kept = KeptPast(past.objects, past.versions, RESTORED)
    old, now = drive(kept.at_txid(2)), world.clock.now()
    drive(restore_in_place(world.store, kept, old, now=now, worker_id="restorer"))
    _tick(world, 3, RESTORED)
    return world


def _tick(world: World, number: int, town: str = LONG) -> None:
    world.clock.move(seconds=30)
    world.post(event("town_started", event_id=f"started-{number:04}"), town_id=town)
    world.run(town_id=town)


def _renamed(event_id: str, title: str) -> Envelope:
    return event("bead_updated", {"title": title}, bead="b", event_id=event_id)


def _mixed(town: TownBuilder) -> TownBuilder:
    for priority in ("low", "medium", "high", "critical"):
        town.bead(f"b-{priority}", priority=priority, labels=["gt:held"], metadata={"note": priority})
    town.bead("molecule", "molecule").edge("b-low", "molecule", "parent-child")
    town.bead("reviewed", status="in_review").review("review", "in_progress", of="reviewed", pr_url=PR)
    town.bead("lost", status="failed").convoy("broken", "failed", tracked=["lost"])
    town.bead("planned").convoy("staged", tracked=["planned"], staged=1)
    for number, _ in enumerate(get_args(ProcessState)):
        bead = f"work-{number}"
        town.bead(bead, status="in_progress").agent(f"worker-{number}", status="working", hook=bead)
    town.agent("waits", status="waiting", last_activity_at=T).agent("dead", status="dead", last_activity_at=T)
    town.bead("slow", status="in_progress").agent("stalls", status="stalled", hook="slow", stalled_at=ago(seconds=9))
    _events(town)
    return _usage(town)


def _usage(town: TownBuilder) -> TownBuilder:
    """What an agent, its bead, a convoy and the town have used, of a model whose price is known and of one whose price is not."""
    sums = {"input_tokens": 1200, "output_tokens": 300, "cached_tokens": 9000, "cost_micros": 42_000}
    models = [{"model": "known", "priced_tokens": 10_500, **sums}, {"model": "unknown", "input_tokens": 7}]
    town.insert("agent_usage", agent_id="worker-0", generation=1, bead_id="work-0", models=models, reported_at=T)
    for kind, subject in (("bead", "work-0"), ("convoy", "staged"), ("day", to_text(T)[:10])):
        town.insert("usage_sums", kind=kind, subject=subject, priced_tokens=10_500, **sums)
    return town


def _odd(town: TownBuilder) -> TownBuilder:
    for bead in ODD_IDS:
        town.bead(bead)
    return town


def _events(town: TownBuilder) -> None:
    about = {"event_type": "bead_updated", "bead_id": "b-high", "payload": {"title": "x"}}
    for seq, (source, columns) in enumerate(
        {
            "operator": {"poisoned_at": ago(minutes=1), "outcome": "poisoned", "processed_at": ago(minutes=1)},
            "derived": {},
        }.items(),
        start=1,
    ):
        times = {"created_at": ago(minutes=2), "received_at": ago(minutes=2)}
        town.insert("town_events", event_id=f"event-{seq}", seq=seq, source=source, **about, **times, **columns)
    town.key("next_seq", 3)


def _effects(town: TownBuilder) -> TownBuilder:
    asked = ("update_model", "verify_merge", "update_branch", "dequeue", "request_review")
    for seq, (kind, state) in enumerate([*((kind, "pending") for kind in asked), ("poll_pr", "claimed")], start=1):
        town.insert(
            "outbox",
            effect_id=f"effect-{seq}",
            seq=seq,
            kind=kind,
            subject="review",
            generation=0,
            payload={},
            state=state,
            claim=f"claim-{seq}" if state == "claimed" else None,
            claimed_until="2027-01-01T00:00:00.000Z" if state == "claimed" else None,
            not_before="2027-01-01T00:00:00.000Z",
            deadline="2028-01-01T00:00:00.000Z",
            created_at=ago(minutes=1),
        )
    return town
