"""What `townctl doctor` says of the platform's tokens, of Apps and of deploy keys.

It names the towns that use a token without a list of the towns that it serves, and every secret that cannot be used.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, Protocol

from shared.adapters.clock import SystemClock
from shared.adapters.deploy_keys import checked_hosts, checked_key
from shared.adapters.forge_tokens import FOR_AGENTS, PlatformToken, names_for, rig_secret_name
from shared.adapters.github.app import SECRET, AppSecret, signed_by
from shared.domain.errors import Terminal
from shared.domain.repositories import repository_at, transport_of
from shared.ports.forge import Asker, ForgeError
from shared.ports.secrets import Secret
from shared.questions.rosters import TownSettings

_PLATFORMS: Final = "platform/forges/"
_DEPLOY_KEY: Final = "/deploy-key"
_KNOWN_HOSTS: Final = "/known-hosts"
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
    """A secret that needs attention: its name, what is wrong, and what to do."""

    name: str
    problem: str
    hint: str


def unsafe(secrets: NamedSecrets, towns: Callable[[], Iterable[TownSettings]]) -> Iterator[Unsafe]:
    """The platform's tokens that serve every town, with the towns that use them, and what cannot be used.

    `towns` is called only if there is a token without a list, or a deploy key.
    """
    names = secrets.names()
    yield from _unusable_apps(secrets, names)
    yield from _unusable_keys(secrets, names, towns)
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


def _unusable_keys(
    secrets: NamedSecrets, names: Iterable[str], towns: Callable[[], Iterable[TownSettings]]
) -> Iterator[Unsafe]:
    """The deploy keys that ssh cannot use, and those of which no rig makes use."""
    found = [name for name in names if name.startswith(FOR_AGENTS) and name.endswith(_DEPLOY_KEY)]
    used = {name for town in towns() for name in _deploy_keys_of(town)} if found else set()
    for name in found:
        if name not in used:
            hint = "give the rig an ssh address, or remove the key with townctl secret remove-deploy-key TOWN RIG"
            yield Unsafe(name, "no rig with an ssh address uses this deploy key", hint)
        for part, check in ((name, checked_key), (name.removesuffix(_DEPLOY_KEY) + _KNOWN_HOSTS, checked_hosts)):
            stored = secrets.get(part)
            try:
                if stored is not None:
                    check(stored.reveal())
            except Terminal as error:
                yield Unsafe(part, error.message, error.hint)


def _deploy_keys_of(town: TownSettings) -> Iterator[str]:
    """The names of the deploy keys that the town's rigs would use."""
    for rig in town.rigs:
        if transport_of(rig.git_url) == "ssh":
            yield rig_secret_name("deploy-key", town_id=town.town_id, rig_id=rig.rig_id)


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
