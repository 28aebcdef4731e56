"""Forges of a machine: which hosts there are besides github.com and gitlab.com, where tokens lie, and how they come there.

<data>/.secrets          tokens, one file each, readable by their owner alone
<data>/.forges.json      the hosts of the last --forge-host, for later commands on this directory

A token comes in on standard input or is typed without being shown; it is never a word of a command line, where every
process of the machine could read it.
"""

import getpass
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

from cyclopts import App, Parameter

from infra.townctl.answers import FOUND, OK, Answer, table
from infra.townctl.desk import Desk, TheDesk, TownName
from shared.adapters.forge_hosts import USUAL_HOSTS, ForgeHost
from shared.adapters.forge_tokens import secret_name
from shared.adapters.local_supervisor import write_atomically
from shared.adapters.secret_files import LARGEST, SecretFiles
from shared.domain.errors import Refused, UnknownTown
from shared.domain.ports import Clock, Secret, Secrets, SourceForge
from shared.domain.repositories import ForgeKind
from shared.domain.steps import drive

ForgeWord = Literal["github", "gitlab"]
HOST_HELP: Final = "A self-hosted forge, github=HOST or gitlab=HOST, if needed =API-URL; remembered for this directory."
PREFIX_HELP: Final = "Read tokens from AWS Secrets Manager below this prefix, not from the data directory."
_USUAL: Final[dict[ForgeKind, str]] = {"github": "github.com", "gitlab": "gitlab.com"}
_Rig = Annotated[str | None, Parameter(help="For this rig alone; it comes before the town's.")]
_Host = Annotated[str | None, Parameter(help="The host of a self-hosted forge; else github.com or gitlab.com.")]

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

    secrets: Secrets = secret_files(data) if secrets_prefix is None else SecretsManager(secrets_prefix, clock)
    return Forges(secrets, clock, hosts=(*USUAL_HOSTS, *hosts))


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
    desk: TheDesk,
) -> Answer:
    """Store a token that is read from standard input: `townctl secret set TOWN github < FILE`."""
    if town_id not in drive(desk.store().towns()):
        raise UnknownTown(f"there is no town {town_id} here", hint="see which there are: townctl town list")
    return _store(desk, secret_name(_host(forge, host), town_id=town_id, rig_id=rig))


@app.command(name="set-platform")
def set_platform(forge: ForgeWord, /, *, host: _Host = None, desk: TheDesk) -> Answer:
    """Store a token for every town of this directory that has none of its own, from standard input."""
    return _store(desk, secret_name(_host(forge, host)))


@app.command(name="list")
def list_(*, desk: TheDesk) -> Answer:
    """Say for which hosts, towns and rigs a token is stored; not what it is."""
    names = secret_files(desk.data).names()
    if not names:
        return Answer({"secrets": []}, ("no token is stored: townctl secret set TOWN github < FILE",))
    return Answer({"secrets": list(names)}, (table("secret", rows=[(name,) for name in names]),))


@app.command
def remove(town_id: TownName, forge: ForgeWord, /, *, rig: _Rig = None, host: _Host = None, desk: TheDesk) -> Answer:
    """Forget a token. Exit code 1 if there was none."""
    name = secret_name(_host(forge, host), town_id=town_id, rig_id=rig)
    gone = secret_files(desk.data).remove(name)
    return Answer(
        {"secret": name, "removed": gone},
        (f"{name}: {'removed' if gone else 'there was none'}",),
        OK if gone else FOUND,
    )


def _store(desk: Desk, name: str) -> Answer:
    secret_files(desk.data).put(name, _read_token())
    return Answer({"secret": name, "stored": True}, (f"{name}: stored, for its owner's eyes only",))


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
