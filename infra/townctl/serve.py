"""`townctl serve`: the API and the ticks of a data directory or bucket on this machine, with town tokens for every request.

The routes, their code and their refusals are those of a deployment. There is no IAM here: an operator sends a token of
scope `operator`, which gives access only to the town that it names.
"""

import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Annotated, Any, Final

from cyclopts import Parameter

from functions import audit, problems
from functions.access import Access
from functions.api import BESIDES, REQUEST_ID
from functions.authorizer.app import as_context
from functions.settings import Verb
from infra.devstack.gateway import Route, event_of, parts_of, serving
from infra.townctl import agent_programs, own_clocks, own_runs, wiring
from infra.townctl.context import Context, TheContext
from infra.townctl.forges import issuing_of, secret_files
from infra.townctl.live import Lines
from infra.townctl.loop import LoopCounts, Stop, TownLoop, speed_of
from infra.townctl.output import Answer
from infra.townctl.provers import prover_of
from infra.townctl.token_keys import KeysOfDirectory, new_key
from infra.townctl.town_token import KEY_NAME
from infra.townctl.wording import quantity
from shared.adapters import town_tokens
from shared.domain.errors import Refused
from shared.domain.shapes import answer
from shared.history.retained_past import StoredPast
from shared.intake.looks import Looks
from shared.ports.agent_logs import AgentLogs
from shared.ports.clock import Clock
from shared.ports.queue import Wake
from shared.ports.secrets import Secret
from shared.ports.steps import Steps, drive, drive_all
from shared.ports.town_past import TownPast
from shared.runner.surroundings import Surroundings
from shared.storage.restore import KeptPast

DEFAULT_PORT: Final = 8765
_SERVED: Final = '{"served":"townctl"}'
_NO_OPERATOR: Final = "this route requires an operator's token"
_POSTS: Final = ("POST", "/api/towns/{townId}/events")
"""What is answered together: many report at the same time, and all wait for the disk."""
_LOOK_SECONDS: Final = 0.05
"""So long a look at an inbox counts for all requests. Batches that another process stores meanwhile are compared by the tick."""
_ARN: Final = "arn:townctl:token:::operator/"


@dataclass(frozen=True, slots=True)
class LoopInside:
    """A queue that stores nothing: it wakes the loop of this process, which finds the towns by their due markers."""

    wake: Callable[[], object]

    def send(self, wakes: Sequence[Wake]) -> tuple[Wake, ...]:  # noqa: ARG002 - the port's shape
        """Accept every wake."""
        self.wake()
        return ()

    def put_back(self, receipts: Mapping[str, timedelta]) -> None:
        """Do nothing: no wake is ever delivered here."""


class OwnTown(Access):
    """An operator's token allows everything on the town that it names but to put it away, and nothing on any other town."""

    def _allows(self, caller: str, verb: str, town_id: str) -> bool:
        return verb != "delete" and caller == _ARN + town_id

    def _hint(self, verb: Verb) -> str:  # noqa: ARG002 - every other verb is allowed
        return "no token of a town allows this: use `townctl town archive`, `bring-back` or `delete` with --data or --bucket"

    def _readable(self, caller: str) -> Iterator[str]:
        yield caller.removeprefix(_ARN)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request without its body, its route with the parameters of the path, and the handler that answers it."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    route: Route
    parameters: Mapping[str, str]
    handler: Callable[[Any, Any], dict[str, Any]]

    def event(self, body: bytes) -> dict[str, Any]:
        """The event that a function gets, without the authorizer's result."""
        return event_of(
            self.method,
            self.path,
            self.query,
            self.headers,
            body=body,
            route=self.route,
            parameters=self.parameters,
        )


@dataclass
class Served:
    """The routes of the functions and their handlers, which several threads call at the same time."""

    routes: tuple[tuple[Route, Callable[[Any, Any], dict[str, Any]]], ...]
    keys: Callable[[], Sequence[str]]
    clock: Clock
    write_line: Callable[[str], object]
    together: Mapping[Route, Callable[[Any], Steps[dict[str, Any]]]] = field(default_factory=dict)
    tokens: town_tokens.SignedTokens = field(default_factory=town_tokens.SignedTokens)

    def refused(self, method: str, target: str, headers: Mapping[str, str]) -> dict[str, Any] | None:
        """The answer to a request without a token that opens its route, before its body is read."""
        if parts_of(target)[0] == "/":
            return None
        asked = self._asked(method, target, headers)
        try:
            self._authorizer(asked)
        except Refused as refusal:
            return self._unauthorized(asked, refusal)
        return None

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Check the token, then let the function's handler answer."""
        if parts_of(target)[0] == "/":
            return _root(method)
        asked = self._asked(method, target, headers)
        try:
            event = self._event(asked, body)
        except Refused as refusal:
            return self._unauthorized(asked, refusal)
        return asked.handler(event, None)

    def joins(self, method: str, target: str) -> bool:
        """Whether a request is answered together with those that arrive at the same time."""
        path, _ = parts_of(target)
        return any(route.match(method, path) is not None for route in self.together)

    def answer_all(self, asked: Sequence[tuple[str, str, Mapping[str, str], bytes]]) -> Sequence[dict[str, Any]]:
        """The answers to several requests, each as `answer` gives it."""
        return [self._whatever(end) for end in drive_all([self._answering(*each) for each in asked])]

    def _answering(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Steps[dict[str, Any]]:
        asked = self._asked(method, target, headers)
        try:
            event = self._event(asked, body)
        except Refused as refusal:
            return self._unauthorized(asked, refusal)
        return (yield from self.together[asked.route](event))

    def _whatever(self, end: dict[str, Any] | Exception) -> dict[str, Any]:
        """An answer, or that to a request whose answering failed, so that the others of its group have theirs."""
        if not isinstance(end, Exception):
            return end
        self.write_line("".join(traceback.format_exception(end)))
        return problems.response(500, "the request could not be answered", hint=problems.TELL_THE_OPERATOR)

    def _event(self, asked: _Asked, body: bytes) -> dict[str, Any]:
        """The event of a request that a token admits. Raises Refused."""
        authorizer = self._authorizer(asked)
        event = asked.event(body)
        if authorizer is not None:
            event["requestContext"]["authorizer"] = authorizer
        return event

    def _asked(self, method: str, target: str, headers: Mapping[str, str]) -> _Asked:
        path, query = parts_of(target)
        for route, handler in self.routes:
            parameters = route.match(method, path)
            if parameters is not None:
                return _Asked(method, path, query, headers, route, parameters, handler)
        raise AssertionError("the last route takes every path")

    def _authorizer(self, asked: _Asked) -> dict[str, Any] | None:
        """The authorizer's result; None for a link, which its route checks. Raises Refused if no token opens the route."""
        if asked.route.guard == "link":
            return None
        claims = self._claims(asked.headers)
        if asked.route.guard == "townToken":
            return {"lambda": as_context(claims)}
        if claims.scope != "operator":
            raise Refused(_NO_OPERATOR, status=403, hint="make one with `townctl token TOWN --scope operator`")
        return {"iam": {"userArn": _ARN + claims.town}, "lambda": as_context(claims)}

    def _unauthorized(self, asked: _Asked, refusal: Refused) -> dict[str, Any]:
        """The answer to a request whose token does not open its route, which leaves an audit line."""
        event = asked.event(b"")
        key, token = town_tokens.claimed_ids(_shown_token(asked.headers) or "")
        self.write_line(audit.of_refused_token(event, refusal.message, key=key, token=token))
        return _problem(event, refusal.status, refusal.message, refusal.hint)

    def _claims(self, headers: Mapping[str, str]) -> town_tokens.Claims:
        shown = _shown_token(headers)
        if shown is None:
            hint = "send the header `Authorization: Bearer TOKEN`, with the output of `townctl token TOWN`"
            raise Refused("the request has no town token", status=401, hint=hint)
        return self.tokens.read(shown, tuple(self.keys()), now=self.clock.now())


@answer
class Ended:
    """A server that was stopped: where it listened, and what its loop did."""

    url: str
    loop: LoopCounts


def serve(
    *,
    port: Annotated[int, Parameter(help="The port on 127.0.0.1 to listen on; 0 is any free port.")] = DEFAULT_PORT,
    speed: Annotated[float, Parameter(help="The speed of the clock: 1 is real time, 2 is twice as fast.")] = 1,
    agent_command: Annotated[
        str | None, Parameter(help="The program that agents run; remembered for this data directory.")
    ] = None,
    agent: Annotated[str | None, Parameter(help=agent_programs.AGENT_HELP)] = None,
    agent_login: Annotated[str | None, Parameter(help=agent_programs.LOGIN_HELP)] = None,
    agent_env: Annotated[
        list[str] | None, Parameter(help=agent_programs.ENV_HELP, negative="", consume_multiple=True)
    ] = None,
    context: TheContext,
) -> Answer:
    """Serve the API and tick the towns of a data directory or bucket until Ctrl-C or SIGTERM.

    Make tokens with `townctl token TOWN` on the same directory.
    """
    context.prove_store()
    every = context.founding_store()
    known = drive(every.towns())
    chosen = own_clocks.towns_of_a_loop(every, known, speed=speed)
    store = wiring.open_store(context.founding_objects(), towns=chosen.only, others=chosen.others)
    clock = own_clocks.clock_for(store, [town for town in known if town not in chosen.others], speed=speed)
    program = agent_programs.program(context.data, agent_command, agent_env, agent=agent, login=agent_login)
    runtime = context.runtime(program, clock)
    agent_programs.tell_about_agents(context.data, program, context.talk)
    prover = prover_of(context.data, forge=None, runtime=runtime, environment=program.around)
    around = context.around(store, clock=clock, runtime=runtime, prover=prover)
    stop = Stop()
    served = served_from(context, replace(around, store=every), keys=keys_of(context), wake=stop.wake)
    with stop.on_signals(), serving(served, port=port) as url:
        loop = TownLoop(
            context.around(store, clock=clock, runtime=runtime, prover=prover, api=url),
            Lines(context.talk),
            speed=speed_of(clock),
            pasts=context.kept_past,
            in_directory=context.bucket is None,
            own_process=own_runs.own_process(context, clock),
        )
        context.talk(f"serving {context.place} at {url}; Ctrl-C stops it after the current pass")
        loop.until(stop.wait)
    tally = loop.tally
    return Answer(Ended(url, tally.counts()), (quantity(tally.passes, "pass", "passes"),))


def served_from(
    context: Context,
    around: Surroundings,
    *,
    keys: Callable[[], Sequence[str]],
    wake: Callable[[], object] = lambda: None,
) -> Served:
    """The functions for these towns; an event that wakes its town calls `wake`.

    Make only one per process, because a handler keeps its deployment for its life.
    """
    from functions.archive import app as archive
    from functions.credentials import app as credentials
    from functions.debug import app as debug
    from functions.events import app as events
    from functions.ingestion import Ingestion
    from functions.redrive import app as redrive
    from functions.redrive.acknowledging import Links
    from functions.settings import DebugSettings

    def write(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    @dataclass(frozen=True, slots=True)
    class Here(debug.DebugDeployment):
        def past(self) -> TownPast:
            objects = context.objects()
            return StoredPast(objects, objects)

        def logs(self) -> AgentLogs:
            return context.logs()

        def kept_past(self, town_id: str) -> KeptPast:
            return context.kept_past(town_id)

    access = OwnTown((), write)
    looks = Looks(time.monotonic, seconds=_LOOK_SECONDS)
    ingestion = Ingestion(around, LoopInside(wake), None, write, looks=looks)
    there = events.EventsDeployment(ingestion, access, context.founding_objects())
    here = Here(DebugSettings(stage="local", town_bucket="local"), around, access)
    issues = credentials.CredentialsDeployment(issuing_of(context.data, around.store), around.clock)
    redrives = redrive.RedriveDeployment(ingestion, access, Links(keys, keys))
    shelf = archive.ArchiveDeployment(around, context.founding_store(), access, context.kept_past)
    # The functions call this to build their deployment; in Lambda it reads the environment.
    setattr(credentials, "deployment", lambda: issues)  # noqa: B010 - as below
    setattr(events, "deployment", lambda: there)  # noqa: B010 - mypy refuses a plain assignment
    setattr(debug, "deployment", lambda: here)  # noqa: B010 - as above
    setattr(redrive, "deployment", lambda: redrives)  # noqa: B010 - as above
    setattr(archive, "deployment", lambda: shelf)  # noqa: B010 - as above
    turn = threading.Lock()

    def in_turn(answered: Callable[..., dict[str, Any]]) -> Callable[[Any, Any], dict[str, Any]]:
        def handler(event: Any, _: Any) -> dict[str, Any]:
            with turn:
                return answered(event, write)

        return handler

    handlers = {
        "events": lambda event, _: events.answered(event, write),
        "redrive": lambda event, _: redrive.answered(event, write),
        "archive": lambda event, _: archive.answered(event, write),
        # these share warm images or a cache of credentials, so they answer one request at a time
        "debug": in_turn(debug.answered),
        "credentials": in_turn(credentials.answered),
    }
    functions = {
        "events": events,
        "redrive": redrive,
        "archive": archive,
        "debug": debug,
        "credentials": credentials,
    }
    found = [
        (Route(each.method, each.path, "", each.guard), handlers[name])
        for name, function in functions.items()
        for each in function.ROUTES
    ]
    found += [(Route(method, path, "", guard), handlers[name]) for method, path, name, guard in BESIDES]
    posts = next(route for route, _ in found if (route.method, route.path) == _POSTS)
    together = {posts: lambda event: events.answering(event, write)}
    return Served(tuple(sorted(found, key=lambda each: each[0].rank)), keys, around.clock, write, together)


def _shown_token(headers: Mapping[str, str]) -> str | None:
    """The town token of a request; None if its header `Authorization` has another form."""
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    return shown.strip() if scheme.lower() == "bearer" else None


def _root(method: str) -> dict[str, Any]:
    """The answer that identifies a `townctl serve`; it requires no token."""
    said: dict[str, Any] = {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": _SERVED}
    if method not in ("GET", "HEAD"):
        said = problems.response(405, "this path does not have this method", hint="use one of: GET, HEAD")
        said["headers"]["Allow"] = "GET, HEAD"
    said["headers"][REQUEST_ID] = "none"
    return said


def keys_of(context: Context) -> Callable[[], Sequence[str]]:
    """The keys of this directory's tokens; a rotation counts from the next request on.

    The first `serve` makes the key that signs.
    """
    kept = secret_files(context.data)
    if kept.get(KEY_NAME) is None:
        kept.put(KEY_NAME, Secret(new_key()))
    return KeysOfDirectory(kept)


def _problem(event: Mapping[str, Any], status: int, detail: str, hint: str) -> dict[str, Any]:
    refusal = problems.response(status, detail, hint=hint)
    refusal["headers"][REQUEST_ID] = event["requestContext"]["requestId"]
    return refusal
