"""The answer of the credentials API. OpenAPI is generated from it."""

from dataclasses import field

from shared.domain.repositories import ForgeKind
from shared.domain.shapes import Time, answer


@answer
class IssuedForge:
    """A credential for one repository, and the URL of its forge's API. `expires_at` is null if only the forge knows when the token
    ends.
    """

    host: str
    kind: ForgeKind
    project: str
    username: str
    expires_at: Time | None
    api_url: str
    token: str = field(repr=False)


@answer
class IssuedCredential:
    """The credential of an agent's generation, or in words why there is none; one of the two is null.

    For a rig with an ssh address, `ssh_key` is the deploy key of its repository, null if there is none. `known_hosts` are the only
    keys of hosts that ssh accepts; null: those that it sees first.
    """

    forge: IssuedForge | None
    reason: str | None
    known_hosts: str | None
    ssh_key: str | None = field(repr=False)
