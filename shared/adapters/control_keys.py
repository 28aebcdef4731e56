"""The key that callers of a control server must present (there in TOWN_CONTROL_KEY): the town's own key, else the platform's."""

from typing import Final

from shared.ports.secrets import Secrets

PLATFORM: Final = "platform/control-key"


class ControlKeys:
    """Finds the key of a town's control server among the secrets. Raises what `Secrets.get` raises."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets

    def __call__(self, town_id: str) -> str | None:
        """The key; None if none is stored. Then the request is sent without one."""
        for name in (f"towns/{town_id}/control-key", PLATFORM):
            found = self._secrets.get(name)
            if found is not None:
                return found.reveal()
        return None
