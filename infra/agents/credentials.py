"""Where an agent's credential for its forge comes from, and how long it is kept.

A credential is issued for one generation of one agent, and lives for about an hour. It is issued by the route
/refresh-token of the agent at TOWN_API, to the agent's town token or to that of its container; on the machine of a town, in this
process, from its data directory (TOWN_AGENT_DATA). Where agents read the town from a bucket, none is issued.

`Kept` fetches a new one before the old one ends, and when git says that the forge refused it. Between processes it lies in a file
that only its agent can read, on the desk of the generation: a stop deletes it. No order, log or argument of a program holds one.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal, get_args
from urllib.parse import quote

from infra.agents.posting import API_VARIABLE, DATA_VARIABLE, NotPosted, token_of
from infra.buckets import BUCKET_VARIABLE
from shared.adapters import outside_files
from shared.adapters.clock import SystemClock
from shared.adapters.local_supervisor import write_atomically
from shared.domain import times
from shared.domain.errors import Refused, Terminal, TownError, UnknownTown
from shared.ports.clock import Clock
from shared.ports.secrets import Secret

FILE: Final = "forge-credential.json"
"""The file of a credential, on the desk of its generation."""

MARGIN: Final = timedelta(minutes=5)
"""A credential that ends sooner is replaced: a push may take minutes."""

_LARGEST: Final = 64 << 10
_SECONDS: Final = 20.0
_UNUSABLE: Final = (
    "the town's answer about a credential for the forge cannot be read: container and town differ in version"
)


class NotIssued(Exception):
    """The town did not answer whether there is a credential. If `final`, asking again would fail again."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


@dataclass(frozen=True, slots=True)
class ForgeCredential:
    """A name and a token for one repository at one forge. `host` has the port of the forge's web pages, if that is not 443."""

    host: str
    kind: Literal["github", "gitlab"]
    project: str
    username: str
    token: Secret
    ends_at: datetime | None = None
    api_url: str | None = None

    def to_file(self) -> dict[str, object]:
        """The form in which it lies in its file, which is that of the town's answer. It contains the token."""
        return {
            "host": self.host,
            "kind": self.kind,
            "project": self.project,
            "username": self.username,
            "token": self.token.reveal(),
            "expiresAt": None if self.ends_at is None else times.to_text(self.ends_at),
            "apiUrl": self.api_url,
        }


@dataclass(frozen=True, slots=True)
class Issued:
    """The town's answer: a credential, the key of an ssh repository, or the reason why there is neither."""

    forge: ForgeCredential | None = None
    reason: str | None = None
    ssh_key: Secret | None = None
    known_hosts: str | None = field(default=None, repr=False)


Source = Callable[[], Issued]
"""Asks the town for a credential. Raises NotIssued."""

NOTHING: Final = Issued(reason="nothing here issues credentials for a forge, so git uses those of its user")
"""The answer where no town can be asked."""

OF_A_BUCKET: Final = Issued(
    reason="an agent that reads its town from a bucket does not know where the town's secrets are, so git uses the credentials of "
    "its user; keep the town in a data directory, or deploy it, so that agents ask its API"
)
"""The answer where the town is in a bucket that this process reads: a bucket holds no secrets."""


def read(answer: Mapping[str, Any]) -> Issued:
    """The answer of the town. Raises NotIssued, without anything of it. Fields of newer towns are ignored."""
    try:
        given, key, hosts, reason = (answer.get(name) for name in ("forge", "sshKey", "knownHosts", "reason"))
        forge = None if given is None else _forge(given)
        if not all(each is None or isinstance(each, str) for each in (key, hosts, reason)):
            raise TypeError
        return Issued(forge, reason, None if not key else Secret(key), hosts)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise NotIssued(_UNUSABLE, final=True) from None


def from_api(api: str, *, town_id: str, agent_id: str, generation: int, token: Callable[[], str]) -> Source:
    """Ask the API of the town. `token` is the town token of the agent's generation, or of its container. `generation` 0 means that
    of the token.
    """

    def ask() -> Issued:
        from shared.adapters.http_json import Answered, call
        from shared.adapters.path_ids import written

        path = f"/api/towns/{quote(town_id, safe='')}/agents/{written(agent_id)}/refresh-token"
        query = f"?generation={generation}" if generation else ""
        try:
            headers = {"Authorization": f"Bearer {token()}"}
        except NotPosted as error:
            raise NotIssued(str(error)) from None
        answer = call("POST", api.rstrip("/") + path + query, body={}, headers=headers, seconds=_SECONDS)
        if not isinstance(answer, Answered):
            raise NotIssued(f"asking the town for a credential: {answer.reason}")
        if not answer.ok:
            final = not answer.may_pass and answer.status != 401  # a refreshed town token may be accepted
            raise NotIssued(f"asking the town for a credential: {answer.said}", final=final)
        return read(answer.body)

    return ask


def source_from(environment: Mapping[str, str], *, town_id: str, agent_id: str, generation: int) -> Source:
    """The way to a credential that an environment names."""
    api = environment.get(API_VARIABLE)
    if api:
        return from_api(
            api, town_id=town_id, agent_id=agent_id, generation=generation, token=lambda: token_of(environment)
        )
    if environment.get(BUCKET_VARIABLE):
        return lambda: OF_A_BUCKET
    data = environment.get(DATA_VARIABLE)
    if data:
        return lambda: _in_process(Path(data), town_id, agent_id, generation)
    return lambda: NOTHING


def _in_process(data: Path, town_id: str, agent_id: str, generation: int) -> Issued:
    """Ask in this process, from a data directory and the secrets in it. Raises NotIssued."""
    from infra.townctl.forges import issuing_of
    from shared.adapters.agent_credentials import NoCredential
    from shared.adapters.directory_objects import DirectoryObjects
    from shared.storage.towns import ObjectTownStore

    try:
        issuing = issuing_of(data, ObjectTownStore(DirectoryObjects(data)))
        issued = issuing.credential_for(town_id, agent_id, generation)
    except TownError as error:
        final = isinstance(error, Refused | Terminal | UnknownTown)
        raise NotIssued(f"asking the town in {data} for a credential: {error.message}", final=final) from None
    found, key = issued.credential, issued.key
    ssh = (None, None) if key is None else (key.key, key.known_hosts)
    if isinstance(found, NoCredential):
        return Issued(None, found.reason, *ssh)
    return Issued(
        ForgeCredential(
            found.host, found.kind, found.project, found.username, found.token, found.expires_at, found.api_url
        ),
        None,
        *ssh,
    )


@dataclass(slots=True)
class Kept:
    """The credential of one generation, kept in memory and, if `file` is given, in a file that only this user can read.

    `clock` shows the time of the world, by which forges say when a credential ends, also where the town has another clock.
    """

    source: Source
    file: Path | None = None
    clock: Clock = field(default_factory=SystemClock)
    _issued: Issued | None = None

    def current(self) -> Issued:
        """The credential, fetched again if it is about to end. Raises NotIssued if there is none that is still valid, or if the
        town refuses one, as it does when the generation's lease is over.
        """
        known = self._issued or self._stored()
        if known is not None and not self._ends_within(MARGIN, known):
            self._issued = known
            return known
        try:
            found = self.source()
        except NotIssued as error:
            if error.final or known is None or self._ends_within(timedelta(0), known):
                raise
            return known  # the town is away for a moment, and this one still opens the forge
        self._keep(found)
        return found

    def forget(self, token: str) -> None:
        """Fetch a new one next time, because the forge refused this token. A newer one that another process fetched stays."""
        for known in (self._issued, self._stored()):
            if known is not None and known.forge is not None and known.forge.token.reveal() == token:
                self._issued = None
                if self.file is not None:
                    self.file.unlink(missing_ok=True)

    def _ends_within(self, margin: timedelta, known: Issued) -> bool:
        ends_at = None if known.forge is None else known.forge.ends_at
        return ends_at is not None and self.clock.now() + margin >= ends_at

    def _keep(self, issued: Issued) -> None:
        self._issued = issued
        if self.file is not None and issued.forge is not None:
            write_atomically(self.file, {"forge": issued.forge.to_file()})

    def _stored(self) -> Issued | None:
        if self.file is None:
            return None
        with suppress(OSError, ValueError, NotIssued):
            return read(outside_files.json_of(self.file, limit=_LARGEST))
        return None


def _forge(given: Mapping[str, Any]) -> ForgeCredential:
    """The credential in an answer. Raises ValueError, KeyError or TypeError."""
    texts = [given[name] for name in ("host", "kind", "project", "username", "token")]
    ends_at, api_url = given.get("expiresAt"), given.get("apiUrl")
    if not all(isinstance(each, str) and each.isprintable() and each for each in texts):
        raise TypeError
    host, kind, project, username, token = texts
    if kind not in get_args(Literal["github", "gitlab"]) or not (api_url is None or isinstance(api_url, str)):
        raise ValueError
    end = None if ends_at is None else times.parse_iso(ends_at)
    return ForgeCredential(host.lower(), kind, project.strip("/"), username, Secret(token), end, api_url)
