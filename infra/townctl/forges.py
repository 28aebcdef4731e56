"""Forges of a machine: which hosts there are besides github.com and gitlab.com, where tokens lie, and how they come there.

<data>/.secrets          tokens, one file each, readable by their owner alone
<data>/.forges.json      the hosts of the last --forge-host, for later commands on this directory

With a prefix (--secrets-prefix, TOWNCTL_SECRETS_PREFIX) tokens lie in AWS Secrets Manager, where a deployed stack has its own.

A token comes in on standard input or is typed without being shown; it is never a word of a command line, where every
process of the machine could read it.
"""

import getpass
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from infra.townctl.answers import FOUND, OK, Answer, table
from infra.townctl.desk import Desk, TheDesk, TownName
from infra.townctl.stack_secrets import StackSecrets
from shared.adapters.forge_hosts import USUAL_HOSTS, ForgeHost
from shared.adapters.forge_tokens import secret_name
from shared.adapters.local_supervisor import write_atomically
from shared.adapters.secret_files import LARGEST, SecretFiles
from shared.domain.errors import Refused, UnknownTown
from shared.domain.repositories import ForgeKind
from shared.ports.clock import Clock
from shared.ports.forge import SourceForge
from shared.ports.secrets import Secret, Secrets
from shared.ports.steps import drive
from shared.storage.keys import checked_town_id

ForgeWord = Literal["github", "gitlab"]
HOST_HELP: Final = "A self-hosted forge, github=HOST or gitlab=HOST, if needed =API-URL; remembered for this directory."
PREFIX_VARIABLE: Final = "TOWNCTL_SECRETS_PREFIX"
PREFIX_HELP: Final = (
    "Tokens lie in AWS Secrets Manager below this prefix (a stack's parameter SecretsPrefix), not in the data directory; "
    f"else {PREFIX_VARIABLE}."
)
_USUAL: Final[dict[ForgeKind, str]] = {"github": "github.com", "gitlab": "gitlab.com"}
_Rig = Annotated[str | None, Parameter(help="For this rig alone; it comes before the town's.")]
_Prefix = Annotated[str | None, Parameter(help=PREFIX_HELP)]
_Host = Annotated[str | None, Parameter(help="The host of a self-hosted forge; else github.com or gitlab.com.")]

Kept = SecretFiles | StackSecrets
"""Where tokens are stored, named and forgotten: files of one machine, or Secrets Manager."""

app = App(name="secret", help="Tokens for forges: store them, see which there are, forget them. None is ever shown.")


def secret_files(data: Path) -> SecretFiles:
    """The tokens of a data directory."""
    return SecretFiles(data / ".secrets")


def forge_of(
    data: Path, clock: Clock, *, hosts: Sequence[ForgeHost] = (), secrets_prefix: str | None = None
) -> SourceForge:
    """GitHub and GitLab, the usual ones and those of this directory, with its tokens or those below a prefix."""
    from shared.adapters.forges import Forges
    from shared.adapters.secrets_manager import SecretsManager

    prefix = prefix_of(secrets_prefix)
    secrets: Secrets = secret_files(data) if prefix is None else SecretsManager(prefix, clock)
    return Forges(secrets, clock, hosts=(*USUAL_HOSTS, *hosts))


def prefix_of(given: str | None) -> str | None:
    """The prefix that --secrets-prefix names, else the environment; None: tokens lie in the data directory."""
    return given or os.environ.get(PREFIX_VARIABLE) or None


def hosts_of(data: Path, given: Sequence[str]) -> tuple[ForgeHost, ...]:
    """The self-hosted forges that --forge-host names, which are remembered, else the remembered ones. Raises Refused."""
    path = data / ".forges.json"
    if given:
        named = tuple(ForgeHost.from_text(text) for text in given)
        write_atomically(path, {"hosts": list(given)})
        return named
    try:
        return tuple(ForgeHost.from_text(str(text)) for text in json.loads(path.read_text(encoding="utf-8"))["hosts"])
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, KeyError, TypeError) as error:
        hint = "give --forge-host again, or remove the file"
        raise Refused(f"{path} cannot be read: {error}", status=400, path="forge-host", hint=hint) from error


@app.command(name="set")
def set_(
    town_id: TownName,
    forge: ForgeWord,
    /,
    *,
    rig: _Rig = None,
    host: _Host = None,
    secrets_prefix: _Prefix = None,
    desk: TheDesk,
) -> Answer:
    """Store a token that is read from standard input: `townctl secret set TOWN github < FILE`.

    For a deployed stack name its prefix, and its bucket or --api, so that a town that does not exist is noticed.
    """
    kept = _kept(desk, secrets_prefix)
    if isinstance(kept, StackSecrets) and desk.bucket is None:
        checked_town_id(town_id)
    elif town_id not in drive(desk.store().towns()):
        raise UnknownTown(f"there is no town {town_id} here", hint="see which there are: townctl town list")
    return store(kept, forge, town_id=town_id, rig=rig, host=host)


@app.command(name="set-platform")
def set_platform(forge: ForgeWord, /, *, host: _Host = None, secrets_prefix: _Prefix = None, desk: TheDesk) -> Answer:
    """Store a token for every town here that has none of its own, from standard input."""
    return store(_kept(desk, secrets_prefix), forge, host=host)


@app.command(name="list")
def list_(*, secrets_prefix: _Prefix = None, desk: TheDesk) -> Answer:
    """Say for which hosts, towns and rigs a token is stored; not what it is."""
    return names_in(_kept(desk, secrets_prefix))


@app.command
def remove(
    town_id: TownName,
    forge: ForgeWord,
    /,
    *,
    rig: _Rig = None,
    host: _Host = None,
    secrets_prefix: _Prefix = None,
    desk: TheDesk,
) -> Answer:
    """Forget a token. Exit code 1 if there was none."""
    return forget(_kept(desk, secrets_prefix), forge, town_id=town_id, rig=rig, host=host)


def _kept(desk: Desk, given: str | None) -> Kept:
    """The tokens below a prefix, in the region of the bucket if that is named; without a prefix those of the directory."""
    prefix = prefix_of(given)
    if prefix is None:
        return secret_files(desk.data)
    return StackSecrets(prefix, region=None if desk.bucket is None else desk.bucket.region)


def store(
    kept: Kept, forge: ForgeWord, *, town_id: str | None = None, rig: str | None = None, host: str | None = None
) -> Answer:
    """Store a token from standard input under the name by which towns look for it."""
    name = secret_name(_host(forge, host), town_id=town_id, rig_id=rig)
    kept.put(name, _read_token())
    where = "for its owner's eyes only"
    if isinstance(kept, StackSecrets):
        where = f"below {kept.prefix} in AWS Secrets Manager; the functions see it within five minutes"
    return Answer({"secret": name, "stored": True}, (f"{name}: stored, {where}",))


def names_in(kept: Kept) -> Answer:
    """Which tokens there are."""
    names = kept.names()
    if not names:
        return Answer({"secrets": []}, ("no token is stored: townctl secret set TOWN github < FILE",))
    return Answer({"secrets": list(names)}, (table("secret", rows=[(name,) for name in names]),))


def forget(kept: Kept, forge: ForgeWord, *, town_id: str, rig: str | None, host: str | None) -> Answer:
    """Remove a token."""
    name = secret_name(_host(forge, host), town_id=town_id, rig_id=rig)
    gone = kept.remove(name)
    shown = f"{name}: {'removed' if gone else 'there was none'}"
    return Answer({"secret": name, "removed": gone}, (shown,), OK if gone else FOUND)


def _read_token() -> Secret:
    """A token from standard input, or typed. Raises Refused, which never says what was read."""
    text = getpass.getpass("token: ") if sys.stdin.isatty() else sys.stdin.read(LARGEST + 1)
    text = text.strip()
    if not text or len(text) > LARGEST or not text.isascii() or not text.isprintable() or " " in text:
        hint = "give the token alone on standard input: townctl secret set TOWN github < FILE"
        raise Refused("what came on standard input is no token", status=400, path="token", hint=hint)
    return Secret(text)


def _host(forge: ForgeWord, host: str | None) -> str:
    return ForgeHost.of(forge, host or _USUAL[forge]).host
