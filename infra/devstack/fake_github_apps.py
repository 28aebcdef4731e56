"""The Apps of a fake GitHub: installations with repositories and permissions, and their tokens, which open nothing else.

    apps = forge.apps
    apps.create("12345", public_key, permissions={"contents": "write", "pull_requests": "write"})
    apps.install("12345", "acme", repositories={"acme/app"})
    apps.installations[0].suspended = True

`verdict` judges a token for git over HTTP, as `fake_git_http.Judge`.
"""

import re
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from infra.devstack.fake_forge import Reply, Request
from infra.devstack.fake_git_http import Level, Verdict
from infra.devstack.fake_github_rules import no, not_found
from infra.devstack.fake_site import Site

TOKEN_LIFE: Final = timedelta(hours=1)
_LONGEST_JWT: Final = timedelta(minutes=10)
_ORDER: Final = ("read", "write", "admin")
_INSTALLATION: Final = re.compile(r"/repos/([^/]+/[^/]+)/installation")
_TOKENS: Final = re.compile(r"/app/installations/(\d+)/access_tokens")
_NOT_ACCESSIBLE: Final = "Resource not accessible by integration"


@dataclass
class App:
    """An App: its id, the public half of its key in PEM form, and what it asks installations to grant."""

    app_id: str
    public_key: str
    permissions: Mapping[str, str]


@dataclass
class Installation:
    """An App at an owner. `repositories` None means all of the owner's; `permissions` is what the owner has accepted."""

    id: int
    app: App
    owner: str
    repositories: set[str] | None
    permissions: dict[str, str]
    suspended: bool = False

    def reaches(self, name: str) -> bool:
        """Whether a repository belongs to it."""
        owner = name.partition("/")[0].lower()
        chosen = None if self.repositories is None else {each.lower() for each in self.repositories}
        return owner == self.owner.lower() and (chosen is None or name.lower() in chosen)


@dataclass(frozen=True)
class Grant:
    """An installation token: which repositories (by id; None: all of the installation), which permissions, until when."""

    installation: Installation
    repositories: frozenset[int] | None
    permissions: Mapping[str, str]
    ends_at: datetime


@dataclass
class Apps:
    """All Apps, installations and tokens of a fake GitHub. Tokens live for `life`. Thread-safe."""

    site: Site
    life: timedelta = TOKEN_LIFE
    apps: dict[str, App] = field(default_factory=dict)
    installations: list[Installation] = field(default_factory=list)
    grants: dict[str, Grant] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def create(self, app_id: str, public_key: str, *, permissions: Mapping[str, str]) -> App:
        """Somebody registers an App."""
        self.apps[app_id] = made = App(app_id, public_key, permissions)
        return made

    def install(self, app_id: str, owner: str, *, repositories: set[str] | None = None) -> Installation:
        """An owner installs it and accepts what it asks for."""
        app = self.apps[app_id]
        made = Installation(len(self.installations) + 1, app, owner, repositories, dict(app.permissions))
        self.installations.append(made)
        return made

    def answer(self, request: Request, path: str) -> Reply | None:
        """The answer to a request of an App itself (a JWT); None for every other path."""
        asked, tokens = _INSTALLATION.fullmatch(path), _TOKENS.fullmatch(path)
        if asked is None and tokens is None:
            return None
        app = self._signed_by(request.headers.get("authorization", ""))
        if isinstance(app, Reply):
            return app
        if asked is not None:
            return self._installation(app, asked[1]) if request.method == "GET" else not_found()
        if tokens is None or request.method != "POST":
            return not_found()
        found = next((each for each in self.installations if each.id == int(tokens[1]) and each.app is app), None)
        return not_found() if found is None else self._created(found, request.body or {})

    def end_tokens(self) -> None:
        """Every token that was issued so far ends now."""
        with self._lock:
            self.grants.clear()

    def grant(self, token: str) -> Grant | None:
        """What a token opens now; None if it is not one, has ended, or its installation is suspended."""
        with self._lock:
            found = self.grants.get(token)
        if found is None or self.site.now() >= found.ends_at or found.installation.suspended:
            return None
        return found

    def may(self, token: str, project: str, *, permission: str = "contents", level: str = "read") -> bool:
        """Whether a token opens a repository with this permission."""
        found = self.grant(token)
        return found is not None and self.opens(found, project) and allows(found.permissions, permission, level)

    def opens(self, grant: Grant, project: str) -> bool:
        """Whether a token reaches a repository at all."""
        home = self.site.at(project) or self.site.led_to(project)
        if home is None or not grant.installation.reaches(home.name):
            return False
        return grant.repositories is None or home.id in grant.repositories

    def closed_to(self, grant: Grant) -> set[str]:
        """The names of the repositories that a token does not reach."""
        return {home.name for home in self.site.homes if not self.opens(grant, home.name)}

    def verdict(self, token: str, project: str, level: Level) -> Verdict:
        """What a token is to a repository, for git over HTTP."""
        if self.grant(token) is None:
            return "unknown"
        return "yes" if self.may(token, project, level=level) else "hidden"

    def _signed_by(self, authorization: str) -> "App | Reply":
        import jwt

        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return no(401, "A JSON web token could not be decoded")
        now = self.site.now().timestamp()
        try:
            unread = jwt.decode(token, options={"verify_signature": False})
            app = self.apps[str(unread["iss"])]
            claims = jwt.decode(
                token, app.public_key, algorithms=["RS256"], options={"verify_exp": False, "verify_iat": False}
            )
            issued, ends = float(claims["iat"]), float(claims["exp"])
        except (jwt.PyJWTError, KeyError, TypeError, ValueError):
            return self._refused("A JSON web token could not be decoded")
        if issued > now:
            return self._refused(
                "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
            )
        if not now < ends <= now + _LONGEST_JWT.total_seconds():
            return self._refused("'Expiration time' claim ('exp') is too far in the future")
        return app

    def _refused(self, message: str) -> Reply:
        return no(401, message, Date=self.site.now().astimezone(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"))

    def _installation(self, app: App, name: str) -> Reply:
        moved = self.site.led_to(name)
        here = moved.name if moved is not None else name
        found = next((each for each in self.installations if each.app is app and each.reaches(here)), None)
        if found is None or self.site.at(here) is None:
            return not_found()
        since = "2026-01-10T12:00:00Z" if found.suspended else None
        shown = {"id": found.id, "permissions": dict(found.permissions), "suspended_at": since, "app_slug": "town"}
        return Reply(200, {**shown, "repository_selection": "all" if found.repositories is None else "selected"})

    def _created(self, found: Installation, body: Mapping[str, Any]) -> Reply:
        if found.suspended:
            return no(403, "This installation has been suspended")
        wanted = body.get("permissions") or dict(found.permissions)
        if not all(allows(found.permissions, name, level) for name, level in wanted.items()):
            return no(422, "The permissions requested are not granted to this installation.")
        homes = self._homes(found, body)
        if homes is None:
            return no(
                422,
                "There is at least one repository that does not exist or is not accessible to the parent installation.",
            )
        token, ends_at = f"ghs_{secrets.token_hex(18)}", self.site.now() + self.life
        with self._lock:
            self.grants[token] = Grant(found, homes or None, dict(wanted), ends_at)
        shown = {
            "token": token,
            "expires_at": ends_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "permissions": wanted,
        }
        return Reply(201, {**shown, "repository_selection": "selected" if homes else "all"})

    def _homes(self, found: Installation, body: Mapping[str, Any]) -> frozenset[int] | None:
        """The ids of the repositories that a token is for, none for all; None if one does not belong to the installation.

        Names in a body are the present ones: GitHub follows former names only in paths.
        """
        homes = [self.site.at(f"{found.owner}/{name}") for name in body.get("repositories") or ()]
        homes += [self.site.by_id(number) for number in body.get("repository_ids") or ()]
        named = [home for home in homes if home is not None and found.reaches(home.name)]
        return frozenset(home.id for home in named) if len(named) == len(homes) else None


def allows(permissions: Mapping[str, str], name: str, level: str) -> bool:
    """Whether these permissions include one."""
    has = "read" if name == "metadata" else permissions.get(name)
    return has in _ORDER and _ORDER.index(str(has)) >= _ORDER.index(level)


def needed_for(verb: str, path: str) -> tuple[str, str]:
    """The permission that a REST route about a repository needs."""
    if "/pulls" in path:
        if path.endswith(("/merge", "/update-branch")):
            return "contents", "write"
        return "pull_requests", "read" if verb == "GET" else "write"
    if path.endswith("/status"):
        return "statuses", "read"
    if path.startswith("/issues"):
        return "issues", "read" if verb == "GET" else "write"
    if not path:
        return "metadata", "read"
    return "contents", "read"


def refused_mutation(grant: Grant, query: str) -> str | None:
    """The permission that a mutation needs and the token lacks; None if it lacks none."""
    needs = (
        ("resolveReviewThread", "pull_requests"),
        ("enqueuePullRequest", "merge_queues"),
        ("dequeuePullRequest", "merge_queues"),
        ("disablePullRequestAutoMerge", "pull_requests"),
    )
    return next((need for name, need in needs if name in query and not allows(grant.permissions, need, "write")), None)


def not_accessible(name: str, level: str) -> Reply:
    """The refusal of a token that lacks a permission."""
    return no(403, _NOT_ACCESSIBLE, **{"x-accepted-github-permissions": f"{name}={level}"})
