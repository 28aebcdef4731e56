"""The answer of the credentials API. OpenAPI is generated from it."""

from dataclasses import field

from shared.domain.repositories import ForgeKind
from shared.domain.shapes import Time, answer


@answer
class IssuedForge:
    """A credential for one repository. `expires_at` is null if only the forge knows when the token ends."""

    host: str
    kind: ForgeKind
    project: str
    username: str
    expires_at: Time | None
    token: str = field(repr=False)


@answer
class IssuedCredential:
    """The credential of an agent's generation, or in words why there is none; one of the two is null."""

    forge: IssuedForge | None
    reason: str | None
