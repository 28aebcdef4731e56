"""Retention over an hour of a fleet: each town has its turn once a day, and one that fails does not hold up the others."""

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from functions.retention.hour import HOURS, Retention, hour_of
from functions.schedule import ScheduledCall
from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import ClocksDisagree, StoreUnavailable
from shared.ports.steps import drive
from shared.runner.clock_guard import ClockGuard
from shared.runner.founding import found_town
from shared.runner.surroundings import Surroundings
from shared.storage import keys
from shared.storage.publishing import publish_snapshot
from shared.storage.retention import Keep
from shared.storage.towns import ObjectTownStore
from shared.telemetry.emf import EmfMetrics
from tests.emf import metrics_of
from tests.fakes import FakeClock, RecordingAlerts
from tests.towns import T

TOWNS = tuple(f"town-{number:02d}" for number in range(60))
AN_HOUR_LIFE = timedelta(minutes=15)


class PartlyDown(MemoryObjects):
    """A bucket in which the objects of some towns cannot be listed."""

    down: tuple[str, ...] = ()

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Any:
        if prefix in [keys.ltx_prefix(town) for town in self.down]:
            raise StoreUnavailable(f"list {prefix}: no answer", hint="try again")
        return super().list(prefix, after=after, limit=limit)


@dataclass
class Fleet:
    """Towns whose first snapshot nothing needs any more, because two newer ones are older than the window."""

    clock: FakeClock = field(default_factory=lambda: FakeClock(T))
    lines: list[dict[str, Any]] = field(default_factory=list)
    alerts: RecordingAlerts = field(default_factory=RecordingAlerts)
    store_lead: timedelta = timedelta(0)
    """How far the bucket's clock is ahead of the function's."""

    def __post_init__(self) -> None:
        self.objects = PartlyDown(kept_versions=0, now=self.clock.now)
        store = ObjectTownStore(self.objects)
        around = Surroundings(store=store, clock=self.clock)
        for town in TOWNS:
            drive(publish_snapshot(self.objects, drive(found_town(town, around, worker_id="founder"))))
        for day in (40, 50):
            self.clock.at = T + timedelta(days=day)
            for town in TOWNS:
                self.commit(store, town)
        self.clock.at = T + timedelta(days=90)
        self.retention = Retention(
            objects=self.objects,
            versions=self.objects,
            keep=Keep(commits=None),
            clock=self.clock,
            guard=ClockGuard(self.clock, lambda: self.clock.at + self.store_lead, lambda: 0.0, alerts=self.alerts),
            metrics=EmfMetrics(lambda line: self.lines.append(json.loads(line)), stage="test"),
            alerts=self.alerts,
        )

    def commit(self, store: ObjectTownStore, town: str) -> None:
        """The same image once more, at a later time, and as a snapshot."""
        from dataclasses import replace

        image = drive(store.load(town))
        facts = replace(image.facts, commit_id=f"{self.clock.at}", time=self.clock.at)
        drive(publish_snapshot(self.objects, drive(store.commit(image, image.content, facts))))

    def hour(self, number: int, *, remaining: timedelta = AN_HOUR_LIFE) -> Any:
        """The schedule calls for this hour of the day."""
        at = (T + timedelta(days=90)).replace(hour=number, minute=30)
        return self.retention.hour(ScheduledCall(scheduled_time=at), remaining=remaining)

    def snapshots(self, town: str) -> int:
        """How many snapshots of a town there are."""
        return len(self.objects.list(keys.ltx_prefix(town)).keys)


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def test_in_a_day_every_town_has_its_turn_once(fleet: Fleet) -> None:
    tidied = [fleet.hour(hour).towns for hour in range(HOURS)]

    assert sum(tidied) == len(TOWNS)
    assert max(tidied) < len(TOWNS) / 4  # and not all at once
    assert {fleet.snapshots(town) for town in TOWNS} == {1}
    assert all(fleet.objects.get(keys.head(town)) is not None for town in TOWNS)


def test_an_hour_touches_its_own_towns_alone_and_says_what_it_did(fleet: Fleet) -> None:
    hour = hour_of(TOWNS[0])
    report = fleet.hour(hour)

    mine = [town for town in TOWNS if hour_of(town) == hour]
    assert {town for town in TOWNS if fleet.snapshots(town) == 1} == set(mine)
    assert (report.towns, report.objects, report.left) == (len(mine), 2 * len(mine), 0)
    [line] = fleet.lines
    assert line["event"] == "retention.completed"
    assert metrics_of(line) == {
        "townsTidied": len(mine),
        "objectsForgotten": 2 * len(mine),
        "bytesForgotten": report.freed_bytes,
        "townsNotTidied": 0,
    }


def test_a_town_that_fails_is_told_and_the_others_have_their_turn(fleet: Fleet) -> None:
    hour = hour_of(TOWNS[0])
    mine = [town for town in TOWNS if hour_of(town) == hour]
    damaged, down = mine[0], mine[1]
    fleet.objects.down = (down,)
    newest = fleet.objects.list(keys.ltx_prefix(damaged)).keys[-1]
    fleet.clock.at -= timedelta(days=40)
    fleet.objects.put(newest, b"no snapshot")
    fleet.clock.at += timedelta(days=40)

    report = fleet.hour(hour)

    assert report.failed == {damaged: "DamagedImage", down: "StoreUnavailable"}
    assert report.towns == len(mine) - 2
    assert fleet.snapshots(damaged) == 3
    [alert] = fleet.alerts.raised  # what passes by itself is not told to people
    assert (alert.kind, alert.tags["townId"]) == ("retention_failed", damaged)
    assert metrics_of(fleet.lines[-1])["townsNotTidied"] == 2


def test_where_time_is_short_towns_are_left_to_the_next_day(fleet: Fleet) -> None:
    hour = hour_of(TOWNS[0])
    report = fleet.hour(hour, remaining=timedelta(seconds=60))

    assert (report.towns, report.left) == (0, sum(hour_of(town) == hour for town in TOWNS))
    assert {fleet.snapshots(town) for town in TOWNS} == {3}
    assert metrics_of(fleet.lines[-1])["townsNotTidied"] == report.left


def test_nothing_is_deleted_by_a_clock_that_disagrees_with_the_buckets(fleet: Fleet) -> None:
    fleet.store_lead = timedelta(days=-3650)
    before = fleet.objects.list("").keys

    for hour in range(HOURS):
        with pytest.raises(ClocksDisagree, match="3650 days ahead of the clock of the store"):
            fleet.hour(hour)

    assert fleet.objects.list("").keys == before
    assert [alert.kind for alert in fleet.alerts.raised] == ["clocks_disagree"]
