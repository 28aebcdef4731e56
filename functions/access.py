"""Who may do what: a second wall behind the gateway, so that a route that was wired wrongly gives no data away.

A caller is known by the ARN that the gateway has verified. What it may do are the rules of the deployment. A town that
a caller may not see looks exactly like one that does not exist. Every answer leaves a line that names caller and town.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from functions.problems import not_found
from functions.settings import AccessRule
from shared.domain.errors import Refused
from shared.storage import keys

Verb = Literal["read", "debug", "write"]

_SHOWN: Final = 128


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as the gateway describes it: who asks, by which route, under which id."""

    caller: str
    route: str
    request_id: str


def request_of(event: Mapping[str, Any]) -> SignedRequest:
    """The verified caller of an HTTP API event. Raises Refused (401) if the gateway has verified nobody."""
    context = event.get("requestContext") or {}
    caller = ((context.get("authorizer") or {}).get("iam") or {}).get("userArn")
    if not isinstance(caller, str) or not caller.startswith("arn:"):
        hint = "sign the request with SigV4: townctl --api URL does"
        raise Refused("nobody has proven who asks", status=401, hint=hint)
    return SignedRequest(caller, str(event.get("routeKey", ""))[:_SHOWN], str(context.get("requestId", ""))[:_SHOWN])


class Access:
    """The rules of a deployment, and the line that each decision leaves."""

    def __init__(self, rules: Sequence[AccessRule], write_line: Callable[[str], object]) -> None:
        self._rules = rules
        self._write_line = write_line

    def require(self, request: SignedRequest, verb: Verb, town_id: str) -> None:
        """Let the caller do it to that town. Raises Refused: 404 if it may not even see the town, else 403."""
        if self._allows(request.caller, verb, town_id):
            return self._audit("access.granted", request, verb, town_id)
        self._audit("access.refused", request, verb, town_id)
        if any(self._allows(request.caller, other, town_id) for other in ("read", "debug", "write")):
            hint = f"the deployment's AccessRules have to allow you the verb {verb} here"
            raise Refused(f"you may not {verb} this town", status=403, hint=hint)
        raise not_found()

    def list_towns(self, request: SignedRequest) -> tuple[str, ...]:
        """Let the caller list towns: what the ids of those that it may read begin with, so that no others are looked at."""
        self._audit("access.granted", request, "read", None)
        found = {pattern.partition("*")[0] for pattern in self._readable(request.caller)}
        return tuple(sorted(each for each in found if not any(each.startswith(other) for other in found - {each})))

    def may_read(self, request: SignedRequest, town_id: str) -> bool:
        """Whether a list of towns shows this one to the caller."""
        return self._allows(request.caller, "read", town_id)

    def _readable(self, caller: str) -> Iterator[str]:
        for rule in self._rules:
            if "read" in rule.verbs and _fits(rule.callers, caller):
                yield from rule.towns

    def _allows(self, caller: str, verb: str, town_id: str) -> bool:
        return any(
            verb in rule.verbs and _fits(rule.callers, caller) and _fits(rule.towns, town_id) for rule in self._rules
        )

    def _audit(self, event: str, request: SignedRequest, verb: Verb, town_id: str | None) -> None:
        line = {
            "event": event,
            "caller": request.caller,
            "verb": verb,
            "route": request.route,
            "request_id": request.request_id,
            "town_id": None if town_id is None else town_id[:_SHOWN],
        }
        self._write_line(json.dumps(line))


def require_town_id(town_id: str) -> None:
    """What can be no town's id is a town that does not exist. Raises Refused (404) before the store is asked."""
    try:
        keys.checked_town_id(town_id)
    except Refused:
        raise not_found() from None


def _fits(patterns: Iterable[str], text: str) -> bool:
    """Whether one of the patterns is the whole text; `*` stands for anything, every other character for itself."""
    return any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) for pattern in patterns)
