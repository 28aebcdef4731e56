"""Parts of a control server's answers, in both directions: the server writes them, and `ControlServerRuntime` reads them."""

from collections.abc import Mapping
from typing import Final

from shared.domain.processes import SignOfLife
from shared.domain.times import readable_time
from shared.ports.forge import ForgeError, Proof

_TEXTS_OF_A_SIGN: Final = {
    "last_event_type": "lastEventType",
    "last_event_at": "lastEventAt",
    "container_instance_id": "containerInstanceId",
}
_TOOLS: Final = "activeTools"


def sign_answer(sign: SignOfLife) -> dict[str, object]:
    """The field `signOfLife` of a control server's answer to GET /agents/{id}/status."""
    said = sign.said()
    texts = {wire: said[name] for name, wire in _TEXTS_OF_A_SIGN.items() if name in said}
    tools = {} if sign.active_tools is None else {_TOOLS: list(sign.active_tools)}
    return {"at": sign.at, **texts, **tools}


def sign_in(given: object) -> SignOfLife | None:
    """The meaning of that field. One that is not as it should be says nothing, as from a server that does not know it."""
    if not isinstance(given, dict) or readable_time(given.get("at")) is None:
        return None
    texts: dict[str, str | None] = {}
    for name, wire in _TEXTS_OF_A_SIGN.items():
        text = texts[name] = given.get(wire)
        if text is not None and not isinstance(text, str):
            return None
    tools = given.get(_TOOLS)
    if tools is not None and not isinstance(tools, list):
        return None
    return SignOfLife(at=given["at"], active_tools=None if tools is None else tuple(tools), **texts)


def proof_answer(found: Proof | ForgeError) -> dict[str, object]:
    """The answer of a control server to POST /merge-proof."""
    if isinstance(found, ForgeError):
        error = {"kind": found.kind, "message": found.message, "httpStatus": found.http_status, "host": found.host}
        return {"error": {name: value for name, value in error.items() if value is not None}}
    said = {"contained": found.contained, "sha": found.sha, "says": found.says}
    return {name: value for name, value in said.items() if value is not None}


def proof_in(body: Mapping[str, object]) -> Proof | ForgeError:
    """The meaning of that answer. One that cannot be read says nothing."""
    error = body.get("error")
    if isinstance(error, dict):
        status, host = error.get("httpStatus"), error.get("host")
        return ForgeError(
            "http" if isinstance(status, int) else "transient",
            str(error.get("message", ""))[:1000],
            http_status=status if isinstance(status, int) else None,
            host=host if isinstance(host, str) else None,
        )
    contained, sha = body.get("contained"), body.get("sha")
    return Proof(
        contained if isinstance(contained, bool) else None,
        sha if isinstance(sha, str) else None,
        str(body.get("says", ""))[:1000],
    )
