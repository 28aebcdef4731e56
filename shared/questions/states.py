"""The state of a row on which no rule would act even without holds, and the rule that decides to wait, if there is one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shared.domain.states import AgentStatus, BeadStatus, BeadType, Role
from shared.domain.tick import Tick
from shared.questions.reasons import State
from shared.questions.rows import Row
from shared.rules import convoys
from shared.town.database import Database
from shared.town.live import OpenConvoy
from shared.town.reading import TownReader
from shared.town.rows import Agent

_OPERATOR: Final = "operator"
_REOPENED: Final = (BeadType.ISSUE, BeadType.MERGE_REQUEST, BeadType.CONVOY)
_OWN_TABLE: Final[Mapping[str, str]] = {
    BeadType.MERGE_REQUEST: "review_metadata",
    BeadType.CONVOY: "convoy_metadata",
    BeadType.ESCALATION: "escalation_metadata",
    BeadType.AGENT: "agent_metadata",
}


@dataclass(frozen=True, slots=True)
class Standing:
    """A state in which a row stays until an event comes: the rule that waits, who can change it, and a more specific sentence."""

    state: State
    rule: str | None = None
    actor: str | None = _OPERATOR
    says: str | None = None


def standing_of(sql: Database, town: TownReader, moment: Tick, row: Row) -> Standing:
    """Why no rule acts on a row by itself."""
    if not row.live:
        return _over(town, row)
    lacks = _lacks(sql, row)
    if lacks is not None:
        says = f"it has no row in {lacks}: every rule skips it until a person repairs it"
        return Standing("unreadable", says=says)
    match row.type:
        case BeadType.CONVOY:
            convoy = next((each for each in town.convoys if each.id == row.id), None)
            return Standing("only_an_event") if convoy is None else _of_convoy(town, moment, convoy)
        case BeadType.AGENT if row.agent is not None:
            return _of_agent(row.agent)
        case BeadType.MESSAGE if row.status == BeadStatus.OPEN:
            return _of_mail(town, row)
        case BeadType.ESCALATION:
            return Standing("acknowledged") if _is_acknowledged(sql, row) else Standing("bumps_used_up", "H1")
        case BeadType.ISSUE if any(request.id == row.id for request in town.triage_requests):
            return Standing("requests_ahead", "H2", "triage") if town.rigs else Standing("no_rig_at_all", "H2")
        case _:
            return Standing("only_an_event")


def _of_agent(agent: Agent) -> Standing:
    """An agent keeps its hook while its work is reviewed; a mayor waits for a message."""
    if agent.hooked is not None and agent.hooked.status is BeadStatus.IN_REVIEW:
        return Standing("review_live", "A9", "refinery")
    if agent.role is Role.MAYOR:
        return Standing("only_an_event", says="it has nothing to do until it is told something")
    if agent.status is AgentStatus.IDLE and agent.hook is None:
        return Standing("only_an_event", actor=None, says="it is idle: it works when a rule gives it a bead")
    return Standing("only_an_event")


def _of_mail(town: TownReader, row: Row) -> Standing:
    """A message is delivered while its addressee works, or to the mayor; if there is no such agent, it is never delivered."""
    agent = town.agents_by_id.get(row.assignee or "")
    if agent is None:
        return Standing(
            "only_an_event", says=f"its addressee {row.assignee} is not in the town: it can only be cancelled"
        )
    says = f"it is delivered as soon as its addressee {agent.identity} is working; it is {agent.status}"
    return Standing("addressee_rests", "H4", row.assignee, says)


def _lacks(sql: Database, row: Row) -> str | None:
    """The table in which a live bead lacks the row that its type requires."""
    table = _OWN_TABLE.get(row.type)
    if table is None:
        return None
    query = f"SELECT 1 FROM {table} WHERE bead_id = :id"  # noqa: S608 - a constant
    return table if sql.execute(query, {"id": row.id}).fetchone() is None else None


def _is_acknowledged(sql: Database, row: Row) -> bool:
    query = "SELECT acknowledged FROM escalation_metadata WHERE bead_id = :id"
    found = sql.execute(query, {"id": row.id}).fetchone()
    return found is not None and bool(found[0])


def _over(town: TownReader, row: Row) -> Standing:
    if row.status == BeadStatus.FAILED and row.type in _REOPENED:
        says = "it has failed: no rule acts on it until it is reopened"
        if row.type == BeadType.CONVOY:
            return Standing("terminal", says=says)
        most = town.settings(row.rig_id).max_dispatch_attempts
        starts = f"{most} {'start' if most == 1 else 'starts'}"
        return Standing("terminal", says=f"{says}, which gives it {starts} (setting max_dispatch_attempts)")
    return Standing("terminal", actor=None, says=f"it is {row.status}: no rule acts on it, and nothing reopens it")


def _of_convoy(town: TownReader, moment: Tick, convoy: OpenConvoy) -> Standing:
    stage = convoys.stage_of(town, moment, convoy)
    done = f"{convoy.done} of {convoy.total} beads are done"
    if stage == "C7":
        return Standing("approval_missing", stage, "reviewer")
    if stage == "C6h":
        return Standing("landing_held", stage)
    if stage == "C6":
        live = [each.id for each in town.landings.get(convoy.id, ()) if not each.status.terminal]
        return Standing("landing_live", stage, ", ".join(live) or "refinery")
    if stage == "C2" and convoy.total == 0:
        return Standing("no_work", stage)
    if stage == "C2" and convoy.done == convoy.total:
        return Standing("review_live", stage, "refinery")
    return Standing("work_unfinished", stage, "agent", done)
