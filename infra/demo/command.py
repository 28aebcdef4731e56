"""`townctl demo`: a whole town on this machine, with real agent processes and a real git repository, on a fast clock.

Everything behaves as specified; only the clock, which the town and its agents share, is fast. One agent crashes on purpose, and
the rules recover its bead. The demo fails (exit code 1) if this recovery, or anything else that the demo promises, does not
happen.
"""

import shutil
import subprocess
import sys
import webbrowser
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Final

from cyclopts import Parameter
from rich.console import Console

from infra.agents.drivers.known import driver_of
from infra.demo import pull_summary, scenario, story
from infra.demo import stage as stages
from infra.demo.pull_summary import PullRequest
from infra.demo.stage import TOWN, Stage, StoreName, Strategy
from infra.demo.view import DemoView, open_view
from infra.townctl.context import Context, TheContext
from infra.townctl.loop import Stop, TownLoop
from infra.townctl.output import FOUND, INTERRUPTED, OK, Answer, screen
from shared.adapters import ids
from shared.adapters.clock import Budget
from shared.domain.errors import Refused
from shared.domain.report import TickReport
from shared.domain.shapes import answer, document
from shared.ports.steps import drive
from shared.ports.town_store import TownImage
from shared.questions import dry_run as dry_runs
from shared.questions import overview
from shared.questions.dry_run import DryRun
from shared.town import migrations

FASTEST: Final = 100.0
"""At a higher speed, an agent process takes longer to start than the town waits for its first heartbeat."""

_SPEED_OF_REAL_AGENTS: Final = 10.0
"""They take real seconds to start, whatever the clock says."""

_SPEEDS: Final[dict[StoreName, float]] = {"directory": 40, "s3": 15, "moto": 15}
"""Slower with S3: each agent process first imports the SDK, and must send a heartbeat before the town declares it lost."""

_TOWN_TIME_AT_MOST: Final = timedelta(hours=2)
_REAL_SECONDS_AT_LEAST: Final = 120.0
_REAL_SECONDS_OF_REAL_AGENTS: Final = 1800.0
_UNTIL_ASKED: Final = 3600.0
_INTERRUPTED: Final = "it was interrupted"


@answer
class RecoveryStep:
    """One step in the recovery of the bead whose agent crashed: in which tick, by which rule or event, and what."""

    tick: int
    by: str
    what: str


@answer
class Demo:
    """What the demo did. `problem` and `hint` say why it did not finish; what follows is then null."""

    data: str
    ok: bool
    problem: str | None = None
    hint: str | None = None
    ticks: int | None = None
    actions_by_type: dict[str, int] | None = None
    actions_by_rule: dict[str, int] | None = None
    merged: tuple[str, ...] | None = None
    recovery: tuple[RecoveryStep, ...] | None = None
    pull_requests: tuple[PullRequest, ...] | None = None
    dry_run: DryRun | None = None


def demo(
    *,
    speed: Annotated[
        float | None,
        Parameter(
            help="How many times as fast as real time the demo's clock runs: 1 to 100. Default: 40, or 15 with s3 or moto."
        ),
    ] = None,
    keep: Annotated[
        bool, Parameter(help="Keep the demo's directory. Otherwise the next demo removes it.", negative="")
    ] = False,
    store: Annotated[
        StoreName,
        Parameter(
            help="Where to keep the town: in a directory, or in the server s3 (SeaweedFS) or moto, which the demo starts."
        ),
    ] = "directory",
    strategy: Annotated[
        Strategy,
        Parameter(
            help="How work lands: direct (agents merge) or pr (pull requests at a fake GitHub, which the demo starts)."
        ),
    ] = "direct",
    agent: Annotated[
        str | None,
        Parameter(
            help="A real coding agent: opencode, claude or codex, which must be installed. Its model follows a script, "
            "so no key is needed. Default: the demo's own agents."
        ),
    ] = None,
    ui: Annotated[
        bool,
        Parameter(negative="", help="Show the demo live as a page in the browser, and keep the page until Ctrl-C."),
    ] = False,
    context: TheContext,
) -> Answer:
    """Run a whole town on this machine: real processes, a real git repository, no network.

    Agents implement, review and merge a convoy of four dependent beads and a bead that stands alone. One agent crashes on
    purpose, and its bead is recovered. Takes under a minute. Exit code 1 if the demo does not finish.
    """
    if speed is None:
        speed = _SPEEDS[store] if agent is None else min(_SPEEDS[store], _SPEED_OF_REAL_AGENTS)
    if not 1 <= speed <= FASTEST:
        hint = "speed 40 takes half a minute, speed 1 a quarter of an hour"
        raise Refused(f"--speed must be 1 to {FASTEST:g}, not {speed:g}", status=400, path="speed", hint=hint)
    _require_git()
    if agent is not None:
        _require_agent(agent, strategy)
    return _run(speed, keep=keep, store=store, strategy=strategy, agent=agent, ui=ui, context=context)


def _run(
    speed: float, *, keep: bool, store: StoreName, strategy: Strategy, agent: str | None, ui: bool, context: Context
) -> Answer:
    out = screen(sys.stderr if context.wants_json else sys.stdout)
    stop = Stop()
    view = open_view(out)
    with ExitStack() as cleanup:
        data = cleanup.enter_context(stages.fresh_directory(context.named_data, kept=keep))
        bucket = cleanup.enter_context(stages.a_bucket(store, data))
        out.print(f"A town in {bucket or data}, on a clock that runs {speed:g} times as fast as real time.")
        cleanup.enter_context(stop.on_signals())
        github = cleanup.enter_context(stages.a_forge(strategy, data))
        runs = cleanup.enter_context(stages.a_program(agent, data))
        stage = stages.set_up(data, runs, bucket=bucket, github=github, speed=speed, write_line=view.alert)
        cleanup.callback(_stop_all_agents, stage, out)
        page = cleanup.enter_context(_shown(stage, out)) if ui else None
        least = _REAL_SECONDS_AT_LEAST if agent is None else _REAL_SECONDS_OF_REAL_AGENTS
        problem = _play(stage, view, stop, Budget(max(least, _TOWN_TIME_AT_MOST.total_seconds() / speed)), speed=speed)
        told = _answer(stage, view, problem)
        if page is not None and problem != _INTERRUPTED:
            out.print("The demo is over; its page stays until Ctrl-C.")
            while not stop.wait(_UNTIL_ASKED):
                pass
        return told


@contextmanager
def _shown(stage: Stage, out: Console) -> Iterator[str]:
    """Show the demo's town as a page while the block runs."""
    from infra.listening.live import live
    from infra.townctl.stored_towns import StoredTowns
    from infra.ui.acts import Acts
    from infra.ui.pages import served
    from infra.ui.site import Site

    there = Context(named_data=stage.data, named_bucket=stage.bucket)
    site = Site(lambda: StoredTowns(there))
    with live(lambda: served(site, Acts(site, ()))) as pages:
        out.print(f"Its page, for one browser of this machine: {pages.first_url}")
        webbrowser.open(pages.first_url)
        yield pages.url


def _play(stage: Stage, view: DemoView, stop: Stop, budget: Budget, *, speed: float) -> str:
    """Post the events and run the loop until all work has landed and the town is quiet.

    Returns what went wrong; empty if nothing did.
    """
    stage.file(*stages.opening_events())
    between = _BetweenPasses(stage, view, stop, budget)
    with view:
        TownLoop(stage.around, view, speed=speed).until(between.wait)
    return _INTERRUPTED if between.problem is None else between.problem


@dataclass
class _BetweenPasses:
    """What the demo does between two passes. `problem` is what went wrong, empty if nothing did; None = not over yet."""

    stage: Stage
    view: DemoView
    stop: Stop
    budget: Budget
    problem: str | None = None
    is_started: bool = False

    def wait(self, seconds: float) -> bool:
        """Let the people act, look at the town, and wait; whether the demo is over or somebody asked to stop."""
        if seconds:  # there was a pass
            self.problem = self._looked_at()
        return self.problem is not None or self.stop.wait(seconds)

    def _looked_at(self) -> str | None:
        stage = self.stage
        if stage.people is not None:
            stage.people.act()
        image = drive(stage.store.load(TOWN))
        statuses = _statuses(image)
        self.view.town(image, processes=len(stage.runtime.running()))
        if not self.is_started and scenario.CONVOY_ID in statuses:
            stage.file(stages.start_of_the_convoy())
            self.is_started = True
        failed = sorted(bead for bead, status in statuses.items() if status == "failed")
        if failed:
            return f"bead {failed[0]} failed"
        if _all_landed(statuses) and _is_quiet(stage):
            reports = _reports(self.view)
            return _what_is_missing(reports) or pull_summary.missing_of_pulls(stage, reports)
        return "it did not finish in time" if self.budget.left() == 0 else None


def _answer(stage: Stage, view: DemoView, problem: str) -> Answer:
    """The answer of the command: the story of the demo, or what went wrong and where to look."""
    reports, data = _reports(view), str(stage.bucket or stage.data)
    if problem:
        hint = f"inspect the town: townctl --data {stage.data} town status {TOWN}"
        if stage.bucket is not None:
            hint = f"the store has ended; the agents' logs are in {stage.data}; try the demo without --store"
        shown = (f"the demo did not finish: {problem}", hint)
        unfinished = Demo(data=data, ok=False, problem=problem, hint=hint)
        return Answer(document(unfinished), shown, INTERRUPTED if problem == _INTERRUPTED else FOUND)
    dry_run = _dry_run(stage)
    finished = Demo(
        data=data,
        ok=True,
        ticks=len(reports),
        actions_by_type=story.actions_by_type(reports),
        actions_by_rule=story.actions_by_rule(reports),
        merged=tuple(story.git_log(stage).splitlines()),
        recovery=tuple(
            RecoveryStep(beat.report.input.tick_no, beat.by, beat.what)
            for beat in story.history_of(stages.crashing_task()[0], reports)
        ),
        pull_requests=pull_summary.pull_requests(stage),
        dry_run=dry_run,
    )
    return Answer(document(finished), tuple(story.tell(stage, reports, dry_run)), OK)


def _reports(view: DemoView) -> list[TickReport]:
    return [run.tick for run in view.runs if run.tick is not None]


def _statuses(image: TownImage) -> dict[str, str]:
    """The status of the convoy, of its tasks and of the bead that stands alone."""
    with migrations.readable(image.image) as sql:
        return overview.statuses(sql, _everything())


def _all_landed(statuses: dict[str, str]) -> bool:
    return all(statuses.get(bead_id) == "closed" for bead_id in _everything())


def _everything() -> tuple[str, ...]:
    return (scenario.CONVOY_ID, scenario.BEAD_ID, *stages.task_ids())


def _is_quiet(stage: Stage) -> bool:
    """Whether no agent process runs and the next tick would do nothing."""
    if stage.runtime.running():
        return False
    shown = _dry_run(stage)
    return not shown.events and not shown.actions and not shown.effects


def _dry_run(stage: Stage) -> DryRun:
    """What the next tick would do, including what it would observe of the agents' processes."""
    return drive(dry_runs.rehearse(TOWN, stage.around, worker_id=ids.worker_id(), ask_runtime=True)).answer()


def _what_is_missing(reports: list[TickReport]) -> str:
    bead_id, _ = stages.crashing_task()
    return story.missing_of(list(story.history_of(bead_id, reports)))


def _stop_all_agents(stage: Stage, out: Console) -> None:
    """Stop every agent that still runs, however the demo ended."""
    left = stage.runtime.stop_all()
    if left:
        pids = ", ".join(str(agent.pid) for agent in left)
        out.print(f"these agent processes could not be stopped: {pids}")


def _require_git() -> None:
    try:
        subprocess.run(["git", "--version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Refused(
            "git cannot be run", status=400, path="git", hint="install git, which the demo's agents use"
        ) from error


def _require_agent(agent: str, strategy: Strategy) -> None:
    """Raises Refused if a coding agent is not known or not installed, or if it would need a credential that the demo has not."""
    try:
        driver = driver_of(agent)
    except ValueError as error:
        hint = "for example: make demo AGENT=opencode"
        raise Refused(f"--agent: {error}", status=400, path="agent", hint=hint) from error
    if strategy == "pr":
        problem = (
            "--agent with --strategy pr: real agents open pull requests with a credential that the API of a town issues"
        )
        raise Refused(
            problem, status=400, path="strategy", hint="leave out --strategy; `make e2e-agents` shows pull requests"
        )
    if shutil.which(driver.program) is None:
        hint = f"run `make demo AGENT={agent}`, which installs it below .tools; or: {driver.install}"
        raise Refused(f"--agent: {driver.program} is not on PATH", status=400, path="agent", hint=hint)
