"""What reading a secret has in common, whichever service of AWS keeps it."""

from datetime import timedelta
from typing import Final

from shared.adapters.aws_sdk import code_of
from shared.domain.errors import AccessDenied, SecretsUnavailable, TownError

KEPT_FOR: Final = timedelta(minutes=5)
"""How long a secret that was read is used without asking again."""

_REFUSED: Final = frozenset(
    {"AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException"}
)


def unreadable(error: Exception, name: str, *, allow: str) -> TownError:
    """The error for a failed request of the SDK for a secret. `allow`: the permission to allow, and on what."""
    code = code_of(error)
    if code in _REFUSED:
        return AccessDenied(f"the secret {name} may not be read: {code}", hint=f"allow {allow}")
    return SecretsUnavailable(f"the secret {name} could not be read: {code or type(error).__name__}")
