"""Installation tokens of a GitHub App: short-lived, for one repository, with the rights that a purpose needs and no more.

The App's id and private key are one secret for each host, `apps/HOST`, with the towns and owners that the App serves (as beside the
platform's token; here the list is required):

    {"app_id": "12345", "private_key": "-----BEGIN ...", "towns": {"t1": ["acme"], "t2": ["other/app"]}}

With the key this process signs a token of the App itself (RS256, ten minutes at most). It opens only two questions: which
installation a repository belongs to, and a token of that installation. Tokens are kept in memory until shortly before they end.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Final, Literal
from urllib.parse import urlsplit

from pydantic import AwareDatetime, TypeAdapter
from typing_extensions import TypedDict

from shared.adapters.forge_hosts import Place
from shared.adapters.forge_http import ForgeClient
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.forge_tokens import LARGEST, NotServed, PlatformToken, listed
from shared.adapters.github.call import GITHUB
from shared.domain import strict_json
from shared.domain.errors import Refused, Terminal
from shared.ports.clock import Clock
from shared.ports.forge import Asker, ForgeError
from shared.ports.secrets import Secret, Secrets

Level = Literal["read", "write"]
SECRET: Final = "apps/"  # noqa: S105 - the beginning of a name
BACKDATED: Final = timedelta(seconds=60)
"""How much earlier than now a token of the App is issued, so that a clock that is a little fast does not matter."""
LIFE: Final = timedelta(minutes=9)
"""From now on; GitHub accepts ten minutes at most, counted from its own clock."""
FRESH_FOR: Final = timedelta(minutes=20)
"""How long a token that is handed out lives at least: the longest push, and a few tries."""
SECONDS: Final = 4.0
"""The budget of all requests for one token: with a look at a pull request they take less than the 30 s of an effect."""
_DEPTH: Final = 4
_HINT: Final = "store it again: townctl secret set-app APP-ID --serves TOWN=OWNER < KEY-FILE"


@dataclass(frozen=True, slots=True)
class Rights:
    """What a token is for. An App without one of `needed` gets no token; of `wanted`, it gets what it was granted."""

    purpose: str
    needed: Mapping[str, Level]
    wanted: Mapping[str, Level] = field(default_factory=dict)


_CHECKS: Final[Mapping[str, Level]] = {"checks": "read", "actions": "read", "statuses": "read"}
FOR_POLLS: Final = Rights("poll pull requests", {"contents": "read", "pull_requests": "read"}, _CHECKS)
_MERGING: Final[Mapping[str, Level]] = {"merge_queues": "write", "workflows": "write"}
FOR_MERGES: Final = Rights(
    "merge pull requests", {"contents": "write", "pull_requests": "write"}, {**_CHECKS, **_MERGING}
)
FOR_AGENTS: Final = Rights(
    "give agents a credential", {"contents": "write", "pull_requests": "write", "issues": "write"}
)


@dataclass(frozen=True, slots=True)
class AppToken:
    """An installation token, and when it ends by the clock of the world."""

    token: Secret
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class AppSecret:
    """What is stored of an App: its id, and its private key with the towns that it serves."""

    app_id: str
    key: PlatformToken

    @classmethod
    def read(cls, stored: Secret) -> "AppSecret":
        """The App in a stored text. Raises Terminal, without anything of the text."""
        try:
            found = strict_json.parse(stored.reveal().encode(errors="surrogatepass"), limit=LARGEST, depth=_DEPTH)
        except Refused:
            raise Terminal("the GitHub App cannot be used: its secret is not strict JSON", hint=_HINT) from None
        if not isinstance(found, dict) or set(found) != {"app_id", "private_key", "towns"}:
            raise Terminal(
                "the GitHub App cannot be used: its secret has not app_id, private_key and towns", hint=_HINT
            )
        app_id = found["app_id"]
        if not isinstance(app_id, str) or not app_id.isascii() or not app_id.isalnum():
            raise Terminal("the GitHub App cannot be used: app_id is not the id of an App", hint=_HINT)
        return cls(app_id, PlatformToken.of(found["private_key"], found["towns"]))


def app_secret(app_id: str, key: Secret, towns: Iterable[tuple[str, str]]) -> Secret:
    """The text to store for an App that serves these pairs of town and owner or repository. Raises Terminal."""
    made = Secret(json.dumps({"app_id": app_id, "private_key": key.reveal(), "towns": listed(towns)}))
    AppSecret.read(made)
    return made


class _Installation(TypedDict):
    id: int
    permissions: dict[str, str]
    suspended_at: str | None


class _Created(TypedDict):
    token: str
    expires_at: AwareDatetime


class _Repository(TypedDict):
    id: int


_INSTALLATION: Final = TypeAdapter(_Installation)
_CREATED: Final = TypeAdapter(_Created)
_REPOSITORY: Final = TypeAdapter(_Repository)
_Key = tuple[str, str, str, str]


class GitHubApps:
    """The Apps of a deployment, one for each host. `clock` shows the time of the world, also where towns have another one."""

    def __init__(self, secrets: Secrets, clock: Clock) -> None:
        self._secrets = secrets
        self._clock = clock
        self._limits = ForgeLimits(clock)
        self._kept: dict[_Key, AppToken] = {}
        self._lock = Lock()

    def token(
        self, place: Place, asker: Asker, rights: Rights, *, holder: str = ""
    ) -> AppToken | NotServed | ForgeError | None:
        """A token for the repository, of its own for each `holder`; None if no App is set for the host.

        Raises what `Secrets.get` raises, and Terminal for a malformed secret.
        """
        if place.at.kind != "github":
            return None
        stored = self._secrets.get(SECRET + place.at.host)
        if stored is None:
            return None
        app = AppSecret.read(stored)
        refused = app.key.first_refused(asker, place.project)
        if refused is not None:
            return NotServed(refused)
        key = (place.at.host, place.project.lower(), rights.purpose, f"{asker.town_id} {holder}")
        kept = self._still_fresh(key)
        if kept is not None:
            return kept
        made = self._made(app, place, asker, rights)
        if isinstance(made, AppToken):
            with self._lock:
                self._kept[key] = made
        return made

    def _still_fresh(self, key: _Key) -> AppToken | None:
        """The kept token, if it lives long enough; those that do not are forgotten."""
        now = self._clock.now()
        with self._lock:
            self._kept = {each: kept for each, kept in self._kept.items() if kept.expires_at - now >= FRESH_FOR}
            return self._kept.get(key)

    def _made(self, app: AppSecret, place: Place, asker: Asker, rights: Rights) -> AppToken | ForgeError:
        signed = signed_by(app, self._clock.now())
        if isinstance(signed, ForgeError):
            return signed
        about = f"the GitHub App {app.app_id} at {place.at.host}"
        with self._client(place, signed) as client:
            found = client.ask(_INSTALLATION, "GET", f"{_api(place)}/repos/{place.project}/installation")
            if isinstance(found, ForgeError):
                return _said(found, about, place)
            problem = _unusable(found, about, place, rights)
            if problem is not None:
                return problem
            path = f"{_api(place)}/app/installations/{found['id']}/access_tokens"
            asked = {"repositories": _names(place, asker), "permissions": _granted(found, rights)}
            made = client.ask(_CREATED, "POST", path, asked)
            if isinstance(made, ForgeError) and made.http_status == 422:
                made = self._by_id(client, path, asked, place)
        if isinstance(made, ForgeError):
            return _said(made, about, place)
        return AppToken(Secret(made["token"]), made["expires_at"])

    def _by_id(
        self, client: ForgeClient, path: str, asked: Mapping[str, object], place: Place
    ) -> _Created | ForgeError:
        """A token for a repository that was renamed: GitHub follows names in paths, and not in the body of a request."""
        looks = client.ask(_CREATED, "POST", path, {"permissions": {"metadata": "read"}})
        if isinstance(looks, ForgeError):
            return looks
        with ForgeClient(
            place, Secret(looks["token"]), self._limits, dialect=GITHUB, together_seconds=SECONDS
        ) as reader:
            found = reader.ask(_REPOSITORY, "GET", f"{_api(place)}/repos/{place.project}")
        if isinstance(found, ForgeError):
            return found
        body = {"repository_ids": [found["id"]], "permissions": asked["permissions"]}
        return client.ask(_CREATED, "POST", path, body)

    def _client(self, place: Place, signed: Secret) -> ForgeClient:
        dialect = replace(GITHUB, token_prefix="Bearer ", helps=self._helps)  # noqa: S106 - a scheme
        return ForgeClient(place, signed, self._limits, dialect=dialect, together_seconds=SECONDS)

    def _helps(self, status: int, headers: Mapping[str, str]) -> str:
        """What helps if GitHub refuses the App itself: another clock or another key."""
        if status != 401:
            return GITHUB.helps(status, headers)
        try:
            there = parsedate_to_datetime(headers.get("date", ""))
            apart = (self._clock.now() - there).total_seconds()
        except (ValueError, TypeError):
            apart = 0.0
        if abs(apart) > BACKDATED.total_seconds():
            return f"the clock of this machine is {abs(apart):.0f} s {'ahead of' if apart > 0 else 'behind'} GitHub's: set it"
        return "the private key is not one of this App's, or the App was deleted: store its id and a key of it again"


def signed_by(app: AppSecret, now: datetime) -> Secret | ForgeError:
    """A token of the App itself, for a few minutes. An error if the stored key is not an RSA key."""
    import jwt  # noqa: PLC0415 - with it comes `cryptography`, which only a deployment with an App needs

    issued = now - BACKDATED
    claims = {"iat": int(issued.timestamp()), "exp": int((now + LIFE).timestamp()), "iss": app.app_id}
    try:
        return Secret(jwt.encode(claims, app.key.token.reveal(), algorithm="RS256"))
    except (jwt.PyJWTError, ValueError, TypeError):  # the text of these errors may quote the key
        return ForgeError("no_token", f"the private key of the GitHub App {app.app_id} is not an RSA key in PEM form")


def _api(place: Place) -> str:
    return urlsplit(place.at.api_url).path


def _names(place: Place, asker: Asker) -> list[str]:
    """The repositories of a token: the one that is asked about, and those of the rig that have the same owner."""
    also = (each.rpartition("/") for each in (asker.repository, asker.upstream) if each is not None)
    names = {name.lower() for owner, _, name in also if owner.lower() == place.owner.lower()}
    return [place.name, *sorted(names - {place.name.lower()})]


def _granted(found: _Installation, rights: Rights) -> dict[str, Level]:
    wanted = {name: level for name, level in rights.wanted.items() if _allows(found["permissions"], name, level)}
    return {**rights.needed, **wanted}


def _allows(permissions: Mapping[str, str], name: str, level: Level) -> bool:
    return permissions.get(name) in (("write", "admin") if level == "write" else ("read", "write", "admin"))


def missing_of(rights: Rights, permissions: Mapping[str, str]) -> tuple[str, ...]:
    """The needed permissions that an installation lacks, in words, as in `contents (write)`."""
    lacks = (each for each in sorted(rights.needed.items()) if not _allows(permissions, *each))
    return tuple(f"{name} ({level})" for name, level in lacks)


def _unusable(found: _Installation, about: str, place: Place, rights: Rights) -> ForgeError | None:
    if found["suspended_at"] is not None:
        return ForgeError("http", f"{about} is suspended for {place.owner}: unsuspend it there", http_status=403)
    missing = ", ".join(missing_of(rights, found["permissions"]))
    if not missing:
        return None
    text = f"{about} may not {rights.purpose} at {place.project}: it lacks {missing}; grant that to the App, then accept it there"
    return ForgeError("http", text, http_status=403)


def _said(error: ForgeError, about: str, place: Place) -> ForgeError:
    """The error of a request for a token, saying what was asked of whom. 404 is said as 403: nobody may conclude from it that the
    repository is gone.
    """
    if error.kind != "http":
        return replace(error, message=f"{about} got no token: {error.message}")
    if error.http_status == 404:
        text = f"{about} is not installed on {place.project}: install it there, for this repository"
        return replace(error, message=text, http_status=403)
    return replace(error, message=f"{about} got no token for {place.project}: {error.message}")
