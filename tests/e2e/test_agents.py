"""The demo town in the whole stack: functions start agents through a control server, and the agents work in git and report.

Two more towns lose their worker's environment while it starts an agent. All towns run at the same time.
"""

import json
import shlex
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from infra.demo import scenario
from infra.demo.agent import AGENT_COMMAND, PACE_VARIABLE
from infra.devstack import git_seed
from infra.townctl.api_client import with_token
from shared.adapters import control_keys
from shared.adapters.clock import wait_for
from shared.domain.ids import derived_from
from tests.e2e.cloud import CONTROL_SECRET, KEY, LocalCloud
from tests.e2e.deployment import ask, fact, found_town, lose_the_worker, post
from tests.e2e.stalling_proxy import When
from tests.emf import dimensions_of, metrics_of

pytestmark = [pytest.mark.slow, pytest.mark.long]

DEMO: Final = "demo"
CONVOY: Final = "c0de0000-0000-4000-8000-000000000002"
TASKS: Final[list[dict[str, Any]]] = [
    {"title": "Write the lexer", "depends_on": []},
    {"title": "Write the parser", "depends_on": [0]},
]
LEXER, PARSER = (derived_from(DEMO, f"convoy:{CONVOY}:{index}") for index in range(len(TASKS)))
ALONE: Final = "bead0000-0000-4000-8000-000000000002"


@dataclass(frozen=True)
class Loss:
    """The request at which the environment of the worker that starts a town's first agent is killed."""

    town: str
    when: When
    method: str
    path: str


LOSSES: Final = {
    "before the commit arrives": Loss("demo-early", "before it arrives", "PUT", "/towns/demo-early/head"),
    "when the agent runs": Loss("demo-late", "after it was carried out", "POST", "/demo-late/agents/start"),
}
TOWNS: Final = (DEMO, *(loss.town for loss in LOSSES.values()))
CONFIG: Final = {**scenario.CONFIG, "agent_runtime": {"kind": "control_server"}}
_SECONDS: Final = 900.0


@dataclass(frozen=True)
class Life:
    """The state of the towns, from signed requests and from their repositories and containers."""

    cloud: LocalCloud

    def found(self, town: str, *events: dict[str, Any]) -> None:
        """A town with a repository, a container and a rig, and these events in its inbox."""
        repository = git_seed.create_repository(self.repository(town))
        git = git_seed.OFFLINE | git_seed.redirect({scenario.GIT_URL: repository})
        self.cloud.open_container(town, command=shlex.join(AGENT_COMMAND), environment={PACE_VARIABLE: "0", **git})
        found_town(self.cloud, town, CONFIG)
        rig = {"rig_id": "r1", "name": "work", "git_url": scenario.GIT_URL, "default_branch": "main"}
        assert post(self.cloud, fact("rig_registered", "rig-of-the-town", rig), *events, town=town).status == 202

    def lose(self, loss: Loss) -> None:
        """Kill the worker's environment during the tick that starts the town's first agent."""
        bead = {"bead_id": ALONE, "type": "issue", "title": f"Work for {loss.town}", "rig_id": "r1"}
        self.found(loss.town, fact("bead_created", "bead-of-the-town", {"bead": bead}))
        proxy = self.cloud.door if "/agents/" in loss.path else self.cloud.proxy
        lose_the_worker(self.cloud, proxy, loss.when, method=loss.method, path=loss.path)

    def repository(self, town: str) -> Path:
        return self.cloud.home / f"{town}.git"

    def merged(self, town: str) -> list[str]:
        """The subjects of the commits on main, newest first."""
        words = ["git", "log", "--format=%s", "main"]
        shown = subprocess.run(words, check=True, cwd=self.repository(town), capture_output=True, text=True)
        return shown.stdout.splitlines()

    def status(self, town: str) -> Any:
        return ask(self.cloud, "GET", f"/api/towns/{town}/status").document

    def bead(self, town: str, bead_id: str) -> Any:
        return ask(self.cloud, "GET", f"/api/towns/{town}/beads/{bead_id}").document

    def ticks(self, town: str) -> list[dict[str, Any]]:
        """The rows of the newest ticks."""
        shown = ask(self.cloud, "GET", f"/api/towns/{town}/ticks?limit=128").document["ticks"]
        return [tick["row"] for tick in shown]

    def actions(self, town: str, action_type: str) -> list[dict[str, Any]]:
        """The applied actions, in order."""
        judged = [each for tick in self.ticks(town) for each in tick["outputs"]["actions"]]
        applied = [each["action"] for each in judged if each["outcome"] == "applied"]
        return [action for action in applied if action["type"] == action_type]

    def events(self, town: str) -> list[dict[str, Any]]:
        """The events that were taken from the inbox, in order."""
        return [event for tick in self.ticks(town) for event in tick["outputs"]["events"]]

    def starts(self, town: str) -> list[str]:
        """The first output line of every agent process that ran in the town's container: name, generation, task."""
        logs = sorted(self.cloud.towns.containers[town].disk.glob("agents/*/*/*/agent.log"))
        lines = [line for log in logs for line in log.read_text(encoding="utf-8").splitlines()]
        return [line for line in lines if " generation " in line]

    def is_over(self, town: str) -> bool:
        """Whether every bead has landed, every agent's end was reported, and nothing is left to do."""
        started, ended = len(self.starts(town)), Counter(event["event_type"] for event in self.events(town))
        heard = 0 < started == ended["agent_completed"]
        return heard and not self.status(town)["beads"] and self.dry_run(town)["quiet"]

    def dry_run(self, town: str) -> Any:
        return ask(self.cloud, "POST", f"/api/towns/{town}/debug/reconcile-dry-run").document


@pytest.fixture(scope="module")
def life(cloud: LocalCloud) -> Life:
    """All towns after their work is done."""
    life = Life(cloud)
    for loss in LOSSES.values():
        life.lose(loss)
    convoy = {"convoy_id": CONVOY, "title": "Build a parser", "rig_id": "r1", "tasks": TASKS}
    life.found(DEMO, fact("convoy_created", "convoy-of-the-town", convoy))
    with cloud.by_itself():
        over = wait_for(lambda: all(life.is_over(town) for town in TOWNS), seconds=_SECONDS, every=1)
    assert over, [life.status(town) for town in TOWNS]
    return life


def test_a_convoy_is_built_reviewed_and_landed(life: Life) -> None:
    [convoy] = life.status(DEMO)["convoys"]
    assert (convoy["state"], convoy["total"], convoy["done"]) == ("landed", 2, 2)
    assert {life.bead(DEMO, bead)["bead"]["status"] for bead in (LEXER, PARSER, CONVOY)} == {"closed"}
    assert Counter(life.merged(DEMO)) >= Counter(["Write the lexer", "Write the parser", "Begin"])
    assert life.merged(DEMO)[0].startswith("Merge convoy/build-a-parser/")
    kinds = Counter(line.split(": ")[1].split()[0] for line in life.starts(DEMO))
    assert kinds == {"work": 2, "review": 2, "landing": 1}


def test_the_next_tick_of_a_town_that_is_done_would_do_nothing(life: Life) -> None:
    shown = life.dry_run(DEMO)
    assert (shown["quiet"], shown["actions"], shown["effects"]) == (True, [], [])


@pytest.mark.parametrize("town", TOWNS)
def test_a_history_with_agents_is_replayed_exactly(life: Life, town: str) -> None:
    ticks = life.ticks(town)
    window = {"from": ticks[0]["now"], "to": ticks[-1]["now"]}
    replayed = ask(life.cloud, "POST", f"/api/towns/{town}/debug/replay-events", window)
    assert replayed.status == 200
    assert replayed.document["exact"] is True
    assert [tick["tick"] for tick in replayed.document["ticks"]] == [tick["tick_no"] for tick in ticks]


def test_the_metrics_tell_of_every_start_and_of_no_violation(life: Life) -> None:
    lines = [line for line in life.cloud.lines() if line.get("town_id") == DEMO and "_aws" in line]
    total: Counter[str] = Counter()
    for line in lines:
        total.update({name: int(value) for name, value in metrics_of(line).items()})
    by_type = Counter({dimensions_of(line).get("actionType"): 0 for line in lines})
    for line in lines:
        by_type[dimensions_of(line).get("actionType")] += int(metrics_of(line).get("actionsByType", 0))
    starts = len(life.actions(DEMO, "dispatch_agent"))
    assert by_type["dispatch_agent"] == starts == len(life.starts(DEMO))
    assert total["sideEffectsAttempted"] == total["sideEffectsSucceeded"] >= starts
    assert total["sideEffectsFailed"] == total["invariantViolations"] == total["eventsPoisoned"] == 0


def test_sentry_heard_of_the_schedule_and_of_nothing_else(life: Life) -> None:
    assert life.cloud.sentry.of("check_in")
    assert life.cloud.sentry.of("event") == []


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_worker_that_is_lost_while_it_starts_an_agent_loses_no_work_and_starts_nobody_twice(
    life: Life, loss: Loss
) -> None:
    assert life.bead(loss.town, ALONE)["bead"]["status"] == "closed"
    assert life.merged(loss.town).count(f"Work for {loss.town}") == 1
    polecats = [line for line in life.starts(loss.town) if ": work " in line]
    assert polecats == [f"Toast generation 1: work {ALONE}"]
    assert len([each for each in life.actions(loss.town, "dispatch_agent") if each["bead_id"] == ALONE]) == 1
    assert set(Counter(event["event_id"] for event in life.events(loss.town)).values()) == {1}


def test_the_token_that_a_container_was_given_speaks_for_every_agent_of_its_town_and_of_no_other(life: Life) -> None:
    given = (life.cloud.towns.containers[DEMO].disk / "token").read_text(encoding="utf-8")
    agents = [agent for agent in life.status(DEMO)["agents"] if agent["role"] != "mayor"]
    assert {agent["role"] for agent in agents} == {"polecat", "refinery"}
    for agent in agents:
        said = fact("agent_heartbeat", f"{agent['role']}-beats", {}, agent_id=agent["agentId"])
        assert post(life.cloud, said, town=DEMO, shown=given).status == 202
        assert post(life.cloud, said, town="demo-early", shown=given).status == 404
        assert post(life.cloud, said, town="demo-nowhere", shown=given).status == 404


def test_the_token_of_an_agent_speaks_for_itself_alone(life: Life) -> None:
    polecat, refinery = (
        next(agent["agentId"] for agent in life.status(DEMO)["agents"] if agent["role"] == role)
        for role in ("polecat", "refinery")
    )
    [given] = life.cloud.towns.containers[DEMO].disk.glob(f"tokens/{polecat}.*")
    for agent, town, status in ((polecat, DEMO, 202), (refinery, DEMO, 403), (polecat, "demo-early", 404)):
        said = fact("agent_status", "an-agent-says-so", {"message": "I am done"}, agent_id=agent)
        assert post(life.cloud, said, town=town, shown=given.read_text(encoding="utf-8")).status == status


def test_a_control_server_answers_only_who_shows_its_key(life: Life) -> None:
    health = f"{life.cloud.door.url}/{DEMO}/health"
    assert with_token("GET", health, None, token=None).status == 401
    assert with_token("GET", health, None, token="guessed").status == 401
    for other in (CONTROL_SECRET, control_keys.derived(CONTROL_SECRET, "demo-early")):
        assert with_token("GET", health, None, token=other).status == 401
    own = control_keys.derived(CONTROL_SECRET, DEMO)
    assert with_token("GET", health, None, token=own).document["agents"] == []


def test_no_token_and_no_key_of_any_town_is_written_anywhere(life: Life) -> None:
    written = json.dumps(life.cloud.lines()) + json.dumps(life.cloud.sentry.items)
    assert KEY not in written
    assert CONTROL_SECRET not in written
    assert control_keys.derived(CONTROL_SECRET, DEMO) not in written
    assert "eyJ" not in written
    logs = life.cloud.home.glob("containers/*/agents/*/*/*/agent.log")
    assert not [log for log in logs if "eyJ" in log.read_text(encoding="utf-8")]
