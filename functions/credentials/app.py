"""The handler of the credentials API: the only function from which a request gets a secret.

It is a function of its own, so that its role can read the tokens for agents and no other secret, and so that the events function,
which everybody who has a token of any kind talks to all day, can read none. An answer is cached nowhere, and no log has it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from functions import api, claims, log, wiring
from functions.access import require_town_id
from functions.api import Call, Reply, Route
from functions.claims import Holder
from functions.credentials.answers import IssuedCredential, IssuedForge
from functions.credentials.issuing import Issued, Issuing
from functions.pace import Pace
from functions.problems import not_found
from functions.queries import Generation, Query
from functions.settings import CredentialsSettings
from shared.adapters.agent_credentials import NoCredential
from shared.domain.errors import Refused
from shared.ports.clock import Clock

wiring.watch_errors()  # before the first call, because its timeout warning must wrap the call

MOST: Final = 30
"""A helper of git asks a few times an hour, because it keeps what it got."""

_EMPTY: Final = (b"", b"{}")
_HINT: Final = "keep a credential until shortly before it expires, and ask once for all commands of git"


@dataclass(frozen=True, slots=True)
class CredentialsDeployment:
    """The objects that live as long as this environment."""

    issuing: Issuing
    clock: Clock
    pace: Pace = field(default_factory=lambda: Pace(MOST, _HINT))


@cache
def deployment() -> CredentialsDeployment:
    """Built by the first request. Raises Terminal if the settings are invalid."""
    settings = CredentialsSettings.from_environment()
    return CredentialsDeployment(
        Issuing(wiring.store(settings), wiring.agent_credentials(settings)), clock=wiring.CLOCK
    )


class CredentialQuery(Query):
    """The generation that the credential is for."""

    generation: Generation = None


def refresh_token(call: Call[CredentialQuery]) -> Reply:
    """A credential of the forge for the repository that the agent works in.

    Only the newest generation of an agent gets it, and only while it has a bead and was not asked to stop. An agent asks with its
    own token, a container for a generation that it names. The body is empty.
    """
    here = deployment()
    now = here.clock.now()
    holder = claims.holder_of(call.event, now)
    require_town_id(call.town_id)
    if holder.town != call.town_id:
        raise not_found()
    agent_id = call.ids["agentId"]
    generation = _generation_of(holder, agent_id, call.query.generation)
    if call.body.strip() not in _EMPTY:
        raise Refused("the body must be empty", status=422, path="body", hint="send the request without a body")
    here.pace.require(call.town_id, agent_id, now=now)
    issued = here.issuing.credential_for(call.town_id, agent_id, generation)
    call.trail.more = _for_the_audit(issued)
    return api.answer(200, answer_of(issued))


def answer_of(issued: Issued) -> IssuedCredential:
    """A credential as it is sent, with its token and key."""
    found, key = issued.credential, issued.key
    ssh = (None, None) if key is None else (key.known_hosts, key.key.reveal())
    if isinstance(found, NoCredential):
        return IssuedCredential(None, found.reason, *ssh)
    token = found.token.reveal()
    forge = IssuedForge(found.host, found.kind, found.project, found.username, found.expires_at, found.api_url, token)
    return IssuedCredential(forge, None, *ssh)


def _generation_of(holder: Holder, agent_id: str, named: int | None) -> int:
    """The generation that gets it. Raises Refused (403, 422).

    A container has to name it: what an older generation left behind may still be at work there when a newer one starts.
    """
    sender = holder.sender
    if sender.scope == "container":
        if named is None:
            hint = "add ?generation=N with the number of the agent's start"
            raise Refused("the generation is required", status=422, path="generation", hint=hint)
        return named
    if sender.scope not in ("agent", "coordinator"):
        hint = "people use their own credentials; agents and their container ask here"
        raise Refused(f"a token of scope {sender.scope} gets no credential of a forge", status=403, hint=hint)
    if sender.agent != agent_id:
        hint = "ask for the agent of your token"
        raise Refused("the token is another agent's", status=403, path="agentId", hint=hint)
    if sender.generation is None:
        hint = "use the token that the agent was started with"
        raise Refused("the token names no generation", status=403, path="agentId", hint=hint)
    if named not in (None, sender.generation):
        hint = "leave the generation out: it is that of the token"
        raise Refused("the token is another generation's", status=403, path="generation", hint=hint)
    return sender.generation


def _for_the_audit(issued: Issued) -> Mapping[str, object]:
    """What the audit line says of an answer: for whom it was, and for which repository; never a token or key."""
    found, need = issued.credential, issued.need
    said: dict[str, object] = {"for_agent": need.agent_id, "for_generation": need.generation}
    if issued.key is not None:
        said["deploy_key_of"] = need.rig_id
    if isinstance(found, NoCredential):
        return {**said, "not_issued": found.reason}
    return {**said, "repository": f"{found.host}/{found.project}"}


def _with_a_token(_: Mapping[str, Any], ids: Mapping[str, str]) -> None:
    """Admit every request: the gateway has verified its token, and the handler checks the claims."""


ROUTES: Final[tuple[Route[Any], ...]] = (
    Route(
        "POST",
        "/api/towns/{townId}/agents/{agentId}/refresh-token",
        "Get an agent's credential of the forge",
        _with_a_token,
        refresh_token,
        CredentialQuery,
        "townToken",
    ),
)


def answered(event: Any, write_line: Callable[[str], object] = log.write_line) -> Reply:
    """Answer one request, and write its audit line."""
    return api.run(ROUTES, event, wiring.tell_bug, write_line=write_line)


def lambda_handler(event: Any, context: Any) -> Reply:  # noqa: ARG001 - the handler's shape
    """Answer one request."""
    return answered(event)
