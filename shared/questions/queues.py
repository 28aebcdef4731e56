"""Queues: the place of a row among those that wait for the same refinery, rig or triage batch, and the work in progress."""

from collections.abc import Iterable, Iterator, Mapping

from shared.domain.states import Role
from shared.domain.tick import Tick
from shared.questions.relaxed import under_review
from shared.questions.rows import Row
from shared.questions.since import Beginnings
from shared.questions.waiting import AtWork, QueuePlace, Waiting
from shared.rules import beads, reviews
from shared.rules.beads import busy_polecats
from shared.town.reading import TownReader

_QUEUES = ("one_at_a_time", "rig_full", "batch_live", "requests_ahead")


def places(
    town: TownReader, tick: Tick, rows: Mapping[str, Row], waits: Mapping[str, Waiting], began: Beginnings
) -> dict[str, QueuePlace]:
    """The places of all rows that wait in a queue, by id. A row that anything else holds back is not in a queue."""
    queues: dict[tuple[str, str | None], list[str]] = {}
    for bead_id in _in_order(town, tick, rows):
        waiting = waits.get(bead_id)
        if waiting is not None and waiting.guards[0].guard in _QUEUES:
            kind = waiting.guards[0].guard
            rig_id = rows[bead_id].rig_id if kind in ("one_at_a_time", "rig_full") else None
            queues.setdefault((kind, rig_id), []).append(bead_id)
    found = {}
    for (kind, rig_id), queue in queues.items():
        now = tuple(_served(town, kind, rig_id, began))
        for position, bead_id in enumerate(queue, start=1):
            found[bead_id] = QueuePlace(position, len(queue), now)
    return found


def _in_order(town: TownReader, tick: Tick, rows: Mapping[str, Row]) -> Iterable[str]:
    """All rows in the order in which the rules serve them: beads with a hooked agent (B2) before the others (B1, R5, H2)."""
    hooked = [agent.hook for agent in town.agents if agent.hook is not None and agent.hook in rows]
    requests = [request.id for request in town.triage_requests]
    in_review = [review.id for review in reviews.in_turn(town.reviews, tick)]
    ready = [issue.id for issue in beads.in_turn(town.issues, tick)]
    return dict.fromkeys((*hooked, *requests, *in_review, *ready, *rows))


def _served(town: TownReader, kind: str, rig_id: str | None, began: Beginnings) -> Iterator[AtWork]:
    if kind == "rig_full":
        for agent in busy_polecats(town, rig_id):
            if agent.hook is not None:
                yield AtWork(agent.hook, agent.id, began.hooked(agent.id, agent.hook))
    elif kind == "one_at_a_time":
        yield from _under_review(town, rig_id, began)
    elif town.triage_batch is not None:
        batch = town.triage_batch
        agent_on_it = town.hooks.get(batch.id)
        yield AtWork(batch.id, None if agent_on_it is None else agent_on_it.id, began.entered(batch.id))


def _under_review(town: TownReader, rig_id: str | None, began: Beginnings) -> Iterator[AtWork]:
    """The review that the refinery works on; if there is none, the bead that it is hooked to, for example a pull request."""
    current = [review.id for review in town.reviews if review.rig_id == rig_id and under_review(review)]
    refineries = [agent for agent in town.agents if agent.role is Role.REFINERY and agent.rig_id == rig_id]
    current += [agent.hook for agent in refineries if agent.hook is not None]
    for bead_id in dict.fromkeys(current):
        agent_on_it = town.hooks.get(bead_id)
        yield AtWork(bead_id, None if agent_on_it is None else agent_on_it.id, began.entered(bead_id))
