"""The state of a row on which no rule would act even without holds, and the rule that decides to wait, if there is one."""

from dataclasses import dataclass
from typing import Final

from shared.domain.states import BeadStatus, BeadType
from shared.domain.tick import Tick
from shared.questions.reasons import State
from shared.questions.rows import Row
from shared.rules import convoys
from shared.town.live import OpenConvoy
from shared.town.reading import TownReader

_OPERATOR: Final = "operator"


@dataclass(frozen=True, slots=True)
class Standing:
    """A state in which a row stays until an event comes: the rule that waits, the one who can change it, and more words."""

    state: State
    rule: str | None = None
    actor: str | None = _OPERATOR
    says: str | None = None


def standing_of(town: TownReader, moment: Tick, row: Row) -> Standing:
    """Why no rule acts on a row by itself."""
    if not row.live:
        return _over(row)
    match row.type:
        case BeadType.CONVOY:
            convoy = next((each for each in town.convoys if each.id == row.id), None)
            return Standing("only_an_event") if convoy is None else _of_convoy(town, moment, convoy)
        case BeadType.MESSAGE:
            return Standing("addressee_rests", "H4", row.assignee or _OPERATOR)
        case BeadType.ESCALATION:
            return Standing("bumps_used_up", "H1")
        case BeadType.ISSUE if any(request.id == row.id for request in town.triage_requests):
            return Standing("requests_ahead", "H2", "triage") if town.rigs else Standing("only_an_event", "H2")
        case _:
            return Standing("only_an_event")


def _over(row: Row) -> Standing:
    if row.status == BeadStatus.FAILED:
        return Standing("terminal", says="it is failed: no rule acts on it until the event bead_reopened")
    return Standing("terminal", actor=None, says=f"it is {row.status}: no rule acts on it, and nothing reopens it")


def _of_convoy(town: TownReader, moment: Tick, convoy: OpenConvoy) -> Standing:
    stage = convoys.stage_of(town, moment, convoy)
    done = f"{convoy.done} of {convoy.total} beads are done"
    if stage == "C7":
        return Standing("approval_missing", stage, "reviewer")
    if stage == "C6":
        live = [each.id for each in town.landings.get(convoy.id, ()) if not each.status.terminal]
        return Standing("landing_live", stage, ", ".join(live) or "refinery")
    if stage == "C2" and convoy.total == 0:
        return Standing("no_work", stage)
    if stage == "C2" and convoy.done == convoy.total:
        return Standing("review_live", stage, "refinery")
    return Standing("work_unfinished", stage, "agent", done)
