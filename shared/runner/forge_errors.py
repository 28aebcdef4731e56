"""The errors of forges in the form in which result events carry them."""

from shared.domain.times import to_text
from shared.ports.forge import ForgeError


def forge_error(error: ForgeError) -> dict[str, object]:
    """The error, without what is not known."""
    shown: dict[str, object] = {"kind": error.kind, "message": short(error.message)}
    if error.http_status is not None:
        shown["http_status"] = error.http_status
    if error.retry_at is not None:
        shown["retry_at"] = to_text(error.retry_at)
    about = {
        "secret": error.secret,
        "is_platform": error.is_platform,
        "host": error.host,
        "repository": error.repository,
    }
    return {**shown, **{key: value for key, value in about.items() if value}}


def short(text: str) -> str:
    """A text from outside, cut to 1,000 bytes so that it fits into an event."""
    return text.encode()[:1000].decode(errors="ignore")
