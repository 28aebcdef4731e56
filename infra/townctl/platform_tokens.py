"""What `townctl doctor` says of the platform's tokens and Apps.

It names the towns that use a token without a list of the towns that it serves, and every secret that cannot be used.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from shared.adapters.clock import SystemClock
from shared.adapters.forge_tokens import PlatformToken, names_for
from shared.adapters.github.app import SECRET, AppSecret, signed_by
from shared.domain.errors import Terminal
from shared.domain.repositories import repository_at
from shared.ports.forge import Asker, ForgeError
from shared.ports.secrets import Secret
from shared.questions.rosters import TownSettings

_PLATFORMS: Final = "platform/forges/"
_HINT: Final = (
    "give each of these towns a token of its own with `townctl secret set`, or say what it may reach: "
    "townctl secret set-platform FORGE --serves TOWN=OWNER/REPOSITORY --keep-token"
)


class NamedSecrets(Protocol):
    """Secrets that can be listed and read."""

    def get(self, name: str) -> Secret | None:
        """The secret of that name."""
        ...

    def names(self) -> tuple[str, ...]:
        """The names of all of them."""
        ...


class Unsafe(NamedTuple):
    """A platform's token that needs attention: its name, what is wrong, and what to do."""

    name: str
    problem: str
    hint: str


def unsafe(secrets: NamedSecrets, towns: Callable[[], Iterable[TownSettings]]) -> Iterator[Unsafe]:
    """The platform's tokens that serve every town, with the towns that use them, and those that cannot be read.

    `towns` is called only if there is a token without a list.
    """
    names = secrets.names()
    yield from _unusable_apps(secrets, names)
    for name in names:
        stored = secrets.get(name) if name.startswith(_PLATFORMS) else None
        if stored is None:
            continue
        try:
            if PlatformToken.read(stored).towns is not None:
                continue
        except Terminal as error:
            yield Unsafe(name, error.message, error.hint)
            continue
        users = sorted(town.town_id for town in towns() if _uses(town, name, frozenset(names)))
        if users:
            problem = f"it serves every town without a list, until 0.3, and these towns use it: {', '.join(users)}"
            yield Unsafe(name, problem, _HINT)


def _unusable_apps(secrets: NamedSecrets, names: Iterable[str]) -> Iterator[Unsafe]:
    """The GitHub Apps whose secret cannot be read, or whose key signs nothing. No forge is asked."""
    for name in names:
        stored = secrets.get(name) if name.startswith(SECRET) else None
        if stored is None:
            continue
        try:
            signed = signed_by(AppSecret.read(stored), SystemClock().now())
        except Terminal as error:
            yield Unsafe(name, error.message, error.hint)
            continue
        if isinstance(signed, ForgeError):
            yield Unsafe(
                name, signed.message, "store it again: townctl secret set-app APP-ID --serves TOWN=OWNER < KEY-FILE"
            )


def _uses(town: TownSettings, platform: str, names: frozenset[str]) -> bool:
    """Whether a rig of the town is at the host of that token and has no nearer one."""
    for rig in town.rigs:
        repository = repository_at(rig.git_url)
        if repository is None:
            continue
        *own, last = names_for(Asker(town.town_id, rig.rig_id), repository.host)
        if last == platform and names.isdisjoint(own):
            return True
    return False
