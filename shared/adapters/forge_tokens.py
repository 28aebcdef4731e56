"""The token for a request to a forge: the rig's, else the town's, else the platform's.

A token is stored under the name of its host, so it is never sent to another host.
"""

import re
from dataclasses import dataclass
from typing import Final

from shared.ports.forge import Asker
from shared.ports.secrets import Secret, Secrets

_UNUSUAL: Final = re.compile(r"[^a-z0-9_-]|^$")


def secret_name(host: str, *, town_id: str | None = None, rig_id: str | None = None) -> str:
    """The name of a token: of a rig, of a town, or, without either, of the platform.

    Ids may contain any character. A character that a file name or Secrets Manager would not accept is written as its code
    (=2F for a slash), so two ids never share a name and no id leads to another directory.
    """
    parts = ["platform"] if town_id is None else ["towns", _part(town_id)]
    if rig_id is not None:
        parts += ["rigs", _part(rig_id)]
    return "/".join([*parts, "forges", re.sub(r"[^a-z0-9.-]", lambda found: f"={ord(found[0]):02X}", host)])


@dataclass(frozen=True, slots=True)
class NamedToken:
    """A token and the name under which it is stored. `is_platform` says that it belongs to the deployment."""

    name: str
    token: Secret
    is_platform: bool


def names_for(asker: Asker, host: str) -> tuple[str, ...]:
    """The names under which a token for a host is looked for, the most specific first; the last is the platform's."""
    names = (secret_name(host, town_id=asker.town_id), secret_name(host))
    return names if asker.rig_id is None else (secret_name(host, town_id=asker.town_id, rig_id=asker.rig_id), *names)


def token_for(asker: Asker, host: str, secrets: Secrets) -> NamedToken | None:
    """The most specific token for a host. Raises what `Secrets.get` raises."""
    names = names_for(asker, host)
    for name in names:
        token = secrets.get(name)
        if token is not None:
            return NamedToken(name, token, is_platform=name == names[-1])
    return None


def _part(given: str) -> str:
    return _UNUSUAL.sub(lambda found: "".join(f"={byte:02X}" for byte in found[0].encode()) or "=", given)
