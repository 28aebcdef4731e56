"""`townctl review`, `rig`, `escalation` and `mail`: lists of what is in a town."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich.text import Text

from infra.townctl import people
from infra.townctl.arguments import TownName, require_limit
from infra.townctl.output import Answer
from infra.townctl.paging import CursorOption, LimitOption, listed, present
from infra.townctl.people import state, when
from infra.townctl.place import ThePlace
from infra.ui.short_ids import short
from shared.questions.filters import LIMIT_AT_MOST, StatusFilter

StatusOption = Annotated[
    StatusFilter | None, Parameter(help="Only those with this status; live: neither closed nor failed.")
]


def reviews(
    town_id: TownName,
    /,
    *,
    status: StatusOption = None,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    place: ThePlace,
) -> Answer:
    """List the reviews of a town, including closed ones, newest first."""
    require_limit(limit, LIMIT_AT_MOST)
    found = place.reviews(town_id, status=status, limit=limit, cursor=cursor)
    now = present(place, town_id)
    rows = [
        (
            each.title,
            state(each.status, people.BEADS),
            each.pr_url,
            short(each.bead_id),
            short(each.source),
            short(each.reviewer),
            when(each.created_at, now),
            each.branch,
        )
        for each in found.reviews
    ]
    columns = ("title", "state", "pull request", "review", "of", "reviewer", "created", "branch")
    return listed(
        found,
        *columns,
        rows=rows,
        now=now,
        none=f"town {town_id} has no such reviews",
        after=found.next,
        total=found.total,
    )


def rigs(town_id: TownName, /, *, place: ThePlace) -> Answer:
    """List the rigs of a town with the work in each."""
    found = place.rigs(town_id)
    rows = [
        (each.name, each.live_issues, each.agents_at_work, each.rig_id, each.git_url, each.default_branch)
        for each in found.rigs
    ]
    columns = ("name", "live issues", "agents at work", "rig", "repository", "branch")
    return listed(found, *columns, rows=rows, none=f"town {town_id} has no rigs")


def escalations(
    town_id: TownName,
    /,
    *,
    status: StatusOption = None,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    place: ThePlace,
) -> Answer:
    """List the escalations of a town, including closed ones, newest first."""
    require_limit(limit, LIMIT_AT_MOST)
    found = place.escalations(town_id, status=status, limit=limit, cursor=cursor)
    now = present(place, town_id)
    rows = [
        (
            each.title,
            each.severity,
            "seen" if each.acknowledged else Text("not seen", style="yellow") if each.closed_at is None else None,
            state(each.status, people.BEADS),
            short(each.bead_id),
            when(each.created_at, now),
        )
        for each in found.escalations
    ]
    columns = ("title", "severity", "by a person", "state", "escalation", "created")
    return listed(
        found,
        *columns,
        rows=rows,
        now=now,
        none=f"town {town_id} has no such escalations",
        after=found.next,
        total=found.total,
    )


def mail(town_id: TownName, /, *, limit: LimitOption = 50, cursor: CursorOption = None, place: ThePlace) -> Answer:
    """List the messages of a town, newest first, and whether they are delivered."""
    require_limit(limit, LIMIT_AT_MOST)
    found = place.mail(town_id, limit=limit, cursor=cursor)
    now = present(place, town_id)
    rows = [
        (
            each.title,
            "delivered" if each.delivered else each.problem,
            short(each.from_),
            short(each.to),
            when(each.at, now),
            short(each.bead_id),
        )
        for each in found.messages
    ]
    columns = ("title", "delivery", "from", "to", "when", "message")
    return listed(
        found, *columns, rows=rows, now=now, none=f"town {town_id} has no messages", after=found.next, total=found.total
    )
