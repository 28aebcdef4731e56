"""`townctl secret`: store, list and remove the tokens that towns use at their forges.

A token is read from standard input or typed without echo. It is never an argument, because every process on the machine can
read a command line.
"""

import getpass
import secrets as random
import sys
from typing import Annotated, Final, Literal

from cyclopts import Parameter

from infra.townctl.arguments import TownName
from infra.townctl.forges import PREFIX_HELP, prefix_of
from infra.townctl.output import FOUND, OK, Answer, table
from infra.townctl.place import Place, ThePlace
from infra.townctl.stack_secrets import StackParameters, StackSecrets
from shared.adapters import control_keys
from shared.adapters.clock import SystemClock
from shared.adapters.forge_hosts import ForgeHost
from shared.adapters.forge_tokens import PlatformToken, agents_secret_name, secret_name, with_towns
from shared.adapters.github.app import SECRET as APP_SECRET
from shared.adapters.github.app import AppSecret, app_secret, signed_by
from shared.adapters.secret_files import SecretFiles
from shared.domain.errors import Refused
from shared.domain.repositories import ForgeKind
from shared.domain.shapes import answer
from shared.ports.forge import ForgeError
from shared.ports.secrets import Secret
from shared.storage.keys import checked_town_id

_LONGEST: Final = 8 << 10
_KEY_HINT: Final = "give the file that GitHub made: townctl secret set-app APP-ID --serves TOWN=OWNER < KEY-FILE"
ForgeWord = Literal["github", "gitlab"]
_USUAL: Final[dict[ForgeKind, str]] = {"github": "github.com", "gitlab": "gitlab.com"}
SecretsPrefix = Annotated[str | None, Parameter(help=PREFIX_HELP)]
_Rig = Annotated[str | None, Parameter(help="Only for this rig; its token takes precedence over the town's.")]
_ForAgents = Annotated[
    bool,
    Parameter(help="The token that agents get (setting agent_forge_access = stored), not the town's own.", negative=()),
]
_Host = Annotated[str | None, Parameter(help="The host of a self-hosted forge; default: github.com or gitlab.com.")]

SecretStore = SecretFiles | StackSecrets | StackParameters
"""A place that stores, lists and removes tokens: files on this machine, Secrets Manager, or SSM parameters."""


@answer
class StoredSecret:
    """The name under which a token was stored."""

    secret: str
    stored: bool = True


@answer
class StoredSecrets:
    """The names of the stored tokens."""

    secrets: tuple[str, ...]


@answer
class RemovedSecret:
    """The name of a token; `removed` is false if there was none."""

    secret: str
    removed: bool


@answer
class ControlKey:
    """The key that callers of a town's control server must present."""

    town_id: str
    key: str


def set_(
    town_id: TownName,
    forge: ForgeWord,
    /,
    *,
    rig: _Rig = None,
    for_agents: _ForAgents = False,
    host: _Host = None,
    secrets_prefix: SecretsPrefix = None,
    place: ThePlace,
) -> Answer:
    """Store a town's token, read from standard input: `townctl secret set TOWN github < FILE`.

    For a deployed stack give its prefix, and its bucket or --api, so that townctl can check that the town exists.
    """
    secrets = secrets_of_town(place, secrets_prefix, town_id)
    return stored(secrets, _name(forge, host, town_id=town_id, rig=rig, for_agents=for_agents), _read_token())


def set_platform(
    forge: ForgeWord,
    /,
    *,
    serves: Annotated[
        tuple[str, ...],
        Parameter(
            help="TOWN=OWNER or TOWN=OWNER/REPOSITORY that may use it, or TOWN=* for all at the host; repeat it."
        ),
    ] = (),
    keep_token: Annotated[
        bool,
        Parameter(help="Keep the stored token, read nothing, and replace only the towns that it serves.", negative=()),
    ] = False,
    for_agents: _ForAgents = False,
    host: _Host = None,
    secrets_prefix: SecretsPrefix = None,
    place: ThePlace,
) -> Answer:
    """Store a token, read from standard input, for the towns that --serves names and that have none of their own.

    Without --serves, every town may use it, for every repository that it can reach. That ends with 0.3.
    """
    secrets = secrets_at(place, secrets_prefix)
    name = _name(forge, host, for_agents=for_agents)
    pairs = tuple(_pair(each) for each in serves)
    if for_agents and not pairs:
        hint = "name the towns with --serves TOWN=OWNER/REPOSITORY"
        raise Refused("a token for agents serves only towns that are named", status=400, path="serves", hint=hint)
    if keep_token:
        kept = secrets.get(name)
        if kept is None or not pairs:
            hint = "give --serves with the towns; store a token first, without --keep-token, if there is none"
            raise Refused(
                f"{name}: there is no token to keep, or no town to serve", status=400, path="keep-token", hint=hint
            )
        token = PlatformToken.read(kept).token
    else:
        token = _read_token()
    return stored(secrets, name, with_towns(token, pairs) if pairs else token)


def set_app(
    app_id: Annotated[str, Parameter(help="The App's id: a number, or its client id.")],
    /,
    *,
    serves: Annotated[
        tuple[str, ...],
        Parameter(
            help="TOWN=OWNER or TOWN=OWNER/REPOSITORY that may use it, or TOWN=* for all; repeat it.", negative=()
        ),
    ],
    keep_key: Annotated[
        bool, Parameter(help="Keep the stored key, read nothing, and replace only what the App serves.", negative=())
    ] = False,
    host: _Host = None,
    secrets_prefix: SecretsPrefix = None,
    place: ThePlace,
) -> Answer:
    """Store a GitHub App: its id, and a private key read from standard input: `townctl secret set-app APP-ID < KEY-FILE`.

    It serves the polls and merges of the named towns, unless they have a token of their own, and gives their agents a token for
    each generation. The App needs the permissions that docs/runbook/deploy.md lists, and no webhook.
    """
    secrets = secrets_at(place, secrets_prefix)
    name = APP_SECRET + _host("github", host)
    pairs = tuple(_pair(each) for each in serves)
    if keep_key:
        kept = secrets.get(name)
        if kept is None:
            hint = "give the key on standard input, without --keep-key"
            raise Refused(f"{name}: there is no key to keep", status=400, path="keep-key", hint=hint)
        key = AppSecret.read(kept).key.token
    else:
        key = Secret(private_key(at_most=_LONGEST, hint=_KEY_HINT))
    made = app_secret(app_id, key, pairs)
    if isinstance(signed_by(AppSecret.read(made), SystemClock().now()), ForgeError):
        problem = "standard input does not contain a private RSA key in PEM form"
        raise Refused(problem, status=400, path="key", hint=_KEY_HINT)
    return stored(secrets, name, made)


def list_(*, secrets_prefix: SecretsPrefix = None, place: ThePlace) -> Answer:
    """List the hosts, towns and rigs that have a token, without showing any token."""
    return names_in(secrets_at(place, secrets_prefix))


def remove(
    town_id: TownName,
    forge: ForgeWord,
    /,
    *,
    rig: _Rig = None,
    for_agents: _ForAgents = False,
    host: _Host = None,
    secrets_prefix: SecretsPrefix = None,
    place: ThePlace,
) -> Answer:
    """Remove a token. Exit code 1 if there was none."""
    name = _name(forge, host, town_id=town_id, rig=rig, for_agents=for_agents)
    return forget(secrets_at(place, secrets_prefix), name)


def control_key(town_id: TownName, /, *, secrets_prefix: SecretsPrefix = None, place: ThePlace) -> Answer:
    """Print the key of a town's control server, for its TOWN_CONTROL_KEY; the first call makes the platform's secret.

    The key is the town's own secret `towns/TOWN/control-key`, or else derived from `platform/control-key` and the town's id. Give a
    control server only the key of its own town: tasks on ECS get theirs with each start.
    """
    checked_town_id(town_id)
    secrets = secrets_at(place, secrets_prefix)
    if secrets.get(f"towns/{town_id}/control-key") is None and secrets.get(control_keys.PLATFORM) is None:
        secrets.put(control_keys.PLATFORM, Secret(random.token_hex(32)))
    key = control_keys.ControlKeys(secrets)(town_id) or ""
    return Answer(ControlKey(town_id, key), (key,))


def secrets_at(place: Place, given: str | None) -> SecretStore:
    """Where secrets are stored: below the prefix that is given or in the environment, else in the data directory."""
    return place.secrets(prefix_of(given))


def _name(
    forge: ForgeWord, host: str | None, *, town_id: str | None = None, rig: str | None = None, for_agents: bool
) -> str:
    """The name by which towns look for a token."""
    named = agents_secret_name if for_agents else secret_name
    return named(_host(forge, host), town_id=town_id, rig_id=rig)


def secrets_of_town(place: Place, prefix: str | None, town_id: str) -> SecretStore:
    """Where the secrets of a town are, which must exist if it can be looked for. Raises Refused, UnknownTown."""
    secrets = secrets_at(place, prefix)
    if not isinstance(secrets, SecretFiles) and place.is_directory:
        checked_town_id(town_id)  # the town is in the deployment, not here
    else:
        place.require(town_id)
    return secrets


def stored(secrets: SecretStore, name: str, secret: Secret) -> Answer:
    """Store a secret, and say where."""
    secrets.put(name, secret)
    where = "in a file that only its owner can read"
    if not isinstance(secrets, SecretFiles):
        where = f"below {secrets.prefix} in {secrets.service}; the functions use it within five minutes"
    return Answer(StoredSecret(name), (f"{name}: stored {where}",))


def names_in(secrets: SecretStore) -> Answer:
    """The names of the stored tokens."""
    known = StoredSecrets(tuple(secrets.names()))
    hint = "no token is stored; store one: townctl secret set TOWN github < FILE"
    shown = table("secret", rows=[(name,) for name in known.secrets]) if known.secrets else hint
    return Answer(known, (shown,))


def forget(secrets: SecretStore, name: str) -> Answer:
    """Remove a secret."""
    gone = secrets.remove(name)
    shown = f"{name}: {'removed' if gone else 'there was none; nothing was removed'}"
    return Answer(RemovedSecret(name, gone), (shown,), OK if gone else FOUND)


def private_key(*, at_most: int, hint: str) -> str:
    """The text on standard input that should be a private key. Raises Refused, which never repeats what was read."""
    text = sys.stdin.read(at_most + 1)
    if not 0 < len(text) <= at_most or not text.isascii():
        raise Refused("standard input does not contain a private key", status=400, path="key", hint=hint)
    return text


def _pair(given: str) -> tuple[str, str]:
    """The town and the owner or repository of one --serves. Raises Refused."""
    town_id, _, entry = given.partition("=")
    try:
        checked_town_id(town_id)
    except Refused as problem:
        raise Refused(problem.message, status=problem.status, path="serves", hint=problem.hint) from None
    if not entry:
        hint = "write it as --serves TOWN=OWNER or --serves TOWN=OWNER/REPOSITORY"
        raise Refused(f"--serves: {given[:80]!r} names no owner", status=400, path="serves", hint=hint)
    return town_id, entry


def _read_token() -> Secret:
    """A token from standard input, or typed. Raises Refused, which never repeats what was read."""
    text = getpass.getpass("token: ") if sys.stdin.isatty() else sys.stdin.read(_LONGEST + 1)
    text = text.strip()
    is_plain = text.isascii() and text.isprintable() and " " not in text and text[:1] not in ("{", "[")
    if not 0 < len(text) <= _LONGEST or not is_plain:
        hint = "give only the token on standard input: townctl secret set TOWN github < FILE"
        raise Refused("standard input does not contain a valid token", status=400, path="token", hint=hint)
    return Secret(text)


def _host(forge: ForgeWord, host: str | None) -> str:
    """The host of a forge, checked. Raises Refused, which names the option that was given."""
    try:
        return ForgeHost.of(forge, host or _USUAL[forge]).host
    except Refused as problem:
        raise Refused(problem.message, status=problem.status, path="host", hint=problem.hint) from None
