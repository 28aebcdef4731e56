"""`townctl logs`: what an agent printed, or the transcript of its program."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter
from rich.text import Text

from infra.townctl.explain import TownOption
from infra.townctl.left_out import in_order
from infra.townctl.output import Answer, lines, plain
from infra.townctl.paging import own_clock_note, present, the_one
from infra.townctl.place import Place, Subject, ThePlace
from shared.domain.errors import Refused
from shared.domain.quoting import cleaned
from shared.domain.times import to_text

if TYPE_CHECKING:
    from shared.ports.agent_logs import LogKind
    from shared.questions.agent_log import AgentLog

_LOOK_EVERY_SECONDS: Final = 2.0
_OVERLAP: Final = 4096
_MEANT: Final = 2


def logs(
    subject: Annotated[
        str, Parameter(help="A bead, or an agent: its id, a prefix that no other has, or an agent's name.")
    ],
    town_id: TownOption = None,
    *,
    generation: Annotated[
        int | None, Parameter(help="The number of the agent's start; by default, the newest one.")
    ] = None,
    transcript: Annotated[
        bool,
        Parameter(negative="", help="Show the turns and tool calls of the agent's program instead, as JSON lines."),
    ] = False,
    follow: Annotated[
        bool, Parameter(negative="", help="Go on with what the agent prints, and with its next start, until Ctrl-C.")
    ] = False,
    place: ThePlace,
) -> Answer:
    """Show what an agent printed: the newest 256 KiB of its newest start, or of the newest start that worked on a bead.

    Give the town as `--town TOWN` or as a second argument.
    """
    if generation is not None and generation < 1:
        problem = "--generation: starts are numbered from 1"
        raise Refused(problem, status=400, path="generation", hint="`townctl agent list TOWN` shows the generations")
    subject, town_id = in_order(place, subject, town_id, ("agent", "bead"))
    kind: LogKind = "transcript" if transcript else "log"
    which, row_id = _meant(place, town_id, subject)
    found = place.log(town_id, which, row_id, wanted=kind, generation=generation)
    if not follow:
        heading = Text(plain(_heading(found)))
        return Answer(found, [heading, *_of_this_machine(place, town_id), *map(Text, _safe(found.text).splitlines())])
    print(plain(_heading(found)), flush=True)
    _write(found.text)
    try:
        while True:
            time.sleep(_LOOK_EVERY_SECONDS)
            found = _went_on(place.log(town_id, which, row_id, wanted=kind, generation=generation), found)
    except KeyboardInterrupt:
        return Answer(found, ())


def _meant(place: Place, town_id: str, word: str) -> tuple[Subject, str]:
    """The bead or agent that a word stands for. Raises Refused."""
    known = {each.agent_id for each in place.agents(town_id).agents}
    agents = [each for each in place.meant(town_id, "agent", word, limit=_MEANT) if each in known]
    if len(agents) == 1:
        return "agent", agents[0]
    if agents or place.meant(town_id, "bead", word, limit=1):
        return "bead", the_one(place, town_id, "bead", word)
    return "agent", word  # it may be gone from the town, and its logs still be kept


def _of_this_machine(place: Place, town_id: str) -> Iterator[Text]:
    """What the time of a log is, if the clock of the town is ahead of that of the machine which keeps it."""
    for note in own_clock_note(present(place, town_id)):
        yield Text(f"that is the time of the machine that keeps it; other {note.plain}", style="dim")


def _heading(found: AgentLog) -> str:
    cut = ", without its beginning" if found.cut else ""
    others = ", ".join(f"{each.agent_id} {each.generation}" for each in found.others[:5])
    also = f"; also kept: {others}" if others else ""
    return f"{found.kind} of {found.agent_id}, generation {found.generation}, as of {to_text(found.at)}{cut}{also}"


def _went_on(now: AgentLog, before: AgentLog) -> AgentLog:
    """Print what a log has more than before."""
    if (now.agent_id, now.generation) != (before.agent_id, before.generation):
        print(plain(_heading(now)), flush=True)
        _write(now.text)
    elif now.text != before.text:
        _write(_added(now.text, before.text))
    return now


def _added(now: str, before: str) -> str:
    """The part of a log that comes after an earlier state of it, of which the beginning may be gone."""
    if now.startswith(before):
        return now[len(before) :]
    end = before[-_OVERLAP:]
    at = now.rfind(end)
    return now if at < 0 else now[at + len(end) :]


def _safe(text: str) -> str:
    """Text that an agent printed, safe to show."""
    return lines(cleaned(text).expandtabs(4))


def _write(text: str) -> None:
    sys.stdout.write(_safe(text))
    sys.stdout.flush()
