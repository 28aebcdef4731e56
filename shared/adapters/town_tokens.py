"""Town tokens: signed tokens that agents, containers and producers present to report to a town, valid for eight hours.

Two keys are valid at a time, so that the key can be rotated while tokens are in use: the first one signs, both verify. The
deployed API never says why it rejects a token; `townctl serve`, on the user's own machine, does.

A token has one spelling: its three parts are base64url without padding and without spare bits, its header has exactly `alg`,
`typ` and `kid`, and `kid` names the key that signed it. Every claim that is there is checked, also one that `issue` does not write:

    iss, aud     exactly ours; a list of audiences is refused
    iat, exp     whole seconds; at most eight hours apart; not issued in the future, except for a minute of clock skew
    nbf          optional; the token is not valid earlier, with the same minute of skew
    jti          the id of the token, which audit lines and events carry; a token of 0.1 has none and is named by its digest
    town         the id of a town
    scope        one of the scopes; agent and coordinator need `agent`, the others must not have it
    agent        the id of an agent
    generation   a whole number above 0, only beside `agent`. A token without it speaks for whatever generation an event names:
                 no start gets such a token, only a person can make one (`townctl token TOWN --agent A`)
"""

import base64
import binascii
import hashlib
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, Literal

import jwt

from shared.domain.errors import Refused, Terminal
from shared.domain.ids import is_subject_id, is_town_id
from shared.domain.states import SCOPES, Scope
from shared.ports.clock import Clock

LIFE: Final = timedelta(hours=8)
ISSUER: Final = "town-reconciler"
AUDIENCE: Final = "town-events"

_ALGORITHM: Final = "HS256"
_SHORTEST_KEY: Final = 32
_LONGEST_TOKEN: Final = 4096
_TOKENS_KNOWN: Final = 1000
_SKEW: Final = timedelta(minutes=1)
_PARTS: Final = 3
_TOKEN_ID: Final = re.compile(r"[A-Za-z0-9_-]{8,64}", re.ASCII)
_TOKEN_ID_BYTES: Final = 12
_KEY_ID: Final = re.compile(r"[0-9a-f]{12}", re.ASCII)
_GREATEST_GENERATION: Final = 2**53
"""JSON numbers above it are not exact everywhere, and no agent is started that often."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token. Scopes `agent` and `coordinator` name an agent; other scopes do not.

    `key` and `token` are the ids of the key that signed it and of the token itself. Both are known once the token is made, and
    neither reveals anything with which one could make or use a token.
    """

    town: str
    scope: Scope
    agent: str | None = None
    generation: int | None = None
    expires_at: datetime | None = None
    key: str | None = None
    token: str | None = None


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
    """A token for these claims with a random id, signed with the first key. Raises Refused, Terminal (no usable key)."""
    if (claims.scope in ("agent", "coordinator")) != (claims.agent is not None):
        must = "must not" if claims.agent is not None else "must"
        hint = "give --agent for the scopes agent and coordinator, and for no other"
        raise Refused(f"a token of scope {claims.scope} {must} name an agent", status=400, path="agent", hint=hint)
    _require_issuable(claims)
    if not timedelta(0) < life <= LIFE:
        hint = "choose a life of at most eight hours, and make a new token when it ends"
        problem = "a token must be valid for more than zero and at most eight hours"
        raise Refused(problem, status=400, path="life", hint=hint)
    [key, *_] = usable(keys)
    body: dict[str, object] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": int(now.timestamp()),
        "exp": int((now + life).timestamp()),
        "jti": secrets.token_urlsafe(_TOKEN_ID_BYTES),
        "town": claims.town,
        "scope": claims.scope,
    }
    named = {"agent": claims.agent, "generation": claims.generation}
    body |= {name: value for name, value in named.items() if value is not None}
    return jwt.encode(body, key, algorithm=_ALGORITHM, headers={"kid": key_id(key)})


def read(token: str, keys: Sequence[str], *, now: datetime) -> Claims:
    """The claims of a valid token. Raises Refused (401), Terminal (no usable key)."""
    body, key = _signed(token, keys)
    return _claims(body, now, key=key, token=token)


class SignedTokens:
    """Reads tokens as `read` does, but checks the spelling and the signature of each only once for the same keys.

    Everything that depends on the time is checked again for each request. Only tokens whose signature is right are remembered.
    """

    def __init__(self) -> None:
        self._signed = lru_cache(_TOKENS_KNOWN)(_signed)

    def read(self, token: str, keys: tuple[str, ...], *, now: datetime) -> Claims:
        """The claims of a valid token. Raises Refused (401), Terminal (no usable key)."""
        body, key = self._signed(token, keys)
        return _claims(body, now, key=key, token=token)


def _signed(token: str, keys: Sequence[str]) -> tuple[Mapping[str, Any], str]:
    """What a token says that one of these keys has signed, and the id of that key. Raises Refused, Terminal."""
    known = usable(keys)
    if not 0 < len(token) <= _LONGEST_TOKEN or not _is_canonical(token):
        raise _refused("it is missing or malformed")
    named = _key_named(token)
    key = next((each for each in known if key_id(each) == named), None)
    if key is None:
        raise _refused("it is signed with an unknown key")
    try:
        body = jwt.decode(
            token,
            key,
            algorithms=[_ALGORITHM],
            audience=AUDIENCE,
            issuer=ISSUER,
            # times are checked below, by the given clock
            options={
                "require": ["exp", "iat"],
                "strict_aud": True,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    except (jwt.PyJWTError, RecursionError) as error:
        raise _refused(_reason(error)) from None
    return body, key_id(key)


def key_id(key: str) -> str:
    """A name for a key that reveals nothing about it."""
    return hashlib.sha256(b"town token key\n" + key.encode()).hexdigest()[:12]


def claimed_ids(token: str) -> tuple[str | None, str | None]:
    """The ids of its key and of itself that a refused token claims, for an audit line. Nobody has verified them.

    An id that has not the form of one is None. A text that has the form of a token but no id is named by its digest.
    """
    if not 0 < len(token) <= _LONGEST_TOKEN or not _is_canonical(token):
        return None, None
    key = _key_named(token)
    try:
        body = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, RecursionError):
        body = {}
    named = body.get("jti")
    is_an_id = isinstance(named, str) and _TOKEN_ID.fullmatch(named) is not None
    return key if key is not None and _KEY_ID.fullmatch(key) else None, named if is_an_id else digest_of(token)


def digest_of(token: str) -> str:
    """A name for a token that has no id of its own. It reveals nothing about the token."""
    return "sha256-" + hashlib.sha256(token.encode()).hexdigest()[:24]


def _claims(body: Mapping[str, Any], now: datetime, *, key: str, token: str) -> Claims:
    """The claims of a body whose signature is right. A claim that is null is not the same as one that is missing."""
    town, agent, generation = (body.get(name) for name in ("town", "agent", "generation"))
    scope = next((known for known in SCOPES if known == body.get("scope")), None)
    well_formed = (
        isinstance(town, str)
        and is_town_id(town)
        and (scope in ("agent", "coordinator")) == ("agent" in body)
        and ("agent" not in body or (isinstance(agent, str) and is_subject_id(agent)))
        and ("generation" not in body or ("agent" in body and _is_generation(generation)))
        and ("jti" not in body or (isinstance(body["jti"], str) and _TOKEN_ID.fullmatch(body["jti"]) is not None))
    )
    if scope is None or not well_formed:
        raise _refused("its claims are malformed")
    issued, expires = _time(body["iat"]), _time(body["exp"])
    starts = _time(body["nbf"]) if "nbf" in body else issued
    if now >= expires or max(issued, starts) > now + _SKEW or not timedelta(0) < expires - issued <= LIFE:
        raise _refused("it is expired, not valid yet, or valid for too long")
    token_id = body.get("jti") or digest_of(token)
    return Claims(str(town), scope, agent, generation, expires_at=expires, key=key, token=token_id)


def _time(seconds: object) -> datetime:
    """The time of a claim, in whole seconds. Raises Refused."""
    try:
        if type(seconds) is int:
            return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise _refused("its times are malformed")


def _is_generation(value: object) -> bool:
    return type(value) is int and 0 < value <= _GREATEST_GENERATION


def _require_issuable(claims: Claims) -> None:
    """Refuse claims that `read` would refuse. Raises Refused."""
    if not is_town_id(claims.town):
        hint = "a town id has 1 to 64 lower-case letters, digits and hyphens and does not start with a hyphen"
        raise Refused(f"not a town id: {claims.town[:80]!r}", status=400, path="town", hint=hint)
    if claims.agent is not None and not is_subject_id(claims.agent):
        hint = "give the id that the town shows: 1 to 64 characters without control characters"
        raise Refused("the agent's id is not one that an agent can have", status=400, path="agent", hint=hint)
    if claims.generation is None:
        return
    if claims.agent is None or not _is_generation(claims.generation):
        hint = "give --generation only together with --agent: the number of the agent's start, 1 or greater"
        raise Refused("this cannot be the generation of a token", status=400, path="generation", hint=hint)


def _is_canonical(token: str) -> bool:
    """Whether every part is spelled in the only way in which its bytes can be spelled.

    A decoder that skips unknown characters and spare bits accepts many spellings of one token, and whoever compares tokens by
    their text (the gateway's cache, a digest in an audit line) would take them for different ones.
    """
    parts = token.split(".")
    return len(parts) == _PARTS and all(part and _respelled(part) == part for part in parts)


def _respelled(part: str) -> str | None:
    try:
        content = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _key_named(token: str) -> str | None:
    """The key that the header names; None if the header is not exactly one of ours."""
    try:
        header: Mapping[str, object] = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, RecursionError):
        return None
    named = header.get("kid")
    ours = {"alg": _ALGORITHM, "typ": "JWT", "kid": named}
    return named if isinstance(named, str) and dict(header) == ours else None


def usable(keys: Sequence[str]) -> Sequence[str]:
    """The keys that are long enough to sign. Raises Terminal if there is none."""
    found = [key for key in keys if len(key.encode()) >= _SHORTEST_KEY]
    if not found:
        hint = "store a random text of at least 32 characters as the secret of the town tokens"
        raise Terminal("there is no usable key for town tokens", hint=hint)
    return found


def _reason(error: jwt.PyJWTError | RecursionError) -> str:
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
