"""Ids in paths of the APIs: an id may be written as `~` and its UTF-8 text in base64url, which every gateway carries unchanged."""

import base64
import binascii
import re
from typing import Final

_SIMPLE: Final = re.compile(r"[A-Za-z0-9._:-]+", re.ASCII)
_BASE64: Final = "~"


def written(an_id: str) -> str:
    """An id as a segment of a path that every gateway carries unchanged."""
    if _SIMPLE.fullmatch(an_id) and an_id not in (".", ".."):
        return an_id
    return _BASE64 + base64.urlsafe_b64encode(an_id.encode()).decode().rstrip("=")


def read(segment: str) -> str:
    """The id that a decoded segment names. An id that begins with `~` but is not base64url is used unchanged."""
    if not segment.startswith(_BASE64):
        return segment
    encoded = segment.removeprefix(_BASE64)
    try:
        found = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return segment
    return found if found and written(found) == segment else segment
