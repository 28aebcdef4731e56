"""Paths of the APIs: which route a request is for, and the ids in it.

A gateway decodes a path before it chooses a route, so an id with a slash looks like two segments, and some gateways cut a path
at a decoded question mark. A stage with a name stands before the path. Therefore an id at the end of a path is the whole
remainder of the path, and any id may also be written as `~` and its UTF-8 text in base64url (`written`), which every gateway
carries unchanged.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Final

from shared.adapters.path_ids import read

_PARAMETER: Final = re.compile(r"\{(\w+)\}")
_OF_ONE_SEGMENT: Final = ("townId", "eventId", "link")

OTHER_PATHS: Final[Mapping[str, tuple[str, ...]]] = {
    "/api/towns": ("GET",),
    "/api/towns/{townId}": ("PUT",),
    "/api/towns/{townId}/agents/{agentId}/refresh-token": ("POST",),
    "/api/towns/{townId}/events": ("GET", "POST"),
    "/api/towns/{townId}/agents/{agentId}/log": ("GET", "PUT"),
    "/api/towns/{townId}/operator/events": ("POST",),
    "/api/towns/{townId}/resume": ("POST",),
    "/api/towns/{townId}/archive": ("POST",),
    "/api/towns/{townId}/bring-back": ("POST",),
    "/api/towns/{townId}/delete": ("POST",),
    "/api/archived-towns": ("GET",),
    "/api/towns/{townId}/events/{eventId}/redrive": ("POST",),
    "/api/towns/{townId}/mayor/messages": ("GET", "POST"),
    "/acknowledge/{link}": ("GET", "POST"),
}
"""The paths of the events, the redrive, the archive and the credentials function with all their methods.

The debug function answers requests that match no route.
"""


def found_in(event: Mapping[str, Any], paths: Iterable[str]) -> tuple[str, dict[str, str]] | None:
    """The path that an HTTP API event is for and its parameters: the gateway's own, or else those in the decoded path."""
    known = tuple(paths)
    path = str(event.get("routeKey", "")).partition(" ")[2]
    given = event.get("pathParameters") or {}
    if path in known and all(isinstance(given.get(name), str) for name in _PARAMETER.findall(path)):
        return path, {name: _decoded(name, given[name]) for name in _PARAMETER.findall(path)}
    for path in sorted(known, key=lambda each: (each.count("{"), -len(each))):
        match = _pattern(path).fullmatch(_path_of(event))
        if match is not None:
            return path, {name: _decoded(name, value) for name, value in match.groupdict().items()}
    return None


def _path_of(event: Mapping[str, Any]) -> str:
    """The path of a request without the name of the stage, which a gateway puts before it unless the stage is `$default`."""
    path, stage = str(event.get("rawPath", "")), (event.get("requestContext") or {}).get("stage")
    prefix = f"/{stage}/"
    return path.removeprefix(prefix[:-1]) if path.startswith(prefix) else path


def _decoded(name: str, value: str) -> str:
    return value if name == "townId" else read(value)


@cache
def _pattern(path: str) -> re.Pattern[str]:
    """Each parameter is one segment, except that an id at the end of a path is the whole remainder."""
    pattern = re.escape(path)
    for name in _PARAMETER.findall(path):
        takes = ".+" if path.endswith(f"{{{name}}}") and name not in _OF_ONE_SEGMENT else "[^/]+"
        pattern = pattern.replace(rf"\{{{name}\}}", f"(?P<{name}>{takes})")
    return re.compile(pattern, re.DOTALL)
