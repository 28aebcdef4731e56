"""The shadow of a deployment: towns in a bucket with a table, whose worker ticks them between the looks of the shadow.

The bucket and the table are those of moto's server, because the code that is tried reads them from a process of its own.
"""

import json
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from infra.buckets import TABLE_ENDPOINT_VARIABLE, TABLE_VARIABLE, Bucket
from infra.devstack.s3_servers import S3Server
from infra.devstack.waiting_tables import make_table
from infra.townctl import main
from infra.townctl.context import Context
from infra.townctl.other_code import OtherCode
from infra.townctl.shadow import Follower
from shared.history.self_check import chosen
from shared.ports.queue import Wake
from shared.replay.backtest.summary import Backtest, TownBacktest, summary_of
from shared.telemetry.emf import EmfMetrics
from tests.cloud import Cloud, a_cloud
from tests.integration.other_trees import a_tree
from tests.patience import PATIENCE_SECONDS
from tests.stores import BUCKET
from tests.towns import a_town, event
from tests.worlds import a_world

pytestmark = pytest.mark.slow

SHARE = 0.5
FOLLOWED, OTHERS = ("delta", "eta", "zeta"), ("alpha", "beta")

NO_B1 = ""
B1_BY_TOWN = """\
    Rule("B1", lambda town, tick: {
        "delta": lambda: 1 // 0,
        "eta": lambda: __import__("os")._exit(9),
        "zeta": lambda: (),
    }[tick.town_id]()),
"""
B1_HANGS_IN_DELTA = """\
    Rule("B1", lambda town, tick: __import__("time").sleep(10_000) if tick.town_id == "delta" else ()),
"""


@dataclass
class Deployment:
    """Towns in the bucket, the functions over them, and all that anybody could see of it."""

    server: S3Server
    bucket: Bucket
    cloud: Cloud

    def live(self, bead: str) -> None:
        """A bead is made in every town, and the worker gives it an agent in one tick and learns of its start in the next."""
        self.cloud.world.clock.move(seconds=30)
        for town in FOLLOWED + OTHERS:
            about = {"bead": {"bead_id": bead, "type": "issue", "title": bead, "rig_id": "rig-1"}}
            self.cloud.world.post(event("bead_created", about, event_id=f"made-{bead}-event"), town_id=town)
            now = self.cloud.world.clock.now()
            self.cloud.queue.send([Wake(town, (now,), f"{town}:{bead}")])
        while self.cloud.queue.pump(self.cloud.work):
            pass
        assert {self.cloud.world.town(town).status(bead) for town in FOLLOWED + OTHERS} == {"in_progress"}

    def seen(self) -> Any:
        """Every version of every object with its etag, every item of the table, what is queued, and what was measured."""
        client, tables = self.server.client(), self.server.tables()
        objects = []
        for page in client.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
            objects += [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        items = [
            item
            for page in tables.get_paginator("scan").paginate(TableName=self.bucket.table)
            for item in page["Items"]
        ]
        queued = [message.record() for message in self.cloud.queue.messages]
        alerts = list(self.cloud.world.alerts.raised)
        return json.dumps([objects, items, queued, self.cloud.lines, alerts], default=repr, sort_keys=True)


@pytest.fixture
def deployment(moto: S3Server, as_owner: None, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    moto.empty(BUCKET)
    table = make_table(moto.tables(), f"waiting-{uuid.uuid4().hex}")
    monkeypatch.setenv(TABLE_VARIABLE, table)
    monkeypatch.setenv(TABLE_ENDPOINT_VARIABLE, moto.endpoint_url)
    bucket = Bucket(BUCKET, moto.endpoint_url, table=table, table_endpoint=moto.endpoint_url)
    towns = [a_town(town) for town in FOLLOWED + OTHERS]
    return Deployment(moto, bucket, a_cloud(a_world(*towns, objects=bucket.objects())))


@dataclass
class Shadow:
    """The shadow of a share of the towns, and what it says and measures."""

    deployment: Deployment
    follower: Follower
    lines: list[dict[str, Any]]
    capsys: pytest.CaptureFixture[str]

    def look(self) -> str:
        """One look; what it said. Nothing of the deployment may be otherwise afterwards."""
        before = self.deployment.seen()
        self.capsys.readouterr()
        self.follower.look()
        assert self.deployment.seen() == before
        return self.capsys.readouterr().out

    def found(self) -> Backtest:
        """The summary that the shadow ends with."""
        return summary_of(self.follower.found, accepted=False)

    def of(self, town: str) -> TownBacktest:
        """What it found in one town."""
        (found,) = (each for each in self.found().towns if each.town_id == town)
        return found


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def shadow(deployment: Deployment, opened: ExitStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Starts the shadow of a share of the towns with other code in the place of rule B1."""

    def started(b1: str, *, limit: int = int(PATIENCE_SECONDS)) -> Shadow:
        context = Context(named_bucket=deployment.bucket)
        children = opened.enter_context(OtherCode(a_tree(tmp_path / "tree", b1), context, children=1, limit=limit))
        lines: list[dict[str, Any]] = []
        metrics = EmfMetrics(lambda line: lines.append(json.loads(line)), stage="shadow")
        towns = [town for town in sorted(FOLLOWED + OTHERS) if chosen(town, SHARE)]
        follower = Follower(context, context.store(), children, towns, metrics=metrics)
        follower.start(recent=0)
        return Shadow(deployment, follower, lines, capsys)

    return started


def test_what_other_code_would_do_is_counted_and_named_for_the_followed_towns_only(
    deployment: Deployment, shadow: Any
) -> None:
    beside = shadow(NO_B1)
    assert beside.look() == "", "there is no new tick yet"
    for bead in ("b1", "b2"):
        deployment.live(bead)
        said = beside.look()
        for town in FOLLOWED:
            assert f"{town} tick " in said
            assert f"lost B1 dispatch_agent {bead}" in said
        assert not any(town in said for town in OTHERS)
    made = beside.found()
    assert [town.town_id for town in made.towns] == sorted(FOLLOWED)
    assert {(town.ticks, town.ticks_that_differ, town.problems) for town in made.towns} == {(4, 2, ())}
    (line,) = (each for each in made.changes if each.name == "dispatch_agent")
    assert (line.lost, line.gained, line.towns) == (6, 0, tuple(sorted(FOLLOWED)))
    assert sum(line["shadowDifferences"][0] for line in beside.lines) == made.ticks_that_differ == 6


def test_the_command_chooses_the_share_and_changes_nothing(
    deployment: Deployment, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deployment.live("b1")
    before = deployment.seen()
    words = ("shadow", "--once", "--share", str(SHARE), "--code", str(a_tree(tmp_path / "tree", NO_B1)))
    assert main.run([*deployment.bucket.options(), *words]) == 1
    assert deployment.seen() == before
    said = capsys.readouterr().out
    assert "3 towns of 5, beside the code in" in said
    assert {town: f"{town} tick " in said for town in FOLLOWED + OTHERS} == {
        **dict.fromkeys(FOLLOWED, True),
        **dict.fromkeys(OTHERS, False),
    }


def test_code_that_raises_or_ends_its_process_stops_neither_the_live_ticks_nor_the_other_towns(
    deployment: Deployment, shadow: Any
) -> None:
    beside = shadow(B1_BY_TOWN)
    for bead in ("b1", "b2"):
        deployment.live(bead)
        said = beside.look()
        assert f"lost B1 dispatch_agent {bead}" in said
        assert "town eta (exit code 9)" in said
        assert said.count("delta: the code failed in tick ") == 2, (
            "in each tick, although the rule has nothing to do in one"
        )
    assert (beside.of("zeta").ticks_that_differ, beside.of("zeta").problems) == (2, ())
    assert (beside.of("delta").ticks, beside.of("delta").ticks_that_differ) == (4, 2)
    (problem,) = beside.of("delta").problems
    assert "ZeroDivisionError" in problem
    assert (beside.of("eta").ticks, len(beside.of("eta").problems)) == (0, 2)


@pytest.mark.long
def test_code_that_hangs_costs_its_town_the_ticks_of_a_look_and_the_other_towns_nothing(
    deployment: Deployment, shadow: Any
) -> None:
    """One child runs the code for all towns. It waited for the rule for ever, and with it every other town."""
    beside = shadow(B1_HANGS_IN_DELTA, limit=20)
    deployment.live("b1")
    deployment.live("b2")
    said = beside.look()
    assert "did not answer in 20 seconds on tick " in said
    assert {town: beside.of(town).ticks_that_differ for town in FOLLOWED} == {"delta": 0, "eta": 2, "zeta": 2}
    deployment.live("b3")
    said = beside.look()
    assert said.index("zeta tick ") < said.index("did not answer"), "a town that hung comes last in the next look"
    assert {town: beside.of(town).ticks_that_differ for town in FOLLOWED} == {"delta": 0, "eta": 3, "zeta": 3}
    assert [problem.rpartition("; ")[2].split()[0] for problem in beside.of("delta").problems] == ["ticks", "ticks"]
