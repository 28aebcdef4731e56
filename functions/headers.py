"""Headers of a request. An HTTP API sends their names in lower case; other gateways, and calls by hand, send them as written."""

from collections.abc import Mapping
from typing import Any


def header(event: Mapping[str, Any], name: str) -> str:
    """The value of a header, whose `name` is given in lower case; empty if the request does not have it."""
    found = event.get("headers") or {}
    value = found.get(name)
    if value is None:
        value = next((each for key, each in found.items() if key.lower() == name), "")
    return str(value)
