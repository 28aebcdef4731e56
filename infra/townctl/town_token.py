"""`townctl token`: make a town token for an agent, a container, an operator or another producer of events."""

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from infra.townctl.arguments import TownName
from infra.townctl.context import TheContext
from infra.townctl.forges import secret_files
from infra.townctl.output import Answer
from shared.adapters.rotated_secret import RotatedSecret
from shared.adapters.town_tokens import LIFE, Claims, issue
from shared.domain.errors import AccessDenied, Refused, Retryable, Terminal
from shared.domain.shapes import Time, answer
from shared.storage import keys

SECRET_VARIABLE: Final = "TOWNCTL_TOKEN_SECRET"  # noqa: S105 - a name
KEY_NAME: Final = "town-token-key"
"""The secret of a data directory that holds its token key; `townctl serve` creates it."""
_LARGEST_KEY: Final = 4096
_KEY_HINT: Final = "give a file that contains a random text of at least 32 characters"


@answer
class TownToken:
    """A token, and until when it is valid. `agent` is None if it is not for one agent."""

    town_id: str
    scope: str
    agent: str | None
    token: str
    expires_at: Time


def token(
    town_id: TownName,
    /,
    *,
    scope: Annotated[
        Literal["agent", "coordinator", "container", "operator"],
        Parameter(
            help="agent: its own reports; coordinator: also what the mayor or triage decides; container: its processes; "
            "operator: every event."
        ),
    ] = "operator",
    agent: Annotated[
        str | None, Parameter(help="The agent that the token is for (scopes agent and coordinator).")
    ] = None,
    generation: Annotated[int | None, Parameter(help="The generation of that agent: the number of its start.")] = None,
    hours: Annotated[float, Parameter(help="How many hours the token is valid, at most 8.")] = LIFE
    / timedelta(hours=1),
    secret: Annotated[
        str | None,
        Parameter(
            help="The secret in AWS Secrets Manager with the key: the output TownTokenKeyArn; default: TOWNCTL_TOKEN_SECRET."
        ),
    ] = None,
    key_file: Annotated[Path | None, Parameter(help="A file that contains the key, instead of a secret.")] = None,
    context: TheContext,
) -> Answer:
    """Print a token for the header `Authorization: Bearer TOKEN`. It is not stored anywhere, and it expires."""
    keys.checked_town_id(town_id)
    longest = LIFE / timedelta(hours=1)
    if not 0 < hours <= longest:  # also refuses NaN, which timedelta does not accept
        problem = f"--hours must be more than 0 and at most {longest:g}, not {hours:g}"
        raise Refused(problem, status=400, path="hours", hint="for example --hours 0.5 for half an hour")
    now = context.clock.now()
    life = timedelta(hours=hours)
    signing = _keys(secret, key_file, context)
    made = _issued(Claims(town_id, scope, agent, generation), signing, key_file, now=now, life=life)
    return Answer(TownToken(town_id, scope, agent, made, now + life), (made,))


def _issued(claims: Claims, signing: tuple[str, ...], key_file: Path | None, *, now: datetime, life: timedelta) -> str:
    """A token for these claims. Raises Refused, which names the key file if its key cannot be used."""
    try:
        return issue(claims, signing, now=now, life=life)
    except Terminal as error:
        if key_file is None:
            raise
        problem = f"--key-file: {key_file} does not contain a usable key"
        raise Refused(problem, status=400, path="key-file", hint=_KEY_HINT) from error


def _keys(secret: str | None, key_file: Path | None, context: TheContext) -> tuple[str, ...]:
    """The keys; the first one signs. Raises Refused."""
    if key_file is not None:
        try:
            return (key_file.read_bytes()[:_LARGEST_KEY].decode().strip(),)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            problem = f"--key-file: cannot read {key_file}: {reason}"
            raise Refused(problem, status=400, path="key-file", hint=_KEY_HINT) from error
    name = secret or os.environ.get(SECRET_VARIABLE)
    if not name:
        kept = secret_files(context.data).get(KEY_NAME)
        if kept is not None:
            return (kept.reveal(),)
        hint = (
            "give --secret ARN (the stack's output TownTokenKeyArn), --key-file FILE, or --data of a `townctl serve`, "
            "which makes the key when it starts: wait until it answers"
        )
        problem = f"a key is required to sign the token, and {context.data} has none"
        raise Refused(problem, status=400, path="secret", hint=hint)
    endpoint = context.named_bucket.endpoint_url if context.named_bucket is not None else None
    try:
        return RotatedSecret(name, context.clock, endpoint).values()
    except (AccessDenied, Retryable) as error:
        hint = "sign in with `aws sso login`, set AWS_DEFAULT_REGION, and check that you may read the output TownTokenKeyArn"
        raise Refused(error.message, status=400, path="secret", hint=hint) from error
