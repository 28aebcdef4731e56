"""Town containers that this deployment does not start or stop: only their addresses are configured."""

from collections.abc import Mapping

from shared.ports.runtime import Awake, Done, NotDone, StartRejected, StartUnknown


class FixedAddresses:
    """The TownContainers port for control servers at configured addresses, which run outside this deployment.

    The addresses come from the configuration of the deployment, never from that of a town: a person who may configure a town
    must not be able to choose where its tokens are sent. `pattern` is a base URL that may contain {town}; `exceptions` are the base
    URLs of single towns.
    """

    def __init__(self, pattern: str | None = None, *, exceptions: Mapping[str, str] | None = None) -> None:
        self._pattern = pattern
        self._exceptions = dict(exceptions or {})

    def address(self, town_id: str) -> str | None:
        """The configured base URL; None if none is configured for this town."""
        found = self._exceptions.get(town_id, self._pattern)
        return None if found is None else found.replace("{town}", town_id).rstrip("/")

    def wake(self, town_id: str, *, effect_id: str, seconds: float) -> Awake | StartRejected | StartUnknown:  # noqa: ARG002 - the protocol's shape
        """The configured address, whether a server answers there or not."""
        address = self.address(town_id)
        if address is None:
            return StartRejected(f"no control server is configured for town {town_id}", kind="no_agent_program")
        return Awake(address)

    def stop(self, town_id: str, *, effect_id: str) -> Done | NotDone:  # noqa: ARG002 - as above
        """NotDone: this deployment does not stop containers."""
        return NotDone("this deployment does not manage the containers of its towns", passing=False)

    def state(self, town_id: str) -> str:  # noqa: ARG002 - as above
        """`unmanaged`, so that no rule requests the stop of the container."""
        return "unmanaged"
