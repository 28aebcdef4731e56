"""An alert: something that a person must be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Alert:
    """Something that a person must be told. `fingerprint` groups repeats.

    Alerts leave the town: they go to logs and to Sentry. So no part of one holds a text that others wrote, neither a payload nor
    the message of an error: only our own words, ids, sizes and digests (`shared.domain.secret_texts`). The texts stay in the town,
    where status, event lists and ticks show them to whoever may read it.
    """

    kind: str
    message: str
    fingerprint: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
