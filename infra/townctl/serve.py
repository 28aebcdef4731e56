"""`townctl serve`: the API and the ticks of a data directory or bucket, on this machine, with town tokens for everybody.

The routes, the code behind them and the refusals are those of a deployment. There is no IAM here: an operator shows a
token of scope `operator`, and so sees exactly the town that it names.
"""

import json
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from cyclopts import Parameter

from functions import problems
from functions.access import Access
from infra.devstack.gateway import Route, event_of, serving
from infra.ops import openapi
from infra.townctl import wiring
from infra.townctl.answers import Answer
from infra.townctl.desk import Desk, TheDesk
from infra.townctl.forges import secret_files
from infra.townctl.live import Lines
from infra.townctl.loop import Stop, TownLoop, speed_of
from infra.townctl.town_token import KEY_NAME
from shared.adapters import town_tokens
from shared.domain.errors import Refused
from shared.history.retained_past import StoredPast
from shared.ports.clock import Clock
from shared.ports.queue import Wake
from shared.ports.secrets import Secret
from shared.ports.town_past import TownPast
from shared.runner.surroundings import Surroundings

DEFAULT_PORT: Final = 8765
_ARN: Final = "arn:townctl:token:::operator/"


class LoopIsAwake:
    """The Queue port where the loop looks every five seconds by itself: wakes need not be kept."""

    def send(self, wakes: Sequence[Wake]) -> tuple[Wake, ...]:  # noqa: ARG002 - the port's shape
        """Taken: the marker brings the town within one pass."""
        return ()

    def put_back(self, receipts: Mapping[str, timedelta]) -> None:
        """There is none: nobody is delivered a wake here."""


class OwnTown(Access):
    """Who shows an operator's token may do everything to the town that it names, and sees no other."""

    def _allows(self, caller: str, verb: str, town_id: str) -> bool:  # noqa: ARG002 - one verb is as good as another
        return caller == _ARN + town_id

    def _readable(self, caller: str) -> Iterator[str]:
        yield caller.removeprefix(_ARN)


@dataclass
class Served:
    """What answers: the functions' own handlers, one request at a time, because the framework keeps one current event."""

    routes: tuple[tuple[Route, Callable[[Any, Any], dict[str, Any]]], ...]
    key: str
    clock: Clock
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Judge the token, and let the function answer."""
        path = urlsplit(target).path
        if path == "/":
            return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": '{"served":"townctl"}'}
        for route, handler in self.routes:
            parameters = route.match(method, path)
            if parameters is None:
                continue
            try:
                claims = self._claims(headers)
            except Refused as refusal:
                return _problem(401, refusal.message, refusal.hint)
            query = urlsplit(target).query
            event = event_of(method, path, query, headers, body=body, route=route, parameters=parameters)
            if route.guard == "townToken":
                named = {
                    "town": claims.town,
                    "scope": claims.scope,
                    "agent": claims.agent,
                    "generation": claims.generation,
                }
                shown = {name: str(value) for name, value in named.items() if value is not None}
                shown["expires"] = str(int(claims.expires_at.timestamp())) if claims.expires_at else "0"
                event["requestContext"]["authorizer"] = {"lambda": shown}
            elif claims.scope != "operator":
                return _problem(403, "this route is for operators", "townctl token TOWN --scope operator")
            else:
                event["requestContext"]["authorizer"] = {"iam": {"userArn": _ARN + claims.town}}
            with self._turn:
                return handler(event, None)
        return _problem(404, "there is no such route", "")

    def _claims(self, headers: Mapping[str, str]) -> town_tokens.Claims:
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Refused("no token was shown", status=401, hint="Authorization: Bearer <what townctl token prints>")
        return town_tokens.read(shown.strip(), [self.key], now=self.clock.now())


def serve(
    *,
    port: Annotated[int, Parameter(help="Where it listens, on 127.0.0.1 alone; 0 is any free port.")] = DEFAULT_PORT,
    speed: Annotated[float, Parameter(help="How many times as fast as the wall the clock runs.")] = 1,
    agent_command: Annotated[
        str | None, Parameter(help="The program that agents run; remembered for this data directory.")
    ] = None,
    desk: TheDesk,
) -> Answer:
    """Serve the API and tick the towns of the data directory or bucket, until Ctrl-C or SIGTERM.

    Make tokens with `townctl token TOWN` on the same directory.
    """
    store = desk.founding_store()
    desk.prove_store()
    clock = wiring.clock_for(store, (), speed=speed)
    runtime = desk.runtime(wiring.program(desk.data, agent_command), clock)
    around = desk.around(store, clock=clock, runtime=runtime)
    served = served_from(desk, around, key=key_of(desk))
    loop = TownLoop(around, Lines(desk.talk), speed=speed_of(clock), archives=desk.archive)
    stop = Stop()
    with stop.on_signals(), serving(served, port=port) as url:
        desk.talk(f"serving {desk.place} at {url}; Ctrl-C stops after the pass that is going on")
        loop.until(stop.wait)
    tally = loop.tally
    return Answer({"url": url} | tally.as_json(), (f"{tally.passes} passes",))


def served_from(desk: Desk, around: Surroundings, *, key: str) -> Served:
    """The functions over these towns. There is one of it in a process: the handlers keep their deployment for life."""
    from functions.debug import app as debug
    from functions.events import app as events
    from functions.events.ingestion import Ingestion
    from functions.settings import DebugSettings
    from shared.telemetry.emf import EmfMetrics

    def write(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    @dataclass(frozen=True, slots=True)
    class Here(debug.Deployment):
        def past(self) -> TownPast:
            objects = desk.kept()
            return StoredPast(objects, objects)

    access = OwnTown((), write)
    ingestion = Ingestion(around, LoopIsAwake(), EmfMetrics(lambda _: None, stage="local"), write)
    there = events.Deployment(ingestion, access)
    here = Here(DebugSettings(stage="local", town_bucket="local"), around, access)
    # the seam of both functions: what they would make of the environment of a Lambda
    setattr(events, "deployment", lambda: there)  # noqa: B010 - mypy rightly asks why else
    setattr(debug, "deployment", lambda: here)  # noqa: B010 - as above
    found = []
    for path, operations in openapi.document()["paths"].items():
        for method, operation in operations.items():
            handler = debug.lambda_handler if "debug" in operation["tags"] else events.lambda_handler
            guard: Literal["townToken", "sigv4"] = next(iter(operation["security"][0]))
            found.append((Route(method.upper(), path, "", guard), handler))
    return Served(tuple(found), key, around.clock)


def key_of(desk: Desk) -> str:
    """The key that signs this directory's tokens, made by the first `serve`."""
    kept = secret_files(desk.data)
    known = kept.get(KEY_NAME)
    if known is None:
        known = Secret(secrets.token_urlsafe(48))
        kept.put(KEY_NAME, known)
    return known.reveal()


def _problem(status: int, detail: str, hint: str) -> dict[str, Any]:
    headers = {"Content-Type": problems.CONTENT_TYPE, **problems.NO_STORE}
    return {"statusCode": status, "headers": headers, "body": json.dumps(problems.document(status, detail, hint=hint))}
