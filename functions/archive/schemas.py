"""The bodies of the requests that archive and delete a town. Both repeat its id, so that a slip in an address changes nothing."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from shared.domain.errors import Refused


class _Confirmed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    confirm: Annotated[str, Field(description="The town's id once more.")]

    def require(self, town_id: str) -> None:
        """Raise Refused (422) unless the town of the path is meant."""
        if self.confirm != town_id:
            hint = "set `confirm` to the id of the town in the path; nothing was changed"
            raise Refused("the body names another town than the path", status=422, path="confirm", hint=hint)


class ArchiveTown(_Confirmed):
    """A paused town to put away, and why: the reason is kept with it."""

    reason: Annotated[str | None, Field(description="One line that says why.")] = None


class DeleteTown(_Confirmed):
    """An archived town to delete for good; `now` although its 30 days are not over."""

    now: Annotated[bool, Field(description="Delete it although its 30 days are not over.")] = False
