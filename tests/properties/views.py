"""What a town holds at the moment, as far as facts about it need to know: who is there, which bead is the nth."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from tests.towns import TownBuilder


class AgentRow(NamedTuple):
    """An agent as the outside knows it."""

    id: str
    role: str
    status: str
    hook: str | None
    generation: int
    rig: str | None


class EffectRow(NamedTuple):
    """A row of the outbox."""

    id: str
    kind: str
    subject: str
    generation: int
    attempts: int
    state: str


class Agreed(NamedTuple):
    """The rig's repository, and the branches of a pull request."""

    repository: str
    head: str
    base: str


NOBODY = AgentRow("nobody", "polecat", "idle", None, 1, "rig-1")
NOTHING = "nothing"


@dataclass
class View:
    """Questions about a town. `count` grows with every fact, so that new things get new names."""

    town: TownBuilder
    now: datetime
    count: int

    def agents(self) -> list[AgentRow]:
        """All agents, those with a hook first."""
        rows = self.town.rows(
            "SELECT a.bead_id, a.role, a.status, a.current_hook_bead_id, a.generation, b.rig_id FROM agent_metadata a "
            "JOIN beads b ON b.bead_id = a.bead_id ORDER BY a.current_hook_bead_id IS NULL, a.bead_id"
        )
        return [AgentRow(*row) for row in rows]

    def an_agent(self, pick: int) -> AgentRow:
        """The nth agent; one that does not exist for the last pick."""
        return _nth(self.agents(), pick, NOBODY)

    def a_refinery(self, pick: int) -> AgentRow:
        """The nth refinery."""
        return _nth([agent for agent in self.agents() if agent.role == "refinery"], pick, NOBODY)

    def at_work(self) -> list[AgentRow]:
        """Agents that work or stall: those whose processes the tick asks for."""
        return [agent for agent in self.agents() if agent.status in ("working", "stalled")]

    def an_issue(self, pick: int) -> str:
        """The nth issue, live ones first."""
        return self._bead(pick, "type = 'issue'")

    def a_review(self, pick: int) -> str:
        """The nth merge request, live ones first."""
        return self._bead(pick, "type = 'merge_request'")

    def a_convoy(self, pick: int) -> str:
        """The nth convoy, live ones first."""
        return self._bead(pick, "type = 'convoy'")

    def tasks_of(self, convoy: str) -> list[str]:
        """The beads that track a convoy."""
        rows = self.town.rows(
            "SELECT bead_id FROM bead_dependencies WHERE depends_on_bead_id = ? AND dependency_type = 'tracks' "
            "ORDER BY bead_id",
            convoy,
        )
        return [row[0] for row in rows]

    def a_bead(self, pick: int) -> str:
        """The nth bead that is no agent."""
        return self._bead(pick, "type <> 'agent'")

    def a_failed_bead(self, pick: int) -> str:
        """The nth failed bead."""
        return self._bead(pick, "status = 'failed'")

    def an_escalation(self, pick: int) -> str:
        """The nth escalation."""
        return self._bead(pick, "type = 'escalation'")

    def a_triage_request(self, pick: int) -> str:
        """The nth triage request."""
        return self._bead(pick, "labels LIKE '%gt:triage-request%'")

    def a_nudge(self, pick: int) -> tuple[str, str]:
        """The nth nudge, undelivered ones first, and its agent."""
        rows = self.town.rows(
            "SELECT nudge_id, agent_bead_id FROM agent_nudges ORDER BY delivered_at IS NOT NULL, nudge_id"
        )
        return _nth([(row[0], row[1]) for row in rows], pick, (NOTHING, NOBODY.id))

    def an_effect(self, pick: int) -> EffectRow | None:
        """The nth effect, unfinished ones first."""
        rows = self.town.rows(
            "SELECT effect_id, kind, subject, generation, attempts, state FROM outbox "
            "ORDER BY state NOT IN ('claimed', 'pending'), seq DESC"
        )
        return EffectRow(*rows[pick % len(rows)]) if rows else None

    @property
    def drain_nonce(self) -> str | None:
        """The nonce of the present drain."""
        drain: dict[str, Any] | None = self.town.value("drain")
        return None if drain is None else drain["nonce"]

    def pr_url(self, rig: str | None) -> str:
        """The address of a new pull request in a rig's repository."""
        return f"https://github.com/acme/{rig or 'rig-1'}/pull/{self.count}"

    def branch_of(self, agent: AgentRow) -> str:
        """The branch of the agent's order; one of its own if its order names none."""
        found = self.town.rows(
            "SELECT COALESCE(r.branch, json_extract(b.metadata, '$.branch')) FROM beads b "
            "LEFT JOIN review_metadata r ON r.bead_id = b.bead_id WHERE b.bead_id = ?",
            agent.hook,
        )
        return found[0][0] if found and found[0][0] else f"gt/{agent.id[:8]}/{self.count}"

    def pr_url_of(self, agent: AgentRow) -> str:
        """The pull request of the agent's work; a new one if there is none."""
        found = self.town.rows("SELECT pr_url FROM review_metadata WHERE bead_id = ?", agent.hook)
        return found[0][0] if found and found[0][0] else self.pr_url(agent.rig)

    def agreed(self, review: str) -> Agreed | None:
        """Which pull request was agreed for a merge request; None if there is no such review."""
        found = self.town.rows(
            "SELECT g.git_url, r.branch, r.target_branch FROM review_metadata r JOIN beads b ON b.bead_id = r.bead_id "
            "JOIN rigs g ON g.id = b.rig_id WHERE r.bead_id = ?",
            review,
        )
        return Agreed(*found[0]) if found else None

    def _bead(self, pick: int, condition: str) -> str:
        rows = self.town.rows(
            f"SELECT bead_id FROM beads WHERE {condition} ORDER BY status IN ('closed', 'failed'), bead_id"
        )
        return _nth([row[0] for row in rows], pick, NOTHING)


def _nth(found: list[Any], pick: int, otherwise: Any) -> Any:
    """The nth of what was found; something foreign for pick 7 and where nothing was found."""
    return found[pick % len(found)] if found and pick != 7 else otherwise
