"""Shared by both APIs: reading an HTTP API event, answering it, and answering every refusal with a problem document.

Our own strict decoder, not the framework, decodes bodies, so that hostile JSON is refused before any other code reads it.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, TypeVar

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.exceptions import RequestValidationError
from aws_lambda_powertools.event_handler.openapi.params import Path
from pydantic import BaseModel, ValidationError

from functions import log, problems
from shared.domain.errors import Refused, TownError
from shared.domain.field_errors import FieldError, first_error, what_is_expected
from shared.intake import strict_json

M = TypeVar("M", bound=BaseModel)
TownId = Annotated[str, Path(alias="townId", description="The town's id: lower-case letters, digits and hyphens.")]

BODY_SIZE: Final = 64 * 1024
NO_ROUTE: Final = "there is no such route, or not for this town"
ANSWER_SIZE: Final = 5_500_000
"""The longest answer in ASCII characters: a little less than the 6 MB that a Lambda may return."""
_DEPTH: Final = 32


def resolver() -> APIGatewayHttpResolver:
    """A router that answers refusals with problem documents, and all requests with `Cache-Control: no-store`."""
    app = APIGatewayHttpResolver(enable_validation=True)

    @app.exception_handler(TownError)  # type: ignore[untyped-decorator]
    def refuse(error: TownError) -> Response[str]:
        answered = problems.of_error(error)
        if answered.status_code == 500:  # the caller sees only its type, so the operator must see the rest
            log.request_broken(error)
        return answered

    @app.exception_handler(RequestValidationError)  # type: ignore[untyped-decorator]
    def refuse_parameters(error: RequestValidationError) -> Response[str]:
        first = FieldError.of(error.errors()[0])
        return problems.response(422, first.message, path=first.place)

    @app.not_found
    def no_such_route(_: NotFoundError) -> Response[str]:
        return problems.response(404, NO_ROUTE)

    return app


def answer(status: int, document: Mapping[str, Any]) -> Response[str]:
    """A JSON answer that must not be cached. Raises Refused (413) if it is longer than a Lambda may return."""
    body = json.dumps(document, separators=(",", ":"))
    if len(body) > ANSWER_SIZE:
        hint = "request less at a time, or read the town's image with townctl --bucket"
        raise Refused("the answer would be too large", status=413, hint=hint)
    return Response(status_code=status, content_type="application/json", headers=dict(problems.NO_STORE), body=body)


def body_of(event: Mapping[str, Any]) -> bytes:
    """The bytes of the request. Raises Refused."""
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode(errors="surrogatepass")
    try:
        return base64.b64decode(str(body), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("the body is not valid base64", status=400, path="body") from None


def json_of(body: bytes, *, limit: int = BODY_SIZE) -> Any:
    """The decoded body; None if it is empty. Raises Refused: 400 if it is not strict JSON, 413 if it is too long."""
    return strict_json.parse(body, limit=limit, depth=_DEPTH) if body.strip() else None


def read(model: type[M], body: bytes, *, limit: int = BODY_SIZE) -> M:
    """The body as a model; an empty body counts as an empty object. Raises Refused: 400, 413 as `json_of`, 422."""
    value = json_of(body, limit=limit)
    try:
        return model.model_validate({} if value is None else value)
    except ValidationError as error:
        problem = first_error(error)
        hint = what_is_expected(model, problem)
        raise Refused(problem.message, status=422, path=problem.place, hint=hint) from None


def run(app: APIGatewayHttpResolver, event: Any, context: Any, tell: Callable[[Exception], object]) -> dict[str, Any]:
    """Resolve a request. This is the error boundary: an unexpected error is reported and answered with 500, without details."""
    if not str(event.get("rawPath", "")).isprintable():
        # the framework would read `one` followed by a line feed as `one`, but IAM has checked the path as sent
        return _problem(404, NO_ROUTE)
    try:
        answered: dict[str, Any] = app.resolve(event, context)
    except Exception as error:  # noqa: BLE001 - the boundary: the error is reported and not shown
        tell(error)
        return _problem(500, "the request could not be answered; the error was reported to the operator")
    return answered


def _problem(status: int, detail: str) -> dict[str, Any]:
    """A problem document, without the framework."""
    headers = {"Content-Type": problems.CONTENT_TYPE, **problems.NO_STORE}
    body = json.dumps(problems.document(status, detail))
    return {"statusCode": status, "headers": headers, "body": body, "isBase64Encoded": False}
