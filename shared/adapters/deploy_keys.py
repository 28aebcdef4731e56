"""The deploy key of a rig with an ssh address: with it, and nothing else, git of the rig's agents reads and pushes the repository.

A person stores it for agents (`agents/towns/T/rigs/R/deploy-key`), if they want with the keys of the host beside it (`known-hosts`)
in the form of ssh's file of that name: then ssh accepts no other. A key with a passphrase cannot be used, because nobody is there
to type it.
"""

from dataclasses import dataclass, field
from typing import Final

from shared.adapters.forge_tokens import rig_secret_name
from shared.domain.errors import Terminal
from shared.domain.repositories import transport_of
from shared.ports.forge import Asker
from shared.ports.secrets import Secret, Secrets

_MARKERS: Final = ("@cert-authority", "@revoked")
_OPENSSH: Final = "-----BEGIN OPENSSH PRIVATE KEY-----"
_HINT: Final = "store it again: townctl secret set-deploy-key TOWN RIG [--known-hosts FILE] < KEY-FILE"


@dataclass(frozen=True, slots=True)
class DeployKey:
    """A private key, and the keys of its host if a person gave them."""

    key: Secret
    known_hosts: str | None = field(default=None, repr=False)


def deploy_key_of(asker: Asker, git_url: str, secrets: Secrets) -> DeployKey | None:
    """The deploy key of the asker's rig; None if there is none, or the address is not for ssh. Raises what `Secrets.get` raises."""
    if asker.rig_id is None or transport_of(git_url) != "ssh":
        return None
    key = secrets.get(rig_secret_name("deploy-key", town_id=asker.town_id, rig_id=asker.rig_id))
    if key is None:
        return None
    hosts = secrets.get(rig_secret_name("known-hosts", town_id=asker.town_id, rig_id=asker.rig_id))
    return DeployKey(key, None if hosts is None else hosts.reveal())


def checked_key(text: str) -> Secret:
    """A private key that ssh can use, with the ends of lines that it wants. Raises Terminal, without anything of the text."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - the function that hands keys out checks none
    from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_ssh_private_key  # noqa: PLC0415

    lines = "\n".join(line.strip() for line in text.strip().splitlines()) + "\n"
    load = load_ssh_private_key if lines.startswith(_OPENSSH) else load_pem_private_key
    try:
        load(lines.encode(), password=None)
    except TypeError:
        raise _unusable("the deploy key has a passphrase; agents cannot type one", "make a key without one") from None
    except (ValueError, UnsupportedAlgorithm):  # the text of these errors may quote the key
        raise _unusable("the deploy key is not a private key that can be read", _HINT) from None
    return Secret(lines)


def checked_hosts(text: str) -> Secret:
    """Keys of hosts, as in ssh's known_hosts. Raises Terminal."""
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.serialization import load_ssh_public_key  # noqa: PLC0415

    lines = [line.strip() for line in text.strip().splitlines()]
    entries = [line.split() for line in lines if line and not line.startswith("#")]
    if not entries:
        raise _unusable("the known hosts name no host", _HINT)
    for number, entry in enumerate(entries, start=1):
        words = entry[1:] if entry[0] in _MARKERS else entry
        try:
            load_ssh_public_key(" ".join(words[1:3]).encode())
        except (ValueError, UnsupportedAlgorithm):
            hint = "give lines as `ssh-keyscan HOST` prints them, after comparing them with what the forge publishes"
            raise _unusable(f"the known hosts have no host and key in entry {number}", hint) from None
    return Secret("\n".join(lines) + "\n")


def _unusable(problem: str, hint: str) -> Terminal:
    return Terminal(problem, hint=hint)
