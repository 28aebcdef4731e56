"""`townctl review`, `rig`, `escalation` and `mail`: lists of what is in a town."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from infra.townctl.arguments import TownName, require_limit
from infra.townctl.output import Answer, short, time_text
from infra.townctl.paging import CursorOption, LimitOption, listed
from infra.townctl.place import ThePlace
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
    rows = [
        (
            short(each.bead_id),
            each.status,
            short(each.source),
            short(each.reviewer),
            each.branch,
            each.pr_url,
            each.title,
        )
        for each in found.reviews
    ]
    columns = ("review", "status", "of", "reviewer", "branch", "pull request", "title")
    return listed(found, *columns, rows=rows, none=f"town {town_id} has no such reviews", after=found.next)


def rigs(town_id: TownName, /, *, place: ThePlace) -> Answer:
    """List the rigs of a town with the work in each."""
    found = place.rigs(town_id)
    rows = [
        (each.rig_id, each.name, each.git_url, each.default_branch, each.live_issues, each.agents_at_work)
        for each in found.rigs
    ]
    columns = ("rig", "name", "repository", "branch", "live issues", "agents at work")
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
    rows = [
        (
            short(each.bead_id),
            each.status,
            each.severity,
            "yes" if each.acknowledged else "",
            time_text(each.created_at),
            each.title,
        )
        for each in found.escalations
    ]
    columns = ("escalation", "status", "severity", "acknowledged", "created", "title")
    return listed(found, *columns, rows=rows, none=f"town {town_id} has no such escalations", after=found.next)


def mail(town_id: TownName, /, *, limit: LimitOption = 50, cursor: CursorOption = None, place: ThePlace) -> Answer:
    """List the messages of a town, newest first, and whether they are delivered."""
    require_limit(limit, LIMIT_AT_MOST)
    found = place.mail(town_id, limit=limit, cursor=cursor)
    rows = [
        (
            short(each.bead_id),
            each.from_,
            each.to,
            time_text(each.at),
            "yes" if each.delivered else each.problem,
            each.title,
        )
        for each in found.messages
    ]
    columns = ("message", "from", "to", "at", "delivered", "title")
    return listed(found, *columns, rows=rows, none=f"town {town_id} has no messages", after=found.next)
