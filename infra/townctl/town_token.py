"""`townctl token`: make a town token, for an agent, a container, or whoever reports facts to a town."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from infra.townctl.answers import Answer
from infra.townctl.desk import TheDesk, TownName
from infra.townctl.forges import secret_files
from shared.adapters.rotated_secret import RotatedSecret
from shared.adapters.town_tokens import LIFE, Claims, issue
from shared.domain.errors import AccessDenied, Refused, Retryable
from shared.domain.times import to_text
from shared.storage import keys

SECRET_VARIABLE: Final = "TOWNCTL_TOKEN_SECRET"  # noqa: S105 - a name
KEY_NAME: Final = "town-token-key"
"""The key of a data directory, among its secrets; `townctl serve` makes it."""
_LARGEST_KEY: Final = 4096


def token(
    town_id: TownName,
    /,
    *,
    scope: Annotated[
        Literal["agent", "coordinator", "container", "operator"],
        Parameter(
            help="agent: its own reports; coordinator: the mayor's too; container: its agents'; operator: all facts."
        ),
    ] = "operator",
    agent: Annotated[str | None, Parameter(help="The agent that it speaks for (agent, coordinator).")] = None,
    generation: Annotated[int | None, Parameter(help="The start of that agent which it belongs to.")] = None,
    hours: Annotated[float, Parameter(help="How long it is valid, at most 8.")] = LIFE / timedelta(hours=1),
    secret: Annotated[
        str | None,
        Parameter(
            help="The secret in AWS Secrets Manager that holds the key: output TownTokenKeyArn; else TOWNCTL_TOKEN_SECRET."
        ),
    ] = None,
    key_file: Annotated[Path | None, Parameter(help="A file with the key instead.")] = None,
    desk: TheDesk,
) -> Answer:
    """Print a token for the header `Authorization: Bearer TOKEN`. Nobody remembers it; it ends by itself."""
    keys.checked_town_id(town_id)
    if not 0 < hours <= LIFE / timedelta(hours=1):  # nothing else can be a timedelta: a NaN is no number of hours
        raise Refused("a token lives at most eight hours", status=400, path="hours", hint="--hours 0.5 is half an hour")
    now = desk.clock.now()
    life = timedelta(hours=hours)
    made = issue(Claims(town_id, scope, agent, generation), _keys(secret, key_file, desk), now=now, life=life)
    document = {"townId": town_id, "scope": scope, "agent": agent, "token": made, "expiresAt": to_text(now + life)}
    return Answer(document, (made,))


def _keys(secret: str | None, key_file: Path | None, desk: TheDesk) -> tuple[str, ...]:
    """The keys, the signing one first. Raises Refused."""
    if key_file is not None:
        try:
            return (key_file.read_bytes()[:_LARGEST_KEY].decode().strip(),)
        except (OSError, UnicodeDecodeError) as error:
            hint = "name a file with a random text of at least 32 characters"
            raise Refused(
                f"cannot read {key_file}: {type(error).__name__}", status=400, path="key-file", hint=hint
            ) from error
    name = secret or os.environ.get(SECRET_VARIABLE)
    if not name:
        kept = secret_files(desk.data).get(KEY_NAME)
        if kept is not None:
            return (kept.reveal(),)
        hint = "--secret ARN (the stack's output TownTokenKeyArn), --key-file FILE, or --data of a `townctl serve`"
        raise Refused("which key is to sign it is not said", status=400, path="secret", hint=hint)
    endpoint = desk.named_bucket.endpoint_url if desk.named_bucket is not None else None
    try:
        return RotatedSecret(name, desk.clock, endpoint).values()
    except (AccessDenied, Retryable) as error:
        hint = "sign in as for the AWS command line and name a region; is it the output TownTokenKeyArn, and may you read it?"
        raise Refused(error.message, status=400, path="secret", hint=hint) from error
