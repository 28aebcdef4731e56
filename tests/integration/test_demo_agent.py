"""The demo agent does real work: real processes, real git, and reports as a town would receive them."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.agents.posting import NotPosted, patiently, poster_from
from infra.demo import scenario
from infra.demo.agent import AGENT_COMMAND, PACE_VARIABLE
from infra.demo.order import order_from
from infra.demo.reports import Reports
from infra.devstack import git_seed
from shared.adapters.clock import CLOCK_VARIABLE, ScaledClock, SystemClock, wait_for
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.local_processes import LocalProcessRuntime
from shared.domain import wire
from shared.domain.errors import Refused
from shared.domain.orders import StartOrder
from shared.domain.processes import ProcessStatus
from shared.images import first_image
from shared.intake import ingest
from shared.ports.runtime import Started
from shared.ports.steps import drive
from shared.ports.town_store import CommitFacts
from shared.storage.towns import ObjectTownStore
from tests.conventions.sources import ROOT
from tests.patience import PATIENCE_SECONDS

GIT_URL = "https://git.demo.invalid/town/work.git"
BEAD = "0a1b2c3d-0000-8000-8000-000000000001"
FEATURE = "convoy/demo/0a0a0a0a/head"
MODULE = "features/add_a_parser_0a1b2c3d.py"
BRANCH = "gt/toast/0a1b2c3d"


class Bench:
    """A bare repository, a runtime of demo agents, and the events that they have posted."""

    def __init__(self, directory: Path) -> None:
        self.bare = git_seed.create_repository(directory / "work.git")
        self.directory = directory
        self.posted = directory / "posted.jsonl"
        append = f"batch=$(cat); printf '%s\\n' \"$batch\" >> '{self.posted}'"  # one write, so agents do not mix lines
        environment = {
            "PYTHONPATH": str(ROOT),
            "PYTHONDONTWRITEBYTECODE": "1",
            PACE_VARIABLE: "1.0",
            CLOCK_VARIABLE: ScaledClock.starting_now(speed=400).to_text(),
            "TOWN_AGENT_POST": json.dumps(["sh", "-c", append]),
            **git_seed.redirect({GIT_URL: self.bare}),
        }
        self.runtime = LocalProcessRuntime(directory / "runtime", command=AGENT_COMMAND, environment=environment)

    def start(self, order: StartOrder) -> None:
        """Start one agent."""
        effect_id = f"{order.agent_id}-{order.generation}"
        assert isinstance(self.runtime.start(order, effect_id=effect_id), Started)

    def end_of(self, order: StartOrder) -> ProcessStatus:
        """How the agent of this order ended, once it has."""
        assert wait_for(lambda: self.status(order).status == "exited", seconds=PATIENCE_SECONDS), self.log(order)
        return self.status(order)

    def status(self, order: StartOrder) -> ProcessStatus:
        """What the runtime says of the agent now."""
        return self.runtime.status("demo", order.agent_id)

    def run(self, order: StartOrder) -> ProcessStatus:
        """Start an agent and wait for its end."""
        self.start(order)
        return self.end_of(order)

    def log(self, order: StartOrder) -> str:
        """What the agent printed."""
        generation = f"{order.generation:08d}"
        return (self.directory / "runtime" / "demo" / order.agent_id / generation / "agent.log").read_text()

    def events(self, *types: str) -> list[dict[str, Any]]:
        """What was posted, in order, of these types."""
        posted = [event for batch in self.batches() for event in json.loads(batch)]
        return [event for event in posted if event["event_type"] in types]

    def batches(self) -> list[str]:
        """What came in, a line each; a line is empty where an agent's end cut its last heartbeat short."""
        return [line for line in self.posted.read_text().splitlines() if line] if self.posted.exists() else []

    def refused(self) -> list[str]:
        """What the one way into a town does not accept."""
        return [problem for batch in self.batches() for problem in _problems(batch)]

    def git(self, *words: str) -> str:
        """Ask the bare repository."""
        done = subprocess.run(["git", *words], cwd=self.bare, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def files(self, branch: str) -> set[str]:
        """What stands on a branch."""
        return set(self.git("ls-tree", "-r", "--name-only", branch).splitlines())


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A new repository; no agent outlives the test, and a town accepts everything that the agents report."""
    bench = Bench(tmp_path)
    yield bench
    assert bench.runtime.stop_all() == ()
    assert bench.refused() == []


def work(*, bead_id: str = BEAD, title: str = "Add a parser", body: str = "", **changes: Any) -> StartOrder:
    """The start order of a polecat for an issue."""
    order = {
        "town_id": "demo",
        "organization_id": None,
        "agent_id": "polecat-1",
        "role": "polecat",
        "identity": "Toast-polecat-rig-1@demo",
        "generation": 1,
        "runtime": "local",
        "rig": {"id": "rig-1", "name": "work", "git_url": GIT_URL, "default_branch": "main"},
        "bead": {"id": bead_id, "type": "issue", "title": title, "body": body, "labels": [], "metadata": {}},
        "prompt_kind": "work",
        "branch": None,
        "target_branch": None,
        "pr_url": None,
        "feature_branch": None,
        "merge_strategy": "direct",
    }
    return wire.read(StartOrder, {**order, **changes})


def review(*, branch: str = BRANCH, target: str = "main", body: str = "", **changes: Any) -> StartOrder:
    """The start order of a refinery for a merge request."""
    mr = {
        "id": "mr-1",
        "type": "merge_request",
        "title": f"Review: {branch}",
        "body": body,
        "labels": [],
        "metadata": {},
    }
    refinery = {"agent_id": "refinery-1", "role": "refinery", "identity": "Refinery-refinery-rig-1@demo"}
    merge = {"prompt_kind": "review", "branch": branch, "target_branch": target, "bead": mr}
    given: dict[str, Any] = {**refinery, **merge, **changes}
    return work(**given)


def test_a_polecat_pushes_a_commit_and_reports_it(bench: Bench) -> None:
    """The branch holds a module of the bead, by the agent, on top of main; the report names branch, bead and
    generation.
    """
    assert bench.run(work()) == ProcessStatus("exited", "completed", 1)
    assert bench.git("log", "--format=%an %s", "main.." + BRANCH) == "Toast Add a parser"
    assert MODULE in bench.files(BRANCH)
    [done] = bench.events("agent_done")
    assert done["event_id"] == "polecat-1:1:done"
    assert done["agent_id"] == "polecat-1"
    assert done["bead_id"] == BEAD
    assert done["payload"] == {"branch": BRANCH, "generation": 1, "summary": f"Adds {MODULE}."}


def test_an_agent_sends_heartbeats_with_its_generation_from_its_start(bench: Bench) -> None:
    """Every heartbeat carries the fencing number and has an id of its own."""
    bench.run(work(generation=3))
    beats = bench.events("agent_heartbeat")
    assert {beat["payload"]["generation"] for beat in beats} == {3}
    assert [beat["event_id"] for beat in beats] == [f"polecat-1:3:heartbeat-{n}" for n in range(1, len(beats) + 1)]


def test_a_refinery_merges_with_a_merge_commit(bench: Bench) -> None:
    """The work is on main, by a commit with two parents; the report carries no pull request."""
    bench.run(work())
    assert bench.run(review()) == ProcessStatus("exited", "completed", 1)
    assert MODULE in bench.files("main")
    assert bench.git("log", "-1", "--format=%an %s", "main") == f"Refinery Merge {BRANCH}"
    assert len(bench.git("log", "-1", "--format=%P", "main").split()) == 2
    assert bench.events("agent_done")[-1]["bead_id"] == "mr-1"
    assert bench.events("agent_done")[-1]["payload"] == {"branch": BRANCH, "generation": 1}


def test_a_review_that_was_done_before_is_only_reported(bench: Bench) -> None:
    """The refinery was lost between push and report: the next generation merges nothing twice."""
    bench.run(work())
    bench.run(review())
    landed = bench.git("rev-parse", "main")
    assert bench.run(review(generation=2)) == ProcessStatus("exited", "completed", 2)
    assert bench.git("rev-parse", "main") == landed
    assert bench.events("agent_done")[-1]["event_id"] == "refinery-1:2:done"


def test_a_task_of_a_convoy_builds_on_its_blocker_and_lands_with_it(bench: Bench) -> None:
    """The feature branch is made from main, the second task sees the first one's module, and both land together."""
    second = "ffff0000-0000-8000-8000-000000000002"
    assert bench.run(work(feature_branch=FEATURE)).exit_reason == "completed"
    assert bench.run(review(target=FEATURE)).exit_reason == "completed"
    order = work(bead_id=second, title="Use it", feature_branch=FEATURE, generation=2)
    assert bench.run(order).exit_reason == "completed"
    assert "BUILDS_ON = ['add_a_parser_0a1b2c3d']" in bench.git("show", "gt/toast/ffff0000:features/use_it_ffff0000.py")
    assert bench.run(review(branch="gt/toast/ffff0000", target=FEATURE, generation=2)).exit_reason == "completed"
    assert MODULE not in bench.files("main")
    landing = review(branch=FEATURE, generation=3, prompt_kind="landing")
    assert bench.run(landing).exit_reason == "completed"
    assert {MODULE, "features/use_it_ffff0000.py"} <= bench.files("main")


def test_the_branch_of_new_work_may_be_named_before_it_exists(bench: Bench) -> None:
    """A control server names the branch of every order. An agent that took such an order for rework looked for the
    feature branch of a convoy that nobody had begun, and gave up.
    """
    assert bench.run(work(feature_branch=FEATURE, branch=BRANCH, target_branch=FEATURE)).exit_reason == "completed"
    assert MODULE in bench.files(BRANCH)
    [done] = bench.events("agent_done")
    assert done["payload"]["branch"] == BRANCH


def test_crash_once_crashes_before_the_report_and_not_again(bench: Bench) -> None:
    """Exit code 3 with the work pushed; the next generation, and another agent too, takes it up and reports."""
    body = "Please.\ndemo: crash-once\n"
    assert bench.run(work(body=body)) == ProcessStatus("exited", "crashed (exit code 3)", 1)
    assert bench.events("agent_done") == []
    pushed = bench.git("rev-parse", BRANCH)
    assert bench.run(work(body=body, generation=2)) == ProcessStatus("exited", "completed", 2)
    assert bench.git("rev-parse", BRANCH) == pushed
    assert [done["payload"]["generation"] for done in bench.events("agent_done")] == [2]
    other = work(body=body, agent_id="polecat-2", identity="Maple-polecat-rig-1@demo")
    assert bench.run(other).exit_reason == "completed"


def test_a_hanging_agent_becomes_silent_and_can_be_superseded(bench: Bench) -> None:
    """It still runs, but sends no heartbeats; the next generation stops it and does the work."""
    body = "demo: hang"
    bench.start(work(body=body))
    assert wait_for(lambda: "Hanging" in str(bench.events("agent_status")), seconds=PATIENCE_SECONDS)
    assert bench.runtime.status("demo", "polecat-1").status == "running"
    under_way = len(bench.events("agent_heartbeat")) + 1
    assert not wait_for(lambda: len(bench.events("agent_heartbeat")) > under_way, seconds=0.5)
    assert bench.run(work(body=body, generation=2)).exit_reason == "completed"
    assert [done["payload"]["generation"] for done in bench.events("agent_done")] == [2]


def test_a_liar_reports_another_generation_first(bench: Bench) -> None:
    """The lie has a generation that the town rejects; the truth follows."""
    bench.run(work(body="demo: lie", generation=5))
    told = [(event["payload"]["generation"], event["payload"]["branch"]) for event in bench.events("agent_done")]
    assert told == [(4, f"{BRANCH}-never-pushed"), (5, BRANCH)]


def test_a_reviewer_asks_for_changes_once(bench: Bench) -> None:
    """The summary contains the switch; the review requests a test; after the rework it merges."""
    bench.run(work(body="demo: changes-once"))
    summary = bench.events("agent_done")[0]["payload"]["summary"]
    bench.run(review(body=summary))
    [asked] = bench.events("changes_requested")
    assert asked["payload"] == {"feedback": f"Please add a test for {MODULE}.", "files": [MODULE], "generation": 1}
    assert [event["event_type"] for event in bench.events("agent_done", "changes_requested")][1:] == [
        "changes_requested",
        "agent_done",
    ]
    assert MODULE not in bench.files("main")
    rework = work(bead_id="rework-1", title="Rework: it", prompt_kind="rework", branch=BRANCH, target_branch="main")
    assert bench.run(replace(rework, generation=2)).exit_reason == "completed"
    assert bench.run(review(body=summary, generation=2)).exit_reason == "completed"
    assert {MODULE, "tests/test_add_a_parser_0a1b2c3d.py"} <= bench.files("main")
    assert len(bench.events("changes_requested")) == 1


def test_a_review_requests_that_a_conflict_is_resolved_and_it_is(bench: Bench) -> None:
    """Two branches wrote the same file: the review names it, the rework resolves it, the next review lands it."""
    clash = "ffff0000-0000-8000-8000-000000000001"
    bench.run(work())
    _write(bench, branch="main", path=MODULE, text="BUILDS_ON = []\n\ndef describe() -> str:\n    return 'other'\n")
    bench.run(review())
    [asked] = bench.events("changes_requested")
    assert asked["payload"]["files"] == [MODULE]
    rework = work(bead_id=clash, prompt_kind="rework", branch=BRANCH, target_branch="main", generation=2)
    assert bench.run(rework).exit_reason == "completed"
    assert bench.run(review(generation=2)).exit_reason == "completed"
    assert "Add a parser" in bench.git("show", f"main:{MODULE}")


def test_five_agents_push_into_one_repository_at_once(bench: Bench) -> None:
    """Four tasks of a convoy, all of them creating its feature branch, and one bead on main: nothing is lost."""
    names = ["Toast", "Maple", "Birch", "Shadow", "Clover"]
    orders = [
        work(
            agent_id=f"polecat-{n}",
            identity=f"{name}-polecat-rig-1@demo",
            bead_id=f"{n}{BEAD[1:]}",
            feature_branch=None if n == 4 else FEATURE,
        )
        for n, name in enumerate(names)
    ]
    for order in orders:
        bench.start(order)
    assert {bench.end_of(order).exit_reason for order in orders} == {"completed"}
    branches = bench.git("for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines()
    assert set(branches) == {"main", FEATURE, *(f"gt/{name.lower()}/{n}a1b2c3d" for n, name in enumerate(names))}
    assert len(bench.events("agent_done")) == 5


def test_a_mirror_that_a_kill_has_damaged_is_created_again(bench: Bench) -> None:
    """A stale lock file does not stop the next generation."""
    bench.run(work())
    mirror = bench.directory / "runtime" / "demo" / "polecat-1" / "work" / "mirror.git"
    (mirror / "refs" / "remotes" / "origin" / "main.lock").write_text("")
    _write(bench, branch="main", path="note.txt", text="news")
    order = work(generation=2, bead_id="ffff0000-0000-8000-8000-000000000009")
    assert bench.run(order).exit_reason == "completed"
    assert "note.txt" in bench.files("gt/toast/ffff0000")


def test_a_branch_that_is_reused_contains_the_current_base(bench: Bench) -> None:
    """Main has changed since the first attempt; the second one merges it instead of causing a conflict."""
    bench.run(work(body="demo: crash-once"))
    _write(bench, branch="main", path="note.txt", text="news")
    bench.run(work(body="demo: crash-once", generation=2))
    assert {MODULE, "note.txt"} <= bench.files(BRANCH)


def test_a_triage_polecat_answers_every_request(bench: Bench) -> None:
    """Each request is resolved, and the batch is done, in one go."""
    batch = {
        "id": BEAD,
        "type": "issue",
        "title": "Triage",
        "labels": ["gt:triage"],
        "metadata": {"request_ids": ["r1", "r2"]},
    }
    assert bench.run(work(prompt_kind="triage", bead=batch)).exit_reason == "completed"
    answers = [(event["bead_id"], event["payload"]["action"]) for event in bench.events("triage_resolved")]
    assert answers == [("r1", "RESTART"), ("r2", "RESTART")]
    assert len(bench.events("agent_done")) == 1


@pytest.mark.parametrize(
    ("role", "body", "labels", "switches"),
    [
        ("polecat", "Do it.\ndemo: crash-once\n demo:  lie ", [], {"crash-once", "lie"}),
        ("polecat", "", ["demo:hang", "gt:held"], {"hang"}),
        ("polecat", "We demo: hang things; demo: juggle", [], set()),
        ("polecat", "demo: review-lie", [], set()),
        ("refinery", "Adds x.\ndemo: changes-once\ndemo: review-lie", [], {"changes-once", "lie"}),
    ],
)
def test_a_bead_contains_the_switches_for_its_agent(
    role: str, body: str, labels: list[str], switches: set[str]
) -> None:
    """Whole lines and labels count; the reviewer's switches apply only to the reviewer."""
    order = work(role=role, bead={"id": BEAD, "title": "Do it", "body": body, "labels": labels})
    assert order_from(order).switches == switches


def test_the_summary_contains_the_switches_of_the_reviewer() -> None:
    """It contains no other switches."""
    order = order_from(work(body="demo: review-hang\ndemo: crash-once\ndemo: changes-once"))
    assert order.lines_for_the_reviewer == "\ndemo: changes-once\ndemo: review-hang"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"merge_strategy": "pr"}, "or set the town's merge_strategy to direct"),
        ({"rig": {"git_url": "https://elsewhere.invalid/x.git", "default_branch": "main"}}, "not allowed"),
        ({"rig": None}, "cannot read the order"),
    ],
)
def test_an_agent_that_cannot_work_says_why_and_fails(bench: Bench, change: dict[str, Any], said: str) -> None:
    """No network, no pull requests, no rig: it ends with a code that counts as lost, and its log says what to do."""
    order = work(**change)
    assert str(bench.run(order).exit_reason).startswith("crashed")
    assert said in bench.log(order)
    assert bench.events("agent_done") == []


def test_a_town_accepts_the_scenario_of_the_demo() -> None:
    """Its events pass ingestion, and its settings are a valid configuration."""
    assert _problems(json.dumps(scenario.opening_events())) == []
    assert first_image.found(scenario.TOWN_ID, config=scenario.CONFIG)


def test_an_agent_posts_directly_into_a_data_directory(tmp_path: Path) -> None:
    """The same code as behind the API, in the agent's process: the inbox holds the batch, and the town is woken."""
    store = ObjectTownStore(DirectoryObjects(tmp_path))
    clock = ScaledClock.starting_now(speed=40)
    now = clock.now()
    facts = CommitFacts(commit_id="c1", tick_no=0, time=now, next_due=None, schema_version=1)
    town = drive(store.create("demo", first_image.found("demo"), facts))
    drive(store.clear_due(tuple(marker.key for marker in drive(store.due(now + timedelta(hours=1))))))
    poster = poster_from({"TOWN_AGENT_DATA": str(tmp_path)}, town_id=town.town_id, clock=clock)
    order = order_from(work())
    Reports(order, poster, clock).heartbeat()
    assert drive(store.due(clock.now())) == ()
    Reports(order, poster, clock).done(BRANCH)
    assert [marker.town_id for marker in drive(store.due(clock.now()))] == ["demo"]
    batches = drive(store.read_inbox("demo", limit=10)).objects
    types = [event.event_type for batch in batches for event in ingest.read_object(batch.key, batch.body)]
    assert types == ["agent_heartbeat", "agent_done"]


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "cannot report to town demo: set TOWN_API .a URL., TOWN_AGENT_POST"),
        ({"TOWN_AGENT_POST": '"townctl"'}, "JSON list of words"),
        ({"TOWN_AGENT_POST": "[]"}, "JSON list of words"),
    ],
)
def test_an_agent_without_a_way_to_its_town_reports_an_error(environment: dict[str, str], said: str) -> None:
    """The message names the variable and its form."""
    with pytest.raises(ValueError, match=said):
        poster_from(environment, town_id="demo", clock=SystemClock())


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"TOWN_AGENT_POST": '["/nowhere/townctl"]'}, "/nowhere/townctl"),
        ({"TOWN_AGENT_POST": '["sh", "-c", "echo no such town >&2; exit 3"]'}, "ended with 3: no such town"),
        ({"TOWN_AGENT_DATA": "{data}"}, "no town demo here"),
    ],
)
def test_a_report_that_is_refused_says_why(environment: dict[str, str], said: str, tmp_path: Path) -> None:
    """A command that is missing or fails, a town that is not there: NotPosted with the reason."""
    settings = {name: value.format(data=tmp_path) for name, value in environment.items()}
    poster = poster_from(settings, town_id="demo", clock=SystemClock())
    with pytest.raises(NotPosted, match=said):
        poster.post([{"event_id": "a1:1:heartbeat-1", "event_type": "agent_heartbeat", "agent_id": "a1"}])


def test_a_report_is_retried_until_it_is_accepted() -> None:
    """Two failures and then a success are one report; after five failures it gives up."""
    clock = ScaledClock.starting_now(speed=100_000)
    answers = iter([NotPosted("busy"), NotPosted("busy"), None])

    def post() -> None:
        answer = next(answers)
        if answer:
            raise answer

    patiently(post, clock=clock)
    assert list(answers) == []
    with pytest.raises(NotPosted, match="gone"):
        patiently(_never_posted, clock=clock)


def _never_posted() -> None:
    raise NotPosted("gone")


def _problems(line: str) -> list[str]:
    try:
        ingest.accept(line.encode(), received_at=SystemClock().now())
    except Refused as problem:
        return [f"{problem.path}: {problem.message}"]
    return []


def _write(bench: Bench, *, branch: str, path: str, text: str) -> None:
    """Commit one file on a branch of the bare repository, as somebody else would."""
    tree = bench.directory / "elsewhere"
    settings = ["-c", "user.name=Else", "-c", "user.email=else@town.invalid"]
    subprocess.run(["git", "clone", "--quiet", "--branch", branch, str(bench.bare), str(tree)], check=True)
    (tree / path).parent.mkdir(exist_ok=True)
    (tree / path).write_text(text)
    subprocess.run(["git", "add", "."], cwd=tree, check=True)
    subprocess.run(["git", *settings, "commit", "--quiet", "-m", "Elsewhere"], cwd=tree, check=True)
    subprocess.run(["git", "push", "--quiet", "origin", branch], cwd=tree, check=True)
