"""An alert: something that a person must be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person must be told. `fingerprint` groups repeats; `tags` and `extra` never hold secrets."""

    kind: str
    message: str
    fingerprint: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
