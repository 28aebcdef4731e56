"""The summary of the demo: the merged work, the ticks, the recovery from the crash, and commands to try next."""

import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from rich.console import RenderableType
from rich.text import Text

from infra.demo import stage as stages
from infra.demo.pull_summary import tell_pulls
from infra.demo.stage import TOWN, Stage
from infra.townctl.output import table
from infra.townctl.summaries import code_of, done_by
from infra.townctl.ticks import dry_run_view
from infra.townctl.wording import since
from infra.ui.short_ids import short
from shared.domain import strict_json
from shared.domain.orders import StartOrder
from shared.domain.report import ClaimedEffect, TickReport
from shared.domain.states import EffectKind
from shared.domain.times import to_text
from shared.questions.dry_run import DryRun

RECOVERY: Final = ("A8", "B1b", "B1")
"""The rules that must recover the bead of the crashed agent, in this order."""


_WITH_A_BUCKET: Final = """\
  {townctl} demo                              (in a directory, so that you can inspect the town afterwards)
  {townctl} --bucket NAME town create alpha   (a town in your own bucket; add --endpoint URL if it is not at AWS)
  {townctl} --bucket NAME run"""


_WITH_A_FORGE: Final = """\
  {townctl} secret set TOWN github < FILE     (your token for your own town, whose pull requests are then polled)"""


@dataclass(frozen=True, slots=True)
class Beat:
    """One thing that happened to a bead: in which tick, by which rule or event, and what."""

    report: TickReport
    by: str
    what: str


def history_of(bead_id: str, reports: Sequence[TickReport]) -> Iterator[Beat]:
    """The actions of rules on a bead and on the agents that worked on it, and the observed ends of these agents."""
    agents: dict[str, int] = {}
    for report in reports:
        for agent_id, seen in report.input.observations.agents:
            ended = agent_id in agents and seen.generation == agents[agent_id] and seen.status == "exited"
            if ended and any(event.event_type == "container_status" for event in report.events):
                yield Beat(report, "observed", f"its agent's process has ended: {seen.exit_reason}")
        for event in report.input.new_events:
            if event.bead_id == bead_id and event.event_type == "agent_done":
                yield Beat(report, "event", "agent_done: the agent has reported its work")
        for judged in report.actions:
            if judged.outcome != "applied":
                continue
            action = judged.action
            if action.get("bead_id") == bead_id or action.get("agent_id") in agents:
                yield Beat(report, code_of(judged.rule), _sentence(action))
        _note_dispatches(bead_id, report, agents)


def missing_of(beats: Sequence[Beat]) -> str:
    """The part of the recovery that is missing: the observed crash, or one of the three rules in order; empty if none is."""
    by = [beat.by for beat in beats]
    if "observed" not in by:
        return "the agent's crash was never observed"
    after = iter(by[by.index("observed") :])
    missing = [code for code in RECOVERY if code not in after]
    return f"the bead of the crashed agent was not recovered by {' and '.join(missing)}" if missing else ""


def tell(stage: Stage, reports: Sequence[TickReport], dry_run: DryRun) -> Iterator[RenderableType]:
    """The summary as text and tables."""
    yield Text("\nMerged into main:\n", style="bold")
    yield Text(git_log(stage))
    if stage.github is not None:
        yield from tell_pulls(stage)
    else:
        yield Text(proof_of(reports))
    yield _ticks(reports)
    yield from _recovery(reports)
    yield Text("\nThe next tick of the now quiet town (dry run):\n", style="bold")
    yield from dry_run_view(dry_run)
    yield Text("\nWhat to try next:\n", style="bold")
    yield Text(what_to_try(stage, first_tick=reports[0].input.now))


def proof_of(reports: Sequence[TickReport]) -> str:
    """How many of the merges that refineries reported were seen in their target before the review closed."""
    answers = [
        strict_json.stored(event.payload)
        for report in reports
        for event in report.input.new_events
        if event.event_type == "merge_verified"
    ]
    closed = [answer for answer in answers if answer.get("contained") or "contained" not in answer]
    proven = [answer for answer in closed if answer.get("contained")]
    return f"\nOf {len(closed)} merges that refineries reported, git has found {len(proven)} in their target branch."


def actions_by_type(reports: Sequence[TickReport]) -> dict[str, int]:
    """How often each action was emitted, by action type."""
    return _counted(str(judged.action["type"]) for report in reports for judged in report.actions)


def actions_by_rule(reports: Sequence[TickReport]) -> dict[str, int]:
    """How often each action was emitted, by the rule or event that asked for it."""
    return _counted(code_of(judged.rule) for report in reports for judged in report.actions)


def git_log(stage: Stage) -> str:
    """The git history of the main branch."""
    done = subprocess.run(
        ["git", "log", "--graph", "--oneline", "main"],
        check=True,
        cwd=stage.repository,
        env=stages.offline_environment(),
        capture_output=True,
        text=True,
    )
    return done.stdout.rstrip()


def what_to_try(stage: Stage, *, first_tick: datetime) -> str:
    """Commands to run on the demo's town, in the shell that started the demo."""
    townctl = how_to_call()
    if stage.bucket is not None:
        return _WITH_A_BUCKET.format(townctl=townctl)
    crashed = short(stages.crashing_task()[0])
    lines = [
        f"  export TOWNCTL_DATA={shlex.quote(str(stage.data))}",
        f"  {townctl} town status {TOWN}",
        f"  {townctl} explain bead {crashed}       (the bead whose agent crashed)",
        f"  {townctl} replay {TOWN} --from {to_text(first_tick)}",
        f"  {townctl} doctor",
    ]
    if stage.github is not None:
        return "\n".join((*lines, f"  {townctl} secret list", _WITH_A_FORGE.format(townctl=townctl)))
    bead = '{"bead": {"bead_id": "mine", "type": "issue", "title": "Say goodbye", "rig_id": "rig-demo"}}'
    return "\n".join(
        (
            *lines,
            f"  {townctl} event post {TOWN} --type bead_created --payload '{bead}'",
            f"  {townctl} dry-run {TOWN}",
            f"  {townctl} run --speed 40           (half a minute; press Ctrl-C when it prints no more)",
            f"  {townctl} explain bead mine",
        )
    )


def how_to_call() -> str:
    """The command for townctl: its name if the shell finds this program by it, otherwise the path with which it was started."""
    called = Path(sys.argv[0])
    if called.name != "townctl" or shutil.which("townctl") == str(called.absolute()):
        return "townctl"
    return shlex.quote(str(called))


def _ticks(reports: Sequence[TickReport]) -> RenderableType:
    start = reports[0].input.now
    rows = []
    for report in reports:
        done = done_by(report)
        if done.worth_a_line:
            at = since(start, report.input.now)
            rows.append((report.input.tick_no, at, done.news, done.actions, done.rules))
    quiet = len(reports) - len(rows)
    title = f"\nTicks that did something ({quiet} more only processed signs of life)"
    return table("tick", "min:s", "events", "actions", "rules", rows=rows, title=title)


def _recovery(reports: Sequence[TickReport]) -> Iterator[RenderableType]:
    bead_id, title = stages.crashing_task()
    start = reports[0].input.now
    rows = [
        (beat.report.input.tick_no, since(start, beat.report.input.now), beat.by, beat.what)
        for beat in history_of(bead_id, reports)
    ]
    yield table("tick", "min:s", "by", "what", rows=rows, title=f"\nHow {title!r} survived the crash of its agent")


def _note_dispatches(bead_id: str, report: TickReport, agents: dict[str, int]) -> None:
    """Update the agents that work on the bead. An agent that is dispatched to another bead no longer works on it."""
    for effect in report.effects:
        if effect.kind != EffectKind.DISPATCH_AGENT:
            continue
        if _bead_of(effect) == bead_id:
            agents[effect.subject] = effect.generation
        else:
            agents.pop(effect.subject, None)


def _bead_of(effect: ClaimedEffect) -> str | None:
    bead = effect.order(StartOrder).bead
    return None if bead is None else bead.id


def _counted(words: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(words).items()))


def _sentence(action: Any) -> str:
    if "from" in action and "to" in action:
        return f"{action['type']}: {action['from']} -> {action['to']}"
    return f"{action['type']}: {action['reason']}" if action.get("reason") else str(action["type"])
