"""The APIs over a world in memory, behind a gateway that lets everybody in."""

from collections.abc import Callable, Iterable
from typing import Any, get_args
from urllib.parse import parse_qsl, quote, unquote

import pytest

from functions.access import Access
from functions.api import BESIDES
from functions.archive import app as archive
from functions.credentials import app as credentials
from functions.credentials.issuing import Issuing
from functions.debug import app as debug
from functions.events import app as events
from functions.ingestion import Ingestion
from functions.redrive import app as redrive
from functions.redrive.acknowledging import Links
from functions.settings import AccessRule, DebugSettings, Verb
from infra.devstack.gateway import Route
from shared.adapters.agent_credentials import AgentCredentials
from shared.storage.restore import KeptPast
from shared.telemetry.emf import EmfMetrics
from tests.cloud import Cloud
from tests.fakes import FakeSecrets
from tests.http_events import OPERATOR, Answer, Context, request
from tests.unit.functions.test_debug import Here
from tests.worlds import World

HANDLERS = {
    "events": events.lambda_handler,
    "redrive": redrive.lambda_handler,
    "archive": archive.lambda_handler,
    "debug": debug.lambda_handler,
}
GATEWAY = sorted(
    [
        *((Route(each.method, each.path, "", each.guard), events.lambda_handler) for each in events.ROUTES),
        *((Route(each.method, each.path, "", each.guard), redrive.lambda_handler) for each in redrive.ROUTES),
        *((Route(each.method, each.path, "", each.guard), archive.lambda_handler) for each in archive.ROUTES),
        *((Route(each.method, each.path, "", each.guard), debug.lambda_handler) for each in debug.ROUTES),
        *((Route(each.method, each.path, "", each.guard), credentials.lambda_handler) for each in credentials.ROUTES),
        *((Route(method, path, "", None), HANDLERS[name]) for method, path, name, _ in BESIDES),
    ],
    key=lambda each: each[0].rank,
)


LINK_KEYS = ["k" * 48, "p" * 48]
"""The keys of links: the one that signs, and the one before it."""

EVERYTHING: tuple[Verb, ...] = get_args(Verb)


def deploy(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, *, verbs: tuple[Verb, ...] = EVERYTHING) -> None:
    """Let all functions stand before these towns, for callers with these rights."""
    rules = (AccessRule(callers=("*",), towns=("*",), verbs=verbs),)
    access = Access(rules, lambda _: None)
    metrics = EmfMetrics(lambda _: None, stage="test")
    ingestion = Ingestion(cloud.dispatcher.around, cloud.queue, metrics, lambda _: None)
    there = events.EventsDeployment(ingestion, access, cloud.world.objects)
    redrives = redrive.RedriveDeployment(ingestion, access, Links(LINK_KEYS.copy, LINK_KEYS.copy))
    shelf = archive.ArchiveDeployment(
        cloud.world.around, cloud.world.store, access, lambda town: kept_past(cloud.world, town)
    )
    here = Here(DebugSettings(stage="test", town_bucket="bucket"), cloud.world.around, access, cloud.world)
    monkeypatch.setattr(events, "deployment", lambda: there)
    monkeypatch.setattr(redrive, "deployment", lambda: redrives)
    monkeypatch.setattr(archive, "deployment", lambda: shelf)
    monkeypatch.setattr(debug, "deployment", lambda: here)
    issuing = Issuing(cloud.world.store, AgentCredentials(FakeSecrets()))
    issues = credentials.CredentialsDeployment(issuing, cloud.world.clock)
    monkeypatch.setattr(credentials, "deployment", lambda: issues)


def kept_past(world: World, town_id: str) -> KeptPast:
    """A town with its past, in a world in memory."""
    return KeptPast(world.objects, world.objects, town_id)  # type: ignore[arg-type] # a store in memory keeps versions


def ask(function: Any, method: str, path: str, body: Any = None, *, town: str = "one", mayor: str = "mayor") -> Answer:
    """What `debug` or `events` answers an operator who also shows a token for everything in that town.

    The routes of agents are asked by the agent `mayor`.
    """
    path, _, query = path.partition("?")
    asked = request(
        method, path, body, caller=OPERATOR, claims=claims_for(path, town, mayor), query=dict(parse_qsl(query))
    )
    return Answer.of(function.lambda_handler(asked, Context()))


def claims_for(path: str, town: str, mayor: str = "mayor") -> dict[str, str]:
    """The claims of a token with which this path shows everything of a town: the mayor's for the routes of agents."""
    who = {"scope": "coordinator", "agent": mayor} if path.startswith("/api/agents/") else {"scope": "operator"}
    return {"town": town, "expires": "99999999999", **who}


def through_the_gateway(
    method: str, path: str, query: str, body: bytes, *, headers: dict[str, str] | None = None, town: str = "one"
) -> dict[str, Any]:
    """The answer to a request whose path is in percent encoding. The gateway authorizes it, also for everything in `town`."""
    route, handler = next(each for each in GATEWAY if each[0].match(method, path) is not None)
    event = request(
        method,
        unquote(path),
        body or None,
        caller=OPERATOR,
        claims=claims_for(path, town),
        query=dict(parse_qsl(query, keep_blank_values=True)),
        headers=headers,
        encoded=True,
        route=route.path,
        parameters=route.match(method, path),
    )
    answered: dict[str, Any] = handler(event, Context())
    return answered


def application(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
    """Both functions behind that gateway, as a WSGI application."""
    path = environ["PATH_INFO"].encode("latin-1").decode(errors="replace")
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    answered = through_the_gateway(environ["REQUEST_METHOD"], quote(path), environ.get("QUERY_STRING", ""), body)
    start(f"{answered['statusCode']} X", list((answered.get("headers") or {}).items()))
    return [str(answered.get("body") or "").encode()]
