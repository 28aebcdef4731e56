"""`townctl secret set-webhook` and `remove-webhook`: the secrets that sign the webhooks of notices."""

from __future__ import annotations

import secrets as random
import sys
from typing import Annotated, Final

from cyclopts import Parameter

from infra.townctl.arguments import TownName
from infra.townctl.output import Answer
from infra.townctl.place import ThePlace
from infra.townctl.secret_commands import SecretsPrefix, SecretStore, forget, secrets_at, secrets_of_town, stored
from shared.domain.errors import Refused
from shared.domain.notices import webhook_secret
from shared.ports.secrets import Secret

_SHORTEST: Final = 16
_LONGEST: Final = 1024


def set_webhook(
    town_id: TownName | None = None,
    /,
    *,
    make: Annotated[
        bool, Parameter(negative="", help="Make a new secret and print it once, instead of reading one.")
    ] = False,
    secrets_prefix: SecretsPrefix = None,
    place: ThePlace,
) -> Answer:
    """Store the secret that signs the webhooks of a town, read from standard input; without a town, those of the fleet.

    The receiver of the webhook needs the same secret.
    """
    secrets = _secrets(place, secrets_prefix, town_id)
    text = random.token_hex(32) if make else _read()
    answer = stored(secrets, webhook_secret(town_id), Secret(text))
    if not make:
        return answer
    return Answer({"secret": webhook_secret(town_id), "stored": True, "value": text}, (*answer.shown, text))


def remove_webhook(
    town_id: TownName | None = None, /, *, secrets_prefix: SecretsPrefix = None, place: ThePlace
) -> Answer:
    """Remove the secret that signs the webhooks of a town; without a town, those of the fleet. Exit code 1 if there was none."""
    return forget(_secrets(place, secrets_prefix, town_id), webhook_secret(town_id))


def _secrets(place: ThePlace, prefix: str | None, town_id: str | None) -> SecretStore:
    return secrets_at(place, prefix) if town_id is None else secrets_of_town(place, prefix, town_id)


def _read() -> str:
    text = sys.stdin.read(_LONGEST + 1).strip()
    if not _SHORTEST <= len(text) <= _LONGEST or not text.isascii() or not text.isprintable():
        hint = "give it on standard input, or let one be made: townctl secret set-webhook TOWN --make"
        problem = f"standard input does not contain a secret of {_SHORTEST} to {_LONGEST} characters"
        raise Refused(problem, status=400, path="secret", hint=hint)
    return text
