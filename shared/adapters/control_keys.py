"""The key that callers of a town's control server must present (there in TOWN_CONTROL_KEY). Every town has another one.

It is the town's own secret, or else derived from the platform's secret and the town's id. The platform's secret itself is given to
no container and sent to none, so whoever learns the key of one town can call the control server of that town and of no other.
"""

import hashlib
import hmac
from typing import Final

from shared.ports.secrets import Secrets

PLATFORM: Final = "platform/control-key"
_PURPOSE: Final = b"town-reconciler control key\n"


class ControlKeys:
    """Finds the key of a town's control server among the secrets. Raises what `Secrets.get` raises."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def __call__(self, town_id: str) -> str | None:
        """The key; None if none is stored. Then the request is sent without one."""
        own = self._secrets.get(f"towns/{town_id}/control-key")
        if own is not None:
            return own.reveal()
        platform = self._secrets.get(PLATFORM)
        return None if platform is None else derived(platform.reveal(), town_id)


def derived(platform: str, town_id: str) -> str:
    """The key of a town that has none of its own: HMAC-SHA256 of its id under the platform's secret, as 64 hexadecimal digits."""
    return hmac.digest(platform.encode(), _PURPOSE + town_id.encode(), hashlib.sha256).hex()
