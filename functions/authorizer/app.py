"""The handler of the authorizer: decides whether a request has a valid town token, and passes on its claims.

It does not check the town of the request. The events function does that, because the gateway caches this answer for each token:
a cached answer must not give access to another town.

A refused token leaves an audit line. An accepted one leaves the line of its request, which the events function writes.
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import cache, partial
from typing import Any, Final
from urllib.parse import quote

from functions import audit, log
from functions.boundary import told
from functions.headers import header
from functions.settings import AuthorizerSettings, ErrorSettings
from shared.adapters import town_tokens
from shared.adapters.clock import SystemClock
from shared.adapters.rotated_secret import RotatedSecret
from shared.adapters.town_tokens import Claims
from shared.domain.errors import Refused

log.start(ErrorSettings.from_environment().log_level)

KEY_LIFE: Final = timedelta(minutes=1)
"""How long a key that was rotated away is still believed here; the gateway adds the life of its cached answers."""
_SCHEME: Final = "bearer "


@cache
def secret() -> RotatedSecret:
    """The keys, cached for the life of this environment. Raises Terminal if the settings are invalid."""
    settings = AuthorizerSettings.from_environment()
    return RotatedSecret(settings.token_secret, SystemClock(), settings.secrets_endpoint, life=KEY_LIFE)


@told(partial(log.error_told, "function.failed"))
def lambda_handler(event: Any, context: Any) -> dict[str, Any]:  # noqa: ARG001 - the handler's shape
    """Answer with the simple response format of HTTP API authorizers."""
    shown = header(event, "authorization")
    if shown[: len(_SCHEME)].lower() != _SCHEME:
        return _refuse(event, "the request has no town token", "")
    token = shown[len(_SCHEME) :].strip()
    try:
        claims = claims_of(token, secret())
    except Refused as refusal:
        return _refuse(event, refusal.message, token)
    return {"isAuthorized": True, "context": as_context(claims)}


def _refuse(event: Mapping[str, Any], why: str, token: str) -> dict[str, Any]:
    key, token_id = town_tokens.claimed_ids(token)
    log.write_line(audit.of_refused_token(event, why, key=key, token=token_id))
    return {"isAuthorized": False}


def claims_of(token: str, keys: RotatedSecret) -> Claims:
    """The claims of a valid token. If no cached key verifies it, the keys are read again once. Raises Refused."""
    now = keys.clock.now()
    try:
        return town_tokens.read(token, keys.values(), now=now)
    except Refused:
        return town_tokens.read(token, keys.refreshed(), now=now)


def as_context(claims: Claims) -> dict[str, str]:
    """The claims in the form in which the gateway passes them to the function behind it.

    `agentInLog` is the agent in percent encoding. The gateway writes it to its access log, where it escapes nothing.
    """
    named = {
        "town": claims.town,
        "scope": claims.scope,
        "agent": claims.agent,
        "agentInLog": None if claims.agent is None else quote(claims.agent, safe=""),
        "generation": None if claims.generation is None else str(claims.generation),
        "key": claims.key,
        "token": claims.token,
        "expires": None if claims.expires_at is None else str(int(claims.expires_at.timestamp())),
    }
    return {name: value for name, value in named.items() if value is not None}
