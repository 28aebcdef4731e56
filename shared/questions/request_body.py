"""The base of the request bodies of the debug calls."""

from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError, WithJsonSchema

from shared.domain.errors import Refused
from shared.domain.field_errors import first_error, what_is_expected

EVENTS_AT_MOST: Final = 100
"""The most events in one request."""
A_TIME: Final = WithJsonSchema({"type": "string", "format": "date-time"})
"""The schema of a time that `time_in` reads."""
PostedEvent = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "title": "Event"})]
"""An event in a request; ingest validates it. The OpenAPI document has its full schema."""


class RequestBody(BaseModel):
    """A request body. Its names are in camelCase; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def read(cls, body: object) -> Self:
        """Validate a decoded JSON body. Raises Refused (422), which names the first invalid place."""
        try:
            return cls.model_validate({} if body is None else body)
        except ValidationError as error:
            first = first_error(error)
            place = first.place or "body"
            hint = what_is_expected(cls, first) or "see the OpenAPI document"
            raise Refused(f"{place}: {first.message}", status=422, path=place, hint=hint) from error
