"""An answer of the model before a protocol writes it, and the frames of a stream."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infra.devstack.model_server.scripts import Refuse, Say, Usage
from infra.devstack.model_server.tools import ToolCall


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `number` makes its ids unique at this server."""

    number: int
    model: str
    content: ToolCall | Say | Refuse
    usage: Usage


def frame(data: Mapping[str, Any], *, event: str = "") -> bytes:
    """One event of a stream (Server-Sent Events)."""
    head = f"event: {event}\n" if event else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def in_parts(text: str) -> tuple[str, ...]:
    """A text in two parts, so that programs have to put it together."""
    middle = len(text) // 2
    return tuple(part for part in (text[:middle], text[middle:]) if part)
