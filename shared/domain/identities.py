"""Whether a pull request is the one that was agreed: repositories are compared by the id that the forge gives them."""

from typing import NamedTuple, Protocol

from shared.domain.notes import Metadata
from shared.domain.orders import ExpectedIdentity


class HasId(Protocol):
    """A repository at a forge."""

    @property
    def id(self) -> str: ...  # noqa: D102


class Seen(Protocol):
    """Which pull request a forge shows: see `shared.ports.forge.Identity`."""

    @property
    def head_repository(self) -> HasId | None: ...  # noqa: D102
    @property
    def head_branch(self) -> str: ...  # noqa: D102
    @property
    def base_repository(self) -> HasId: ...  # noqa: D102
    @property
    def base_branch(self) -> str: ...  # noqa: D102


class Difference(NamedTuple):
    """One field in which a pull request differs from what was agreed."""

    field: str
    expected: str
    found: str | None

    @property
    def says(self) -> str:
        """The difference in one clause, for people."""
        found = "none" if self.found is None else self.found
        return f"{self.field.replace('_', ' ')}: expected {self.expected}, found {found}"


def differences(expected: ExpectedIdentity, seen: Seen) -> tuple[Difference, ...]:
    """Every field that differs. A field that is not known yet (None) is not compared."""
    head = seen.head_repository
    pairs = (
        ("base_repository", expected.base_repository, seen.base_repository.id),
        ("head_repository", expected.head_repository, None if head is None else head.id),
        ("head_branch", expected.head_branch, seen.head_branch),
        ("base_branch", expected.base_branch, seen.base_branch),
    )
    return tuple(
        Difference(field, wanted, found) for field, wanted, found in pairs if wanted is not None and wanted != found
    )


def of_pin(pinned: Metadata) -> ExpectedIdentity:
    """The identity that the note `pinned` of a babysat pull request keeps. A part that is not a text is not known."""
    known = {name: value if isinstance(value, str) else None for name, value in pinned.items()}
    return ExpectedIdentity(
        head_repository=known.get("head_repository"),
        head_branch=known.get("head_branch"),
        base_repository=known.get("base_repository"),
        base_branch=known.get("base_branch"),
    )


def is_complete(expected: ExpectedIdentity | None) -> bool:
    """Whether everything is known that must be compared before a merge."""
    return expected is not None and None not in (
        expected.head_repository,
        expected.head_branch,
        expected.base_repository,
        expected.base_branch,
    )
