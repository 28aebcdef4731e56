"""The token for a request to a forge: the rig's, else the town's, else the platform's.

A token is stored under the name of its host, so it is never sent to another host.

The platform's token may be stored with the towns that it serves and, for each of them, the owners and repositories:

    {"token": "...", "towns": {"t1": ["acme", "other/app"], "t2": ["*"]}}

Then a town that is not named, or a repository that is not named for it, gets no token. No event can change that, because the list
stands beside the token. An owner stands for all its repositories, and a group of GitLab for its subgroups too; `*` stands for
everything at this host. Case does not matter. A plain token serves every town (until 0.3).

A token that is handed to agents has a name of its own (`agents/towns/t1/forges/github.com`), so that the token with which the town
merges never reaches an agent because somebody set agent_forge_access. The platform's token for agents must name its towns.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from shared.domain import strict_json
from shared.domain.errors import Refused, Terminal
from shared.domain.ids import is_town_id
from shared.ports.forge import Asker
from shared.ports.secrets import Secret, Secrets

LARGEST: Final = 64 << 10
"""The longest text of a platform's token with its towns, in bytes: what Secrets Manager takes."""
FOR_AGENTS: Final = "agents/"
"""The beginning of the names of what is handed to agents."""
_DEPTH: Final = 4
_ANYTHING: Final = "*"
_PATH: Final = re.compile(r"[a-z0-9_.+~-]+(/[a-z0-9_.+~-]+)*", re.ASCII)
_UNUSUAL: Final = re.compile(r"[^a-z0-9_-]|^$")


def secret_name(host: str, *, town_id: str | None = None, rig_id: str | None = None) -> str:
    """The name of a token: of a rig, of a town, or, without either, of the platform.

    Ids may contain any character. A character that a file name or Secrets Manager would not accept is written as its code
    (=2F for a slash), so two ids never share a name and no id leads to another directory.
    """
    parts = ["platform"] if town_id is None else ["towns", _part(town_id)]
    if rig_id is not None:
        parts += ["rigs", _part(rig_id)]
    return "/".join([*parts, "forges", re.sub(r"[^a-z0-9.-]", lambda found: f"={ord(found[0]):02X}", host)])


def rig_secret_name(what: Literal["deploy-key", "known-hosts"], *, town_id: str, rig_id: str) -> str:
    """The name of what a rig's agents get beside a token: the deploy key of its repository, and the keys of the ssh host."""
    return f"{FOR_AGENTS}towns/{_part(town_id)}/rigs/{_part(rig_id)}/{what}"


def agents_secret_name(host: str, *, town_id: str | None = None, rig_id: str | None = None) -> str:
    """The name of a token that is handed to agents.

    It begins with a part that no other name begins with, so that a role can be allowed to read such tokens and nothing else.
    """
    return FOR_AGENTS + secret_name(host, town_id=town_id, rig_id=rig_id)


@dataclass(frozen=True, slots=True)
class NamedToken:
    """A token and the name under which it is stored. `is_platform` says that it belongs to the deployment."""

    name: str
    token: Secret
    is_platform: bool


@dataclass(frozen=True, slots=True)
class NotServed:
    """The platform has a token, but it does not serve this repository for the town that asks."""

    project: str


@dataclass(frozen=True, slots=True)
class PlatformToken:
    """A platform's token, and the towns that it serves with their owners and repositories; None if it serves all of them."""

    token: Secret
    towns: Mapping[str, tuple[str, ...]] | None = None

    @classmethod
    def read(cls, stored: Secret) -> "PlatformToken":
        """The token in a stored text. Raises Terminal, without anything of the text, if it is neither of the two forms."""
        text = stored.reveal()
        if not text.lstrip().startswith(("{", "[")):
            return cls(stored)
        try:
            found = strict_json.parse(text.encode(errors="surrogatepass"), limit=LARGEST, depth=_DEPTH)
        except Refused:
            raise _malformed("it is not strict JSON") from None
        if not isinstance(found, dict) or set(found) != {"token", "towns"}:
            raise _malformed("it is not an object with token and towns")
        return cls.of(found["token"], found["towns"])

    @classmethod
    def of(cls, token: object, towns: object) -> "PlatformToken":
        """A token with the towns that it serves, as they were stored. Raises Terminal."""
        if not isinstance(token, str) or not token or not isinstance(towns, dict):
            raise _malformed("the token is not text, or towns is not an object")
        return cls(Secret(token), {town: _served(town, given) for town, given in towns.items()})

    def first_refused(self, asker: Asker, project: str) -> str | None:
        """The first repository that a request reads and that it does not serve; None if it serves all of them.

        A request about a pull request also reads the repositories of the rig.
        """
        touched = (project, *(each for each in (asker.repository, asker.upstream) if each is not None))
        return next((each for each in touched if not self.serves(asker.town_id, each)), None)

    def serves(self, town_id: str, project: str) -> bool:
        """Whether this town may use it for the repository at this path."""
        if self.towns is None:
            return True
        path = project.lower()
        return any(entry in (_ANYTHING, path) or path.startswith(f"{entry}/") for entry in self.towns.get(town_id, ()))


def names_for(asker: Asker, host: str) -> tuple[str, ...]:
    """The names under which a token for a host is looked for, the most specific first; the last is the platform's."""
    names = (secret_name(host, town_id=asker.town_id), secret_name(host))
    return names if asker.rig_id is None else (secret_name(host, town_id=asker.town_id, rig_id=asker.rig_id), *names)


def token_for(asker: Asker, host: str, secrets: Secrets, *, project: str) -> NamedToken | NotServed | None:
    """The most specific token for a repository at a host. Raises what `Secrets.get` raises, and Terminal for a malformed one.

    A request with it also reads the repositories of the rig, so the platform's token must serve them too.
    """
    return own_token(asker, host, secrets) or platform_token(asker, host, secrets, project=project)


def own_token(asker: Asker, host: str, secrets: Secrets) -> NamedToken | None:
    """The token of the rig, else of the town. Raises what `Secrets.get` raises."""
    return _own(names_for(asker, host), secrets)


def platform_token(asker: Asker, host: str, secrets: Secrets, *, project: str) -> NamedToken | NotServed | None:
    """The platform's token, if it serves the repository for the town. Raises as `token_for`."""
    name = names_for(asker, host)[-1]
    stored = secrets.get(name)
    return None if stored is None else _served_by(PlatformToken.read(stored), name, asker, project)


def agents_names_for(asker: Asker, host: str) -> tuple[str, ...]:
    """As `names_for`, for the tokens that are handed to agents."""
    return tuple(FOR_AGENTS + name for name in names_for(asker, host))


def agents_token_for(asker: Asker, host: str, secrets: Secrets, *, project: str) -> NamedToken | NotServed | None:
    """As `token_for`, for a token that is handed to an agent. Raises Terminal if the platform's does not name its towns."""
    names = agents_names_for(asker, host)
    own = _own(names, secrets)
    stored = None if own is not None else secrets.get(names[-1])
    if stored is None:
        return own
    found = PlatformToken.read(stored)
    if found.towns is None:
        raise _malformed("it is for agents and does not say which towns it serves")
    return _served_by(found, names[-1], asker, project)


def _own(names: Sequence[str], secrets: Secrets) -> NamedToken | None:
    """The first token that is stored under one of these names, the last of which is the platform's and is left out."""
    for name in names[:-1]:
        token = secrets.get(name)
        if token is not None:
            return NamedToken(name, token, is_platform=False)
    return None


def _served_by(found: PlatformToken, name: str, asker: Asker, project: str) -> NamedToken | NotServed:
    refused = found.first_refused(asker, project)
    return NamedToken(name, found.token, is_platform=True) if refused is None else NotServed(refused)


def _served(town_id: str, given: object) -> tuple[str, ...]:
    """The owners and repositories of a town, in lower case. Raises Terminal."""
    if not is_town_id(town_id):
        raise _malformed("towns names a town that no town can be")
    if not isinstance(given, list) or not given:
        raise _malformed(f"the town {town_id} has no list of owners and repositories")
    return tuple(_entry(town_id, each) for each in given)


def _entry(town_id: str, given: object) -> str:
    entry = given.lower() if isinstance(given, str) else ""
    parts = entry.split("/")
    if entry != _ANYTHING and (not _PATH.fullmatch(entry) or "." in parts or ".." in parts):
        raise _malformed(f"the list of the town {town_id} has something other than owner, owner/repository and *")
    return entry


def _malformed(why: str) -> Terminal:
    hint = 'store a token, or {"token": "...", "towns": {"TOWN": ["OWNER", "OWNER/REPOSITORY"]}}: townctl secret set-platform'
    return Terminal(f"the platform's token cannot be used: {why}", hint=hint)


def _part(given: str) -> str:
    return _UNUSUAL.sub(lambda found: "".join(f"={byte:02X}" for byte in found[0].encode()) or "=", given)


def with_towns(token: Secret, towns: Iterable[tuple[str, str]]) -> Secret:
    """The text to store for a token that serves these pairs of town and owner or repository. Raises Terminal."""
    made = Secret(json.dumps({"token": token.reveal(), "towns": listed(towns)}))
    PlatformToken.read(made)
    return made


def listed(towns: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """These pairs of town and owner or repository as they are stored."""
    found: dict[str, list[str]] = {}
    for town_id, entry in towns:
        found.setdefault(town_id, []).append(entry)
    return found
