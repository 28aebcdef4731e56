"""Tells apart why a model does not answer. Programs word it differently; status codes and these phrases are common to them."""

import re
from datetime import timedelta
from typing import Final

from infra.agents.drivers.contract import Failure, Trouble
from infra.agents.drivers.scrubbing import shortened

PASSING: Final = frozenset({Trouble.RATE_LIMITED, Trouble.OVERLOADED, Trouble.UNREACHABLE})
"""What goes away by itself: it is waited for."""

_LONGEST: Final = 500
_LOOKED_AT: Final = 16_000
_LONGEST_WAIT: Final = timedelta(hours=1)
_PHRASES: Final[tuple[tuple[Trouble, tuple[str, ...]], ...]] = (
    (
        Trouble.CONTEXT_FULL,
        (
            *(r"context[ _]?(?:length|window|overflow)", "prompt is too long", "maximum context"),
            *("too many (?:input )?tokens", r"request[ _]too[ _]large", "ran out of room"),
        ),
    ),
    (
        Trouble.NO_CREDIT,
        (
            *("credit balance", r"insufficient[ _]quota", "quota exceeded", "exceeded your current quota"),
            *("billing", "payment required", "usage limit"),
        ),
    ),
    (
        Trouble.UNKNOWN_MODEL,
        (
            *(
                r"model[ _]not[ _]found",
                "(?:unknown|unsupported|no such) model",
                "provider ?model ?not ?found",
                "not_found_error",
            ),
            r"model.{0,80}(?:does not exist|may not exist|not supported|is not available|not found)",
        ),
    ),
    (
        Trouble.NO_KEY,
        (
            *("not logged in", "please run /login", "no api key", "api key (?:is )?missing", "no auth credentials"),
            *(r"missing (?:an? )?(?:api[ _]?key|environment variable|bearer)", "login required"),
        ),
    ),
    (
        Trouble.WRONG_KEY,
        (
            *(r"\b40[13]\b.{0,20}(?:unauthorized|forbidden)", r"invalid[ _](?:x-)?api[ _-]?key", "incorrect api key"),
            *(r"authentication[ _](?:error|failed)", "unauthorized", r"permission[ _]error", "token.{0,20}expired"),
        ),
    ),
    (Trouble.RATE_LIMITED, (r"rate[ _-]?limit", "too many requests", r"\b429\b", "slow down")),
    (
        Trouble.OVERLOADED,
        (
            *("overloaded", "at capacity", "high demand", r"\b5(?:00|02|03|04|20|29)\b", "internal server error"),
            *("service unavailable", "bad gateway", r"server[ _]error", "api_error"),
        ),
    ),
    (
        Trouble.REFUSED,
        (
            *("refus(?:al|ed to respond)", "usage policy", r"content[ _](?:filter|policy)", "safety (?:system|policy)"),
            *("unable to respond to this request", "flagged"),
        ),
    ),
    (
        Trouble.BROKEN_STREAM,  # before the network is blamed
        (
            *("stream closed before", "error decoding response body", "other side closed"),
            r"socket (?:hang|(?:connection )?(?:was )?closed)",
        ),
    ),
    (
        Trouble.UNREACHABLE,
        (
            *(
                "connection (?:error|refused|failed)",
                "(?:could not|cannot|unable to) connect",
                "econn(?:refused|aborted)",
            ),
            *("enotfound", "etimedout", "fetch failed", r"\bdns\b", "name resolution", "error sending request"),
            *(r"\bnetwork\b", "timed? ?out"),
        ),
    ),
    (
        Trouble.BROKEN_STREAM,
        (
            *("stream (?:disconnected|closed|ended|error|idle)", "connection (?:closed|reset|lost)", "econnreset"),
            *("unexpected end", "incomplete", "terminated", "premature"),
        ),
    ),
)
"""The first kind of which a phrase is found is taken."""

_PATTERNS: Final = tuple(
    (trouble, re.compile("|".join(phrases), re.IGNORECASE | re.DOTALL)) for trouble, phrases in _PHRASES
)
_STATUSES: Final = {
    401: Trouble.WRONG_KEY,
    402: Trouble.NO_CREDIT,
    403: Trouble.WRONG_KEY,
    413: Trouble.CONTEXT_FULL,
    429: Trouble.RATE_LIMITED,
}
_FIRST_SERVER_ERROR: Final = 500
_LAST_SERVER_ERROR: Final = 599
_MORE_PRECISE: Final = frozenset(
    {Trouble.CONTEXT_FULL, Trouble.NO_CREDIT, Trouble.UNKNOWN_MODEL, Trouble.NO_KEY, Trouble.REFUSED}
)
"""What a phrase says more precisely than a status code."""


def failure_of(said: str, *, status: int | None = None, retry_after: timedelta | None = None) -> Failure:
    """The failure that a program words like this. `status` is the HTTP status of the model server, if the program tells it."""
    said = shortened(said, _LOOKED_AT)
    shown = shortened(" ".join(said.split()), _LONGEST) or "it gave no reason"
    by_words = next((trouble for trouble, phrases in _PATTERNS if phrases.search(said)), Trouble.OTHER)
    by_status = _of_status(status)
    trouble = by_words if by_status is None or by_words in _MORE_PRECISE else by_status
    wait = None if retry_after is None else max(timedelta(), min(retry_after, _LONGEST_WAIT))
    return Failure(trouble, shown, wait)


def retry_after_in(value: object, *, unit: timedelta = timedelta(seconds=1)) -> timedelta | None:
    """The span in a header or field that says when to try again; None if it says nothing readable."""
    try:
        count = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
    except ValueError:
        return None
    return count * unit if 0 <= count * unit.total_seconds() <= _LONGEST_WAIT.total_seconds() else None


def _of_status(status: int | None) -> Trouble | None:
    if status is None:
        return None
    if _FIRST_SERVER_ERROR <= status <= _LAST_SERVER_ERROR:
        return Trouble.OVERLOADED
    return _STATUSES.get(status)


def in_words(failure: Failure, *, program: str, model: str | None, key: str) -> str:
    """Why the agent ends, and what a person can do about it. `key` says how a key of the model is set.

    The first words are fixed where the fault is not that of the work: the town reads them (docs/spec/events.md).
    """
    of_model = f"model {model}" if model else f"the default model of {program}"
    gone = "the model was not available"
    words = {
        Trouble.NO_KEY: f"no key for the model: {key}",
        Trouble.WRONG_KEY: f"no key for the model: the model server refuses the one that is set; {key}",
        Trouble.NO_CREDIT: f"{gone}: the account of the key has no credit or quota left; add some, or use another key",
        Trouble.RATE_LIMITED: f"{gone}: its rate limit did not end in time; use a key with a higher limit, or fewer agents",
        Trouble.OVERLOADED: f"{gone}: its server stayed overloaded or failed; try again later, or use another model",
        Trouble.UNREACHABLE: f"{gone}: its server cannot be reached; check the network and TOWN_AGENT_MODEL_URL",
        Trouble.UNKNOWN_MODEL: f"{gone}: the server does not offer {of_model}; set another default_model or role_models",
        Trouble.CONTEXT_FULL: f"the context of {of_model} is full; split the bead, or use a model with a larger context",
        Trouble.REFUSED: f"{of_model} refused the request; reword the bead, or use another model",
        Trouble.BROKEN_STREAM: f"{gone}: its answers broke off again and again; check the network and the model server",
        Trouble.CUT_SHORT: f"{program} ended in the middle of its turns, again and again",
        Trouble.OTHER: f"{program} failed",
    }
    return f"{words[failure.trouble]} (it said: {failure.said})"
