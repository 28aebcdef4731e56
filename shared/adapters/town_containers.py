"""Town containers that somebody else starts and stops: only their addresses are configured."""

from collections.abc import Mapping

from shared.ports.runtime import Awake, Done, NotDone, StartRejected, StartUnknown


class FixedAddresses:
    """Control servers that somebody else runs, at addresses of the deployment's configuration: never of a town's own, for
    whoever may configure a town must not choose who is sent its tokens.

    `pattern` is a base URL that may hold {town}; `exceptions` are base URLs of single towns.
    """

    def __init__(self, pattern: str | None = None, *, exceptions: Mapping[str, str] | None = None) -> None:
        self._pattern = pattern
        self._exceptions = dict(exceptions or {})

    def address(self, town_id: str) -> str | None:
        """The configured base URL; None if there is none for this town."""
        found = self._exceptions.get(town_id, self._pattern)
        return None if found is None else found.replace("{town}", town_id).rstrip("/")

    def wake(self, town_id: str, *, effect_id: str, seconds: float) -> Awake | StartRejected | StartUnknown:  # noqa: ARG002 - the protocol's shape
        """The address, whoever answers there."""
        address = self.address(town_id)
        if address is None:
            return StartRejected(f"no control server is configured for town {town_id}", kind="bad_configuration")
        return Awake(address)

    def stop(self, town_id: str, *, effect_id: str) -> Done | NotDone:  # noqa: ARG002 - as above
        """Not ours to stop."""
        return NotDone("this deployment does not manage the containers of its towns", passing=False)

    def state(self, town_id: str) -> str:  # noqa: ARG002 - as above
        """`unmanaged`: so no rule asks for its stop."""
        return "unmanaged"
