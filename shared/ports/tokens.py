"""The token port: making town tokens for containers and agents."""

from typing import Literal, Protocol


class MintToken(Protocol):
    """Makes a town token for the town's container, or for one generation of an agent. A token is valid for 8 hours.

    `shared.domain.orders.StartOrder.scope` says which scope an agent gets.
    """

    def __call__(
        self,
        town_id: str,
        *,
        scope: Literal["container", "agent", "coordinator"],
        agent_id: str | None = None,
        generation: int | None = None,
    ) -> str:
        """The token; every call returns a fresh one. The scopes `agent` and `coordinator` require an agent id.

        Raises TownError if no token can be made (no usable key, or the keys cannot be read). The caller then sends nothing.
        """
        ...
