"""The routes with which agents read their town. A town token opens them; the town decides what its holder may see."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from functions import api, claims
from functions.access import require_town_id
from functions.api import Call, Reply, Route
from functions.debug.schemas import BeadsQuery, ExplainQuery, PageQuery, StatusQuery
from functions.pace import Pace
from functions.problems import not_found
from functions.queries import Query
from shared.ports.steps import drive
from shared.ports.town_past import TownPast
from shared.questions.filters import BeadFilter
from shared.runner.surroundings import Surroundings

TOWN: Final = "/api/agents/towns/{townId}"
MOST_QUESTIONS: Final = 300
"""Each loads an image of the town. A busy agent asks a few times a minute."""

_HINT: Final = "wait some minutes; read messages, which come by themselves, instead of asking again and again"


class Deployment(Protocol):
    """Where the towns are."""

    @property
    def around(self) -> Surroundings:
        """The surroundings of the towns."""
        ...

    def past(self) -> TownPast:
        """The retained past, for one request."""
        ...

    @property
    def pace(self) -> Pace:
        """How often an agent may ask."""
        ...


def pace() -> Pace:
    """A count of the questions of agents."""
    return Pace(MOST_QUESTIONS, _HINT)


@dataclass(frozen=True, slots=True)
class AgentReads:
    """The answers to agents. A foreign town is answered like one that does not exist, before the store is read."""

    deployment: Callable[[], Deployment]

    def status(self, call: Call[Query]) -> Reply:
        """What the town is doing. Only for coordinators: the mayor, and an agent that answers a triage batch."""
        return self._answer(call, "status")

    def beads(self, call: Call[BeadsQuery]) -> Reply:
        """Beads that match all filters, newest first. An agent sees those that its work is about, and its convoy's other beads.

        For an agent, `text` is searched in ids and titles only, and `waiting` is about the beads that it may see in full.
        """
        asked = call.query
        wanted = BeadFilter(asked.status, asked.type, asked.convoy, asked.rig, asked.label, asked.text)
        return self._answer(call, "beads", wanted=wanted, limit=asked.limit, cursor=asked.cursor)

    def bead(self, call: Call[Query]) -> Reply:
        """The bead's fields, dependencies and audit trail. An agent sees its own bead, the review and source of it, its convoy, its
        mail and itself.
        """
        return self._answer(call, "bead", subject=call.ids["beadId"])

    def agents(self, call: Call[Query]) -> Reply:
        """Every agent of the town, with its hook and its last status message. An agent sees only itself."""
        return self._answer(call, "agents")

    def convoys(self, call: Call[PageQuery]) -> Reply:
        """Convoys, including landed ones, newest first. An agent sees only the convoy of its bead."""
        return self._answer(call, "convoys", limit=call.query.limit, cursor=call.query.cursor)

    def reviews(self, call: Call[StatusQuery]) -> Reply:
        """Merge requests, newest first. An agent sees those that its work is about."""
        return self._of_status(call, "reviews")

    def escalations(self, call: Call[StatusQuery]) -> Reply:
        """Escalations, newest first. Only for coordinators."""
        return self._of_status(call, "escalations")

    def rigs(self, call: Call[Query]) -> Reply:
        """Every rig of the town. Only for coordinators."""
        return self._answer(call, "rigs")

    def mail(self, call: Call[PageQuery]) -> Reply:
        """Messages, newest first. An agent sees those to itself."""
        return self._answer(call, "mail", limit=call.query.limit, cursor=call.query.cursor)

    def explain_bead(self, call: Call[ExplainQuery]) -> Reply:
        """The history of a bead, and why it waits now or waited at a past time. An agent may ask for the beads that it may see."""
        return self._answer(call, "explain_bead", subject=call.ids["beadId"], at=call.query.at)

    def explain_agent(self, call: Call[ExplainQuery]) -> Reply:
        """The history of an agent, and why it waits now or waited at a past time. An agent may ask only for itself."""
        return self._answer(call, "explain_agent", subject=call.ids["agentId"], at=call.query.at)

    @property
    def routes(self) -> tuple[Route[Any], ...]:
        """These routes."""
        return (
            _route("/status", "What the town of an agent is doing", self.status, Query),
            _route("/beads", "The beads that an agent may see", self.beads, BeadsQuery),
            _route("/beads/{beadId}", "One bead that an agent may see", self.bead, Query),
            _route("/agents", "The agents that an agent may see", self.agents, Query),
            _route("/convoys", "The convoys that an agent may see", self.convoys, PageQuery),
            _route("/reviews", "The reviews that an agent may see", self.reviews, StatusQuery),
            _route("/rigs", "The rigs of an agent's town", self.rigs, Query),
            _route("/escalations", "The escalations of an agent's town", self.escalations, StatusQuery),
            _route("/mail", "The messages that an agent may see", self.mail, PageQuery),
            _route("/explain/beads/{beadId}", "Why a bead of an agent waits", self.explain_bead, ExplainQuery),
            _route("/explain/agents/{agentId}", "Why an agent waits, for agents", self.explain_agent, ExplainQuery),
        )

    def _of_status(self, call: Call[StatusQuery], question: Any) -> Reply:
        asked = call.query
        return self._answer(
            call, question, wanted=BeadFilter(status=asked.status), limit=asked.limit, cursor=asked.cursor
        )

    def _answer(self, call: Call[Any], question: Any, **parameters: Any) -> Reply:
        from shared.questions import agent_view  # noqa: PLC0415 - see the docstring of functions.debug.app

        at = self.deployment()
        now = at.around.clock.now()
        holder = claims.holder_of(call.event, now)
        require_town_id(call.town_id)
        if holder.town != call.town_id:
            raise not_found()
        at.pace.require(call.town_id, holder.sender.scope, holder.sender.agent, now=now)
        asked = agent_view.Asked(question, **parameters)
        return api.answer(200, drive(agent_view.seen_by(call.town_id, holder.sender, asked, at.around, at.past())))


def _route(below: str, summary: str, answer: Callable[[Call[Any]], Reply], query: type[Query]) -> Route[Any]:
    return Route("GET", TOWN + below, summary, _with_a_token, answer, query, "townToken")


def _with_a_token(_: Mapping[str, Any], ids: Mapping[str, str]) -> None:
    """Admit every request: the gateway has verified its token, and the town judges the claims."""
