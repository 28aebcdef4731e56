"""Authorization: a second check behind the gateway, so that a misconfigured route exposes no data.

A caller is identified by the ARN that the gateway has verified; the deployment's access rules say what it may do. A request
about a town that the caller may not see is answered exactly like one about an unknown town. Every decision writes an audit
line with the caller and the town.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from functions.problems import not_found
from functions.settings import AccessRule, Verb
from shared.domain.errors import Refused
from shared.storage import keys

_SHOWN: Final = 128


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as the gateway describes it: the verified caller, the route and the request id."""

    caller: str
    route: str
    request_id: str


def request_of(event: Mapping[str, Any]) -> SignedRequest:
    """The request of an HTTP API event. Raises Refused (401) if the gateway has not verified a caller."""
    context = event.get("requestContext") or {}
    caller = ((context.get("authorizer") or {}).get("iam") or {}).get("userArn")
    if not isinstance(caller, str) or not caller.startswith("arn:"):
        hint = "sign the request with SigV4, as townctl --api URL does"
        raise Refused("the request is not signed", status=401, hint=hint)
    return SignedRequest(caller, str(event.get("routeKey", ""))[:_SHOWN], str(context.get("requestId", ""))[:_SHOWN])


def person_in(caller: str) -> str:
    """The name of the person behind a verified ARN: that of the session or the user."""
    return caller.rpartition("/")[2] or caller


class Access:
    """The access rules of a deployment, and the audit line for each decision."""

    def __init__(self, rules: Sequence[AccessRule], write_line: Callable[[str], object]) -> None:
        self._rules = rules
        self._write_line = write_line

    def require(self, request: SignedRequest, verb: Verb, town_id: str) -> None:
        """Check that the caller may do this to that town. Raises Refused: 404 if it may not even see the town, else 403.

        An id that is not a valid town id gets the same answer as an unknown town, before the store is read.
        """
        is_an_id = _is_town_id(town_id)
        if is_an_id and self._allows(request.caller, verb, town_id):
            return self._audit("access.granted", request, verb, town_id)
        self._audit("access.refused", request, verb, town_id)
        if is_an_id and any(self._allows(request.caller, other, town_id) for other in get_args(Verb)):
            raise Refused(f"you may not {verb} this town", status=403, hint=self._hint(verb))
        raise not_found()

    def require_new(self, request: SignedRequest, town_id: str) -> None:
        """Check that the caller may create a town with this id. Raises Refused, whether or not the town exists.

        The status is 422 if no town can have this id, else 403.
        """
        try:
            keys.checked_town_id(town_id)
        except Refused as problem:
            self._audit("access.refused", request, "write", town_id)
            raise Refused("not a town id", status=422, path="townId", hint=problem.hint) from None
        if self._allows(request.caller, "write", town_id):
            return self._audit("access.granted", request, "write", town_id)
        self._audit("access.refused", request, "write", town_id)
        hint = "choose an id that the AccessRules of the deployment allow you to write, or have a rule added"
        raise Refused("you may not create a town with this id", status=403, path="townId", hint=hint)

    def admit(self, request: SignedRequest) -> SignedRequest:
        """Note a request that is about no town. Every signed one is allowed."""
        self._audit("access.granted", request, "read", None)
        return request

    def list_towns(self, request: SignedRequest) -> tuple[str, ...]:
        """The id prefixes of the towns that the caller may list, so that few other towns are read. Never raises."""
        self._audit("access.granted", request, "read", None)
        found = {pattern.partition("*")[0] for pattern in self._readable(request.caller)}
        return tuple(sorted(each for each in found if not any(each.startswith(other) for other in found - {each})))

    def may_read(self, request: SignedRequest, town_id: str) -> bool:
        """Whether a list of towns shows this one to the caller."""
        return self._allows(request.caller, "read", town_id)

    def _hint(self, verb: Verb) -> str:
        return f"the AccessRules of the deployment must allow you the verb {verb} on this town"

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
    """Answer an id that is not a valid town id like an unknown town: raises Refused (404) before the store is read."""
    if not _is_town_id(town_id):
        raise not_found()


def _is_town_id(text: str) -> bool:
    try:
        return bool(keys.checked_town_id(text))
    except Refused:
        return False


def _fits(patterns: Iterable[str], text: str) -> bool:
    """Whether one of the patterns matches the whole text. `*` matches anything, every other character only itself."""
    return any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) for pattern in patterns)
