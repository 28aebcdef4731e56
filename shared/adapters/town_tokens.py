"""Town tokens: signed tokens that agents, containers and producers present to report to a town, valid for eight hours.

Two keys are valid at a time, so that the key can be rotated while tokens are in use: the first one signs, both verify. The
deployed API never says why it rejects a token; `townctl serve`, on the user's own machine, does.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import jwt

from shared.domain.errors import Refused, Terminal
from shared.domain.states import SCOPES, Scope
from shared.ports.clock import Clock

LIFE: Final = timedelta(hours=8)
ISSUER: Final = "town-reconciler"
AUDIENCE: Final = "town-events"

_ALGORITHM: Final = "HS256"
_SHORTEST_KEY: Final = 32
_LONGEST_TOKEN: Final = 4096
_SKEW: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token. Scopes `agent` and `coordinator` name an agent; other scopes do not."""

    town: str
    scope: Scope
    agent: str | None = None
    generation: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Mint:
    """Makes tokens for a town's container or for one generation of an agent. Implements `shared.ports.tokens.MintToken`."""

    keys: Callable[[], Sequence[str]]
    clock: Clock

    def __call__(
        self,
        town_id: str,
        *,
        scope: Literal["container", "agent", "coordinator"],
        agent_id: str | None = None,
        generation: int | None = None,
    ) -> str:
        """The token. Raises TownError if it cannot be made."""
        return issue(Claims(town_id, scope, agent_id, generation), self.keys(), now=self.clock.now())


def issue(claims: Claims, keys: Sequence[str], *, now: datetime, life: timedelta = LIFE) -> str:
    """A token for these claims, signed with the first key. Raises Refused, Terminal (no usable key)."""
    if (claims.scope in ("agent", "coordinator")) != (claims.agent is not None):
        must = "must not" if claims.agent is not None else "must"
        hint = "give --agent for the scopes agent and coordinator, and for no other"
        raise Refused(f"a token of scope {claims.scope} {must} name an agent", status=400, path="agent", hint=hint)
    if not timedelta(0) < life <= LIFE:
        hint = "choose a life of at most eight hours, and make a new token when it ends"
        problem = "a token must be valid for more than zero and at most eight hours"
        raise Refused(problem, status=400, path="life", hint=hint)
    [key, *_] = _usable(keys)
    body: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": int(now.timestamp()),
        "exp": int((now + life).timestamp()),
        "town": claims.town,
        "scope": claims.scope,
    }
    named = {"agent": claims.agent, "generation": claims.generation}
    body |= {name: value for name, value in named.items() if value is not None}
    return jwt.encode(body, key, algorithm=_ALGORITHM, headers={"kid": key_id(key)})


def read(token: str, keys: Sequence[str], *, now: datetime) -> Claims:
    """The claims of a valid token. Raises Refused (401), Terminal (no usable key)."""
    if not 0 < len(token) <= _LONGEST_TOKEN or not token.isascii():
        raise _refused("it is missing or malformed")
    for key in _usable(keys):
        try:
            body = jwt.decode(
                token,
                key,
                algorithms=[_ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                # times are checked below, by the given clock
                options={"require": ["exp", "iat"], "verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except jwt.InvalidSignatureError:
            continue
        except jwt.PyJWTError as error:
            raise _refused(_reason(error)) from None
        return _claims(body, now)
    raise _refused("it is signed with an unknown key")


def key_id(key: str) -> str:
    """A name for a key that reveals nothing about it."""
    return hashlib.sha256(b"town token key\n" + key.encode()).hexdigest()[:12]


def _claims(body: dict[str, Any], now: datetime) -> Claims:
    town, agent, generation = (body.get(name) for name in ("town", "agent", "generation"))
    scope = next((known for known in SCOPES if known == body.get("scope")), None)
    well_formed = (
        isinstance(town, str)
        and isinstance(agent, str | None)
        and type(generation) in (int, type(None))
        and (scope in ("agent", "coordinator")) == (agent is not None)
        and type(body["exp"]) is int
        and type(body["iat"]) is int
    )
    if scope is None or not well_formed:
        raise _refused("its claims are malformed")
    try:
        issued, expires = (datetime.fromtimestamp(body[name], UTC) for name in ("iat", "exp"))
    except (ValueError, OverflowError, OSError):
        raise _refused("its times are malformed") from None
    if now >= expires or issued > now + _SKEW or expires - issued > LIFE:
        raise _refused("it is expired, not valid yet, or valid for too long")
    return Claims(town=str(town), scope=scope, agent=agent, generation=generation, expires_at=expires)


def _usable(keys: Sequence[str]) -> Sequence[str]:
    usable = [key for key in keys if len(key.encode()) >= _SHORTEST_KEY]
    if not usable:
        hint = "store a random text of at least 32 characters as the secret of the town tokens"
        raise Terminal("there is no usable key for town tokens", hint=hint)
    return usable


def _reason(error: jwt.PyJWTError) -> str:
    """What is wrong with a token, in words."""
    if isinstance(error, jwt.MissingRequiredClaimError):
        return f"it lacks the claim {error.claim}"
    if isinstance(error, jwt.InvalidAudienceError | jwt.InvalidIssuerError):
        return "it was made for something else"
    return "it cannot be decoded"


def _refused(why: str) -> Refused:
    return Refused(
        f"the token is not valid: {why}", status=401, hint="make a new one with `townctl token TOWN`, and send it whole"
    )
