"""`townctl --api URL`: the commands that a deployed stack or `townctl serve` can run; all others are refused.

Requests are signed with the credentials that the AWS SDK finds. Events are posted with the town token in TOWNCTL_TOKEN.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote, urlencode

from infra.townctl import api_client, events, forges, replays, secret_commands, ticks, towns
from infra.townctl.arguments import content_of, json_of
from infra.townctl.output import FOUND, OK, Answer
from infra.townctl.stack_secrets import StackSecrets
from infra.townctl.status_view import status_view
from shared.adapters.clock import SystemClock
from shared.domain.errors import Refused, Retryable
from shared.domain.shapes import read
from shared.questions.status import TownStatus

TOKEN_VARIABLE: Final = "TOWNCTL_TOKEN"  # noqa: S105 - a name
_URL: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
_REGION: Final = re.compile(r"\.execute-api\.([a-z0-9-]+)\.amazonaws\.com")


@dataclass(frozen=True, slots=True)
class Api:
    """A deployment, identified by the URL of its API."""

    url: str
    region: str | None = None

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The document that the API returns for a signed request. `townctl serve` has no IAM, so it gets an operator's token.

        Raises Refused, Retryable.
        """
        token = os.environ.get(TOKEN_VARIABLE)
        if token and self._is_local:
            return self._document(lambda: api_client.with_token(method, self.url + path, body, token=token))
        from botocore.session import Session

        session = Session()
        credentials = session.get_credentials()
        if credentials is None:
            hint = (
                "sign in with `aws sso login` or set AWS_PROFILE; "
                f"for a `townctl serve`, set {TOKEN_VARIABLE}=$(townctl token TOWN)"
            )
            problem = f"cannot sign requests to {self.url}: no AWS credentials were found"
            raise Refused(problem, status=401, path="api", hint=hint)
        region = self.region_named or session.get_config_variable("region") or "us-east-1"
        frozen = credentials.get_frozen_credentials()
        return self._document(
            lambda: api_client.signed(method, self.url + path, body, credentials=frozen, region=region)
        )

    @property
    def region_named(self) -> str | None:
        """The region that was given, or else the one in the URL."""
        found = _REGION.search(self.url)
        return self.region or (found[1] if found else None)

    @property
    def _is_local(self) -> bool:
        """Whether a `townctl serve` answers there: its root document says so."""
        try:
            said = api_client.with_token("GET", self.url + "/", None, token=None)
        except ConnectionError:
            return False
        return isinstance(said.document, dict) and said.document.get("served") == "townctl"

    def report(self, path: str, body: bytes, token: str | None = None) -> Any:
        """The document that the API returns for posted events, sent with this town token or the one in the environment.

        Raises Refused, Retryable.
        """
        token = token or os.environ.get(TOKEN_VARIABLE)
        if not token:
            hint = f"set {TOKEN_VARIABLE}=$(townctl token TOWN ...); do not write a token on the command line"
            problem = f"cannot post events to {self.url}: a town token is required"
            raise Refused(problem, status=401, path="token", hint=hint)
        return self._document(lambda: api_client.with_token("POST", self.url + path, body, token=token))

    def _document(self, request: Callable[[], api_client.ApiAnswer]) -> Any:
        try:
            answered = request()
        except ConnectionError as error:
            hint = "check the URL and that the API is running, then try again"
            raise Retryable(f"{self.url} does not answer: {error}", hint=hint) from error
        if answered.status < 300:
            return answered.document
        said: Mapping[str, Any] = answered.document if isinstance(answered.document, dict) else {}
        detail = str(said.get("detail") or said.get("message") or answered.document)
        denied = "IAM does not allow this request; docs/runbook/deploy.md lists the rights that it needs"
        hint = str(said.get("hint") or (denied if answered.status == 403 else ""))
        raise Refused(f"{answered.status}: {detail}", status=answered.status, path=str(said.get("path", "")), hint=hint)


def create(api: Api, town_id: str, *, config: str | None = None, paused: bool = False) -> Answer:
    """PUT /api/towns/{townId}."""
    settings = {} if config is None else json_of(content_of(config, what="config"), what="config")
    document = api.ask("PUT", f"/api/towns/{quote(town_id, safe='')}", {"config": settings, "paused": paused})
    return Answer(document, (f"created town {town_id} at {api.url}",))


def list_(api: Api) -> Answer:
    """GET /api/towns, page by page."""
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = api.ask("GET", "/api/towns?" + urlencode({"limit": 1000, "after": after}))
        found += page["towns"]
        after = page["next"]
    return Answer({"towns": found}, tuple(found) or (f"there are no towns at {api.url} that you may read",))


def status(api: Api, town_id: str) -> Answer:
    """GET .../status."""
    document = api.ask("GET", f"/api/towns/{quote(town_id, safe='')}/status")
    report = read(TownStatus, document)
    return Answer(document, tuple(status_view(report)), FOUND if report.violations or report.unreadable else OK)


def post(
    api: Api,
    town_id: str,
    *,
    file: str | None = None,
    event_type: str | None = None,
    agent: str | None = None,
    bead: str | None = None,
    payload: str | None = None,
    event_id: str | None = None,
) -> Answer:
    """POST .../events, with the events of a file or the one that the options describe."""
    body = events.body_of(file, type=event_type, agent=agent, bead=bead, payload=payload, id=event_id)
    document = api.report(f"/api/towns/{quote(town_id, safe='')}/events", body)
    return Answer(document, (f"accepted {', '.join(document['accepted'])}",))


def redrive(api: Api, town_id: str, event_id: str) -> Answer:
    """POST .../redrive."""
    path = f"/api/towns/{quote(town_id, safe='')}/events/{quote(event_id, safe='')}/redrive"
    document = api.ask("POST", path)
    return Answer(document, (f"accepted {', '.join(document['accepted'])}",))


def tick_list(api: Api, town_id: str, *, limit: int = 20, after: int = 0) -> Answer:
    """GET .../ticks."""
    query = {"limit": limit} | ({"after": after} if after else {})
    document = api.ask("GET", f"/api/towns/{quote(town_id, safe='')}/ticks?{urlencode(query)}")
    return Answer(document, (ticks.ticks_view(town_id, document["ticks"]),))


def dry_run(
    api: Api, town_id: str, *, observe: bool = False, now: str | None = None, events: str | None = None, **other: Any
) -> Answer:
    """POST .../reconcile-dry-run."""
    _refuse_others(other)
    body: dict[str, Any] = {"observe": observe} | ({} if now is None else {"now": now})
    if events is not None:
        read = json_of(content_of(events, what="events"), what="events")
        batch = read["events"] if isinstance(read, dict) and "events" in read else read
        body["events"] = batch if isinstance(batch, list) else [batch]
    document = api.ask("POST", f"/api/towns/{quote(town_id, safe='')}/debug/reconcile-dry-run", body)
    return Answer(document, tuple(ticks.dry_run_view(document)))


def replay(
    api: Api,
    target: str,
    *,
    from_: str | None = None,
    to: str | None = None,
    cursor: str | None = None,
    overrides: str | None = None,
) -> Answer:
    """POST .../replay-events; without --to, until now."""
    body: dict[str, Any] = {"from": from_, "to": to or SystemClock().now().isoformat()}
    body |= {} if cursor is None else {"cursor": cursor}
    if overrides is not None:
        body["overrides"] = json_of(content_of(overrides, what="overrides"), what="overrides")
    document = api.ask("POST", f"/api/towns/{quote(target, safe='')}/debug/replay-events", body)
    if overrides is not None:
        return Answer(
            document, tuple(replays.what_if_view(document)), OK if document["historyDivergence"] is None else FOUND
        )
    return Answer(document, tuple(replays.replay_view(document)), OK if document["exact"] else FOUND)


def set_secret(
    api: Api,
    town_id: str,
    forge: secret_commands.ForgeWord,
    *,
    rig: str | None = None,
    host: str | None = None,
    secrets_prefix: str | None = None,
) -> Answer:
    """Store a token of an existing town in Secrets Manager. No API accepts a forge token, so townctl writes it directly."""
    secrets = _secrets_of(api, secrets_prefix)
    api.ask("GET", f"/api/towns/{quote(town_id, safe='')}/status")
    return secret_commands.store(secrets, forge, town_id=town_id, rig=rig, host=host)


def set_platform_secret(
    api: Api, forge: secret_commands.ForgeWord, *, host: str | None = None, secrets_prefix: str | None = None
) -> Answer:
    """Store a token for all towns."""
    return secret_commands.store(_secrets_of(api, secrets_prefix), forge, host=host)


def list_secrets(api: Api, *, secrets_prefix: str | None = None) -> Answer:
    """List the names of the stored tokens."""
    return secret_commands.names_in(_secrets_of(api, secrets_prefix))


def remove_secret(
    api: Api,
    town_id: str,
    forge: secret_commands.ForgeWord,
    *,
    rig: str | None = None,
    host: str | None = None,
    secrets_prefix: str | None = None,
) -> Answer:
    """Remove a token of a town; the town need not exist any more."""
    return secret_commands.forget(_secrets_of(api, secrets_prefix), forge, town_id=town_id, rig=rig, host=host)


def _secrets_of(api: Api, secrets_prefix: str | None) -> StackSecrets:
    """The secrets of the deployment, in the region of its API. Raises Refused."""
    prefix = forges.prefix_of(secrets_prefix)
    if prefix is None:
        hint = f"give the stack's output SecretsPrefix with --secrets-prefix or {forges.PREFIX_VARIABLE}"
        problem = f"--secrets-prefix is required with --api {api.url}: it says where the deployment keeps its tokens"
        raise Refused(problem, status=400, path="secrets-prefix", hint=hint)
    return StackSecrets(prefix, region=api.region_named)


def _refuse_others(other: Mapping[str, Any]) -> None:
    for name, value in other.items():
        if value not in (None, False, (), []):
            hint = "leave it out, or use --data or --bucket instead of --api"
            raise Refused(f"--{name.replace('_', '-')} does not work with --api", status=400, path=name, hint=hint)


_INSTEAD: Final[Mapping[str, str]] = {
    "demo": "leave --api out; the demo creates its own town",
    "doctor": "leave --api out and use `townctl doctor --stack NAME` for a deployed stack",
}
"""Hints for the commands that the general hint of `answer` does not fit."""

ANSWERED: Final[Mapping[Callable[..., Any], Callable[..., Answer]]] = {
    towns.create: create,
    towns.list_: list_,
    towns.status: status,
    events.post: post,
    events.redrive: redrive,
    ticks.ticks: tick_list,
    ticks.dry_run: dry_run,
    replays.replay: replay,
    secret_commands.set_: set_secret,
    secret_commands.set_platform: set_platform_secret,
    secret_commands.list_: list_secrets,
    secret_commands.remove: remove_secret,
}


def answer(
    command: Callable[..., Any], name: str, url: str, region: str | None, *arguments: Any, **named: Any
) -> Answer:
    """Run the command called `name` at a deployment. Raises Refused for a command that a deployment cannot run."""
    remote = ANSWERED.get(command)
    if remote is None:
        hint = _INSTEAD.get(name, "use --bucket with the bucket of the stack, or --data, instead of --api")
        raise Refused(f"{name} does not work with --api", status=400, path="api", hint=hint)
    if not _URL.fullmatch(url):
        hint = "give the stack's output ApiUrl, for example https://ID.execute-api.REGION.amazonaws.com"
        raise Refused(f"--api: not the URL of an API: {url[:80]!r}", status=400, path="api", hint=hint)
    return remote(Api(url.rstrip("/"), region), *arguments, **named)
