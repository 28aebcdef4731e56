"""`townctl bucket gather`: after the place has changed where events wait, takes in what was left at the other one."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from infra.townctl.context import TheContext
from infra.townctl.output import Answer
from infra.townctl.wording import quantity
from shared.domain.errors import Refused
from shared.ports.steps import drive

if TYPE_CHECKING:
    from infra.townctl.context import Context
    from shared.adapters.s3_objects import S3Objects
    from shared.ports.object_store import PlainObjects


def gather(
    *,
    from_table: Annotated[str | None, Parameter(help="A table that the bucket does not use any more.")] = None,
    context: TheContext,
) -> Answer:
    """Take in events and due markers that were left where nobody reads them.

    Without a table, they are those in the bucket, if its own table keeps what waits now. Repeat it until it moves nothing, after
    all code with the old setting has ended.
    """
    from shared.storage import gathering

    there = _other_place(context, from_table)
    store = context.store()
    found = drive(gathering.gather(store, there, drive(store.towns()), now=context.checked_time(store)))
    if not found.batches and not found.markers:
        return Answer(found, ("nothing was left there",))
    moved = f"{quantity(found.batches, 'batch', 'batches')} of events and {quantity(found.markers, 'due marker')}"
    return Answer(found, (f"moved {moved}; call it again, until nothing is left there",))


def _other_place(context: "Context", table: str | None) -> "PlainObjects":
    """Where something may have been left. Raises Refused if that is where it is read."""
    if context.bucket is None:
        hint = "name the bucket with --bucket or TOWNCTL_BUCKET"
        raise Refused("a directory keeps what waits itself", status=400, path="bucket", hint=hint)
    objects: S3Objects = context.bucket.objects()
    used = context.bucket.table_of(objects)
    if table is None and used is None:
        hint = "name the table that it used before: --from-table NAME"
        raise Refused(
            f"{context.place} has no table: what waits is read there", status=400, path="from-table", hint=hint
        )
    if table is not None and table == used:
        hint = "leave --from-table out, to take in what was left in the bucket"
        raise Refused(f"what waits is read in the table {table}", status=400, path="from-table", hint=hint)
    return objects if table is None else context.bucket.table_named(table, objects)
