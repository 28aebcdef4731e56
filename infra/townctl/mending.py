"""`townctl mend`: make objects of a town again that are damaged or missing, from what is still there."""

from collections.abc import Iterator
from typing import Annotated

from cyclopts import Parameter
from rich.console import RenderableType

from infra.townctl.arguments import TownName
from infra.townctl.context import TheContext
from infra.townctl.output import FOUND, OK, Answer, table
from infra.townctl.wording import quantity
from shared.domain.shapes import answer
from shared.ports.steps import drive
from shared.storage import remaking
from shared.storage.remaking import NotRemade, Remade


@answer
class MendedTown:
    """The objects that were made again, or that can be, and those that cannot."""

    town_id: str
    written: bool
    remade: tuple[Remade, ...]
    not_remade: tuple[NotRemade, ...]


def mend(
    town_id: TownName,
    /,
    *,
    only_list: Annotated[bool, Parameter(negative="", help="Only show what can be made again; write nothing.")] = False,
    context: TheContext,
) -> Answer:
    """Make objects of a town again that are damaged or missing, from what is still there.

    They are patch files, spills, snapshots, journal objects and the archive's index. Past heads, journal rows in images and the
    blocks of the archive say what these objects contained. Nothing that can be read is changed. Exit code 1 if an object cannot
    be made again.
    """
    past = context.kept_past(town_id)
    decided = drive(remaking.plan(past))
    if not only_list:
        drive(remaking.carry_out(past, decided))
    done = MendedTown(town_id, not only_list, decided.remade, decided.not_remade)
    return Answer(done, tuple(_view(done)), FOUND if done.not_remade else OK)


def _view(done: MendedTown) -> Iterator[RenderableType]:
    verb = "made again" if done.written else "can be made again"
    if done.remade:
        yield table("object", f"{verb} of", rows=[(each.key, each.made_of) for each in done.remade])
    if done.not_remade:
        rows = [(each.key, each.why, each.hint) for each in done.not_remade]
        yield table("object", "why it cannot be made again", "what to do", rows=rows)
    if not done.remade and not done.not_remade:
        yield f"no object of town {done.town_id} is damaged or missing"
    else:
        yield f"{quantity(len(done.remade), 'object')} {verb}, {quantity(len(done.not_remade), 'object')} cannot be"
