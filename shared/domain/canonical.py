"""JSON in the one form that towns store and digests cover: sorted keys, no whitespace, non-ASCII kept, no NaN."""

import hashlib
import json


def dumps(value: object) -> str:
    """Canonical JSON text. Raises ValueError for NaN and infinities."""
    return _ENCODER.encode(value)


def digest(value: object) -> str:
    """The SHA-256 of the canonical text, in hex."""
    return hashlib.sha256(dumps(value).encode()).hexdigest()


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
