"""`townctl secret set-deploy-key` and `remove-deploy-key`: the key with which agents of a rig with an ssh address clone and push.

It is read from standard input, never from an argument, and no command shows it.
"""

from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from infra.townctl.arguments import TownName, content_of
from infra.townctl.output import Answer
from infra.townctl.place import ThePlace
from infra.townctl.secret_commands import SecretsPrefix, forget, private_key, secrets_at, secrets_of_town, stored
from shared.adapters.deploy_keys import checked_hosts, checked_key
from shared.adapters.forge_tokens import rig_secret_name
from shared.domain.errors import Refused, Terminal
from shared.ports.secrets import Secret

_LARGEST: Final = 32 << 10
_HINT: Final = "give the private key on standard input: townctl secret set-deploy-key TOWN RIG < KEY-FILE"
_RigName = Annotated[str, Parameter(name="rig", help="The rig's id.")]


def set_deploy_key(
    town_id: TownName,
    rig_id: _RigName,
    /,
    *,
    known_hosts: Annotated[
        Path | None,
        Parameter(
            help="A file of ssh's known_hosts form: ssh then accepts no other keys of hosts. It replaces an earlier one."
        ),
    ] = None,
    secrets_prefix: SecretsPrefix = None,
    place: ThePlace,
) -> Answer:
    """Store a rig's deploy key, read from standard input: `townctl secret set-deploy-key TOWN RIG < KEY-FILE`.

    Agents of the rig get it if the rig's address is for ssh, unless agent_forge_access is none. It must have no passphrase.
    """
    secrets = secrets_of_town(place, secrets_prefix, town_id)
    hosts = None if known_hosts is None else _hosts(known_hosts)
    answer = stored(secrets, rig_secret_name("deploy-key", town_id=town_id, rig_id=rig_id), _key())
    if hosts is None:
        return answer
    also = stored(secrets, rig_secret_name("known-hosts", town_id=town_id, rig_id=rig_id), hosts)
    return Answer(answer.said, (*answer.shown, *also.shown))


def remove_deploy_key(
    town_id: TownName, rig_id: _RigName, /, *, secrets_prefix: SecretsPrefix = None, place: ThePlace
) -> Answer:
    """Remove a rig's deploy key and the keys of its host. Exit code 1 if there was no deploy key."""
    secrets = secrets_at(place, secrets_prefix)
    secrets.remove(rig_secret_name("known-hosts", town_id=town_id, rig_id=rig_id))
    return forget(secrets, rig_secret_name("deploy-key", town_id=town_id, rig_id=rig_id))


def _key() -> Secret:
    """The key on standard input. Raises Refused, which never repeats what was read."""
    text = private_key(at_most=_LARGEST, hint=_HINT)
    try:
        return checked_key(text)
    except Terminal as error:
        raise Refused(error.message, status=400, path="key", hint=error.hint) from None


def _hosts(path: Path) -> Secret:
    """The keys of hosts in a file. Raises Refused."""
    given = content_of(str(path), what="known-hosts", at_most=_LARGEST)
    try:
        return checked_hosts(given.decode("ascii"))
    except UnicodeDecodeError:
        hint = "give the file that ssh-keyscan wrote"
        raise Refused(f"{path} is not a text in ASCII", status=400, path="known-hosts", hint=hint) from None
    except Terminal as error:
        raise Refused(error.message, status=400, path="known-hosts", hint=error.hint) from None
