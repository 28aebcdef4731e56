"""What agents ask about their town, with their own tokens: the questions that people ask, cut to what the agent may see.

Everything in an answer was written by others: an agent that prints it quotes it (`shared.domain.quoting`).
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, Literal

from shared.domain.errors import Refused
from shared.domain.senders import Sender
from shared.ports.steps import Call, Steps
from shared.ports.town_past import TownPast
from shared.ports.town_store import TownImage
from shared.questions import bead_list, bead_view, letters, rosters, town_lists
from shared.questions.bead_list import BeadList, ConvoyList
from shared.questions.bead_view import BeadAnswer
from shared.questions.filters import LIMIT, BeadFilter
from shared.questions.letters import LetterList
from shared.questions.rosters import AgentList
from shared.questions.sight import Sight, sight_of
from shared.questions.town_lists import EscalationList, ReviewList, RigList
from shared.runner.surroundings import Surroundings
from shared.town import database, migrations

if TYPE_CHECKING:
    from shared.questions.explain import Explanation
    from shared.questions.status import TownStatus

InImage = BeadList | BeadAnswer | AgentList | ConvoyList | ReviewList | RigList | EscalationList | LetterList
"""The answers that need nothing but the image."""

Question = Literal[
    "status",
    "beads",
    "bead",
    "agents",
    "convoys",
    "reviews",
    "rigs",
    "escalations",
    "mail",
    "explain_bead",
    "explain_agent",
]

_COORDINATORS_ONLY: Final = ("status", "rigs", "escalations")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with its parameters. `subject` is the bead or agent that it is about; each question reads only its own ones."""

    question: Question
    subject: str = ""
    wanted: BeadFilter = field(default_factory=BeadFilter)
    limit: int = LIMIT
    cursor: str | None = None
    at: datetime | None = None


def seen_by(
    town_id: str, holder: Sender, asked: Asked, around: Surroundings, past: TownPast
) -> "Steps[InImage | TownStatus | Explanation]":
    """The answer to a question, as far as the holder of a token may see it; the town's image is loaded once.

    Raises UnknownTown; Refused: 403 with the reason if it may see nothing, or if only coordinators may ask this; 404 if it may not
    see this bead or agent, whether or not there is one; and what the question itself raises.
    """
    if asked.question in ("explain_bead", "explain_agent"):
        return (yield from _explained(town_id, holder, asked, around, past))
    place = bead_list.place_in(asked.cursor)
    image = yield from around.store.load(town_id)
    now: datetime = yield Call("clock", around.clock.now)
    with migrations.readable(image.content) as sql:
        database.check_identity(sql, town_id)
        sight = _sight(asked, sight_of(sql, town_id, holder, now=now))
    if asked.question == "status":
        from shared.questions import status  # noqa: PLC0415 - it needs the rules, which most questions do not

        return (yield from status.status_of(image, around))
    return _in_image(image, asked, sight, place, now)


def _in_image(image: TownImage, asked: Asked, sight: Sight, place: bead_list.Place, now: datetime) -> InImage:
    """The answer to a question that the image alone answers."""
    in_full: Collection[str] | None = None if sight.whole_town else sight.in_full
    if asked.question == "bead":
        return bead_view.bead_in(image, asked.subject)
    if asked.question == "agents":
        return rosters.agents_in(image, among=None if sight.whole_town else (sight.agent_id,))
    if asked.question == "convoys":
        return bead_list.convoys_in(image, limit=asked.limit, place=place, among=in_full)
    if asked.question == "reviews":
        status = asked.wanted.status
        return town_lists.reviews_in(image, status=status, limit=asked.limit, place=place, among=in_full)
    if asked.question == "mail":
        return letters.mail_in(image, limit=asked.limit, place=place, among=in_full)
    if asked.question == "escalations":
        return town_lists.escalations_in(image, status=asked.wanted.status, limit=asked.limit, place=place)
    if asked.question == "rigs":
        return town_lists.rigs_in(image)
    in_lists = None if sight.whole_town else sight.in_lists
    return bead_list.beads_in(
        image, asked.wanted, now=now, limit=asked.limit, place=place, among=in_lists, told=in_full
    )


def _explained(
    town_id: str, holder: Sender, asked: Asked, around: Surroundings, past: TownPast
) -> "Steps[Explanation]":
    """An explanation. It reads the past, whose newest image is the present one: so that one is judged."""
    from shared.questions import explain  # noqa: PLC0415 - as above

    newest = yield from past.newest(town_id)
    now: datetime = yield Call("clock", around.clock.now)
    with migrations.readable(newest.image) as sql:
        database.check_identity(sql, town_id)
        _sight(asked, sight_of(sql, town_id, holder, now=now))
    explained = explain.explain_bead if asked.question == "explain_bead" else explain.explain_agent
    return (yield from explained(town_id, asked.subject, past, now=now, at=asked.at))


def _sight(asked: Asked, sight: Sight) -> Sight:
    """The sight, if it reaches what is asked. Raises Refused (403, 404)."""
    if sight.whole_town:
        return sight
    if asked.question in _COORDINATORS_ONLY:
        hint = f"ask for your own bead: `beads/ID`, `explain/beads/ID`, or the lists, which show what {sight.agent_id} may see"
        raise Refused(f"only the mayor and triage may ask for the {asked.question} of a town", status=403, hint=hint)
    if asked.question in ("bead", "explain_bead") and asked.subject not in sight.in_full:
        hint = "an agent sees its own bead, the review and source of it, its convoy, its mail and itself"
        raise Refused("there is no such bead, or this agent may not see it", status=404, path="beadId", hint=hint)
    if asked.question == "explain_agent" and asked.subject != sight.agent_id:
        hint = f"an agent sees only itself: {sight.agent_id}"
        raise Refused("there is no such agent, or this agent may not see it", status=404, path="agentId", hint=hint)
    return sight
