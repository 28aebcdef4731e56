"""Shows the demo while it runs: as a live board on a terminal, otherwise as lines. Both keep every run for the summary."""

from collections import deque
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from infra.townctl.live import Lines
from infra.townctl.output import plain, table
from infra.townctl.people import BEADS, agent_name, state
from infra.townctl.summaries import done_by
from infra.townctl.wording import message_of
from shared.domain.report import TickReport
from shared.domain.times import to_text
from shared.ports.town_store import TownImage
from shared.questions import overview
from shared.questions.overview import BoardLine
from shared.runner.run_report import FailedRun, RunReport
from shared.town import migrations

_TICKS_SHOWN: Final = 10


class DemoView(Protocol):
    """Shows a demo while it runs."""

    runs: list[RunReport]
    """Every run that committed a tick, in order."""

    def ran(self, run: RunReport) -> None:
        """Show one run of the town."""
        ...

    def failed(self, failed: FailedRun) -> None:
        """Show a run that ended with an error."""
        ...

    def alert(self, line: str) -> None:
        """Show an alert, which is one line."""
        ...

    def town(self, image: TownImage, *, processes: int) -> None:
        """Show the town after a pass, and the number of running agent processes."""
        ...

    def __enter__(self) -> Self:
        """Start showing."""
        ...

    def __exit__(self, *error: object) -> None:
        """Restore the terminal."""
        ...


def open_view(out: Console) -> DemoView:
    """The view that suits the console."""
    return Board(out) if out.is_terminal else Plain(out)


class Plain:
    """A line for each tick that did something."""

    def __init__(self, out: Console) -> None:
        self.runs: list[RunReport] = []
        self._out = out
        self._lines = Lines(self._print)

    def ran(self, run: RunReport) -> None:
        """Print what a tick did."""
        if run.outcome == "committed":
            self.runs.append(run)
        self._lines.ran(run)

    def failed(self, failed: FailedRun) -> None:
        """Print the error."""
        self._lines.failed(failed)

    def alert(self, line: str) -> None:
        """Print an alert."""
        self._print(line)

    def town(self, image: TownImage, *, processes: int) -> None:
        """Print nothing, because `ran` has printed the ticks."""

    def __enter__(self) -> Self:
        """Do nothing."""
        return self

    def __exit__(self, *error: object) -> None:
        """Do nothing."""

    def _print(self, line: str) -> None:
        self._out.print(line, soft_wrap=True)


class Board:
    """A live board: every bead with its agent, and the last ticks."""

    def __init__(self, out: Console) -> None:
        self.runs: list[RunReport] = []
        self._out = out
        self._ticks: deque[TickReport] = deque(maxlen=_TICKS_SHOWN)
        self._beads: list[BoardLine] = []
        self._head = "starting"
        self._live = Live(console=out, refresh_per_second=8, transient=True, get_renderable=self._picture)

    def ran(self, run: RunReport) -> None:
        """Show a tick that did something."""
        if run.outcome == "committed":
            self.runs.append(run)
        if run.tick is not None and done_by(run.tick).worth_a_line:
            self._ticks.append(run.tick)

    def failed(self, failed: FailedRun) -> None:
        """Print the error above the board."""
        self.alert(f"{failed.town_id}: {message_of(failed.error)}")

    def alert(self, line: str) -> None:
        """Print an alert above the board."""
        self._live.console.print(plain(line), soft_wrap=True)

    def town(self, image: TownImage, *, processes: int) -> None:
        """Update what the board shows."""
        with migrations.readable(image.image) as sql:
            self._beads = overview.board(sql)
        facts = image.facts
        self._head = f"tick {facts.tick_no} at {to_text(facts.time)}, {processes} agent processes"

    def __enter__(self) -> Self:
        """Start showing."""
        self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Restore the terminal."""
        self._live.stop()

    def _picture(self) -> RenderableType:
        beads = table("bead", "state", "agent", "says", rows=[_bead_row(line) for line in self._beads])
        ticks = table("tick", "events", "actions", "rules", rows=[_row(report) for report in self._ticks])
        return Group(Text(self._head, style="bold"), beads, ticks)


def _bead_row(line: BoardLine) -> tuple[object, ...]:
    name = None if line.agent_identity is None else agent_name(line.agent_identity)
    says = line.agent_says if line.agent_status == "working" else None
    return line.title, state(line.status, BEADS), name, says


def _row(report: TickReport) -> tuple[object, ...]:
    done = done_by(report)
    return report.input.tick_no, done.news, done.actions, done.rules
