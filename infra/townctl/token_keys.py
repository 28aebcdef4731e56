"""`townctl secret rotate-town-tokens`: a new key for town tokens, of a data directory or of a deployed stack.

With the usual rotation, the previous key stays valid until the next one, so that tokens in use go on. With --now it ends at once:
then every token and every link in a notice that it has signed is refused, also the honest ones. Two caches know keys or decisions,
and --now empties both:

    the environments of the functions   a changed variable makes Lambda start new ones, which read the secret again
    the gateway's decisions             they are deleted

If either is not permitted, the caches end by themselves: `LONGEST` after the rotation, no old token is accepted any more.
"""

import secrets as random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from cyclopts import Parameter

from infra.townctl.context import TheContext
from infra.townctl.forges import secret_files
from infra.townctl.output import FOUND, OK, Answer
from infra.townctl.town_token import KEY_NAME
from shared.adapters.clock import wait_for
from shared.adapters.secret_files import SecretFiles
from shared.domain.errors import Refused
from shared.domain.shapes import Time, answer
from shared.domain.times import to_text
from shared.ports.secrets import Secret

PREVIOUS_NAME: Final = f"{KEY_NAME}-previous"
SINCE_VARIABLE: Final = "TOKEN_KEYS_SINCE"
LONGEST: Final = timedelta(minutes=2)
"""How long an old key can be believed if no cache is emptied: a minute in the authorizer, and one in the gateway."""
_FUNCTIONS: Final = ("AuthorizerFunctionArn", "WorkerFunctionArn", "TickFunctionArn", "RedriveFunctionArn")
_STAGE: Final = "$default"
_UPDATE_SECONDS: Final = 120.0


@answer
class RotatedKey:
    """A rotation. If `previous_ended`, no token of an older key is accepted after `not_done` is dealt with or two minutes."""

    at: Time
    previous_ended: bool
    not_done: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StackOfKeys:
    """A deployed stack: its outputs, and the SDK's clients by service name."""

    outputs: Mapping[str, str]
    client: Callable[[str], Any]
    seconds: float = _UPDATE_SECONDS


def rotate(
    *,
    now: Annotated[
        bool, Parameter(help="End the previous key at once: every token that it signed is refused.", negative=())
    ] = False,
    stack: Annotated[
        str | None, Parameter(help="The CloudFormation stack whose key is rotated, instead of a data directory's.")
    ] = None,
    context: TheContext,
) -> Answer:
    """Make a new key for town tokens. The previous one stays valid until the next rotation, or with --now ends at once.

    After --now, running agents can report again when their town has refreshed their tokens, at most an hour later.
    Exit code 1 if the key was rotated but a cache could not be emptied.
    """
    at = context.clock.now()
    if stack is None:
        rotate_files(secret_files(context.data), at_once=now)
        undone: tuple[str, ...] = ()
    else:
        import boto3

        from infra.townctl.stack_doctor import outputs_of

        session = boto3.session.Session()
        outputs = outputs_of(session.client("cloudformation"), stack)
        undone = rotate_stack(StackOfKeys(outputs, session.client), at_once=now, at=to_text(at))
    done = "the previous key is not valid any more" if now else "the previous key is valid until the next rotation"
    shown = [f"the key of town tokens is new; {done}", *(f"not done: {each}" for each in undone)]
    if undone:
        minutes = int(LONGEST.total_seconds() // 60)
        shown.append(f"without that, the old key may be believed for at most {minutes} minutes from now")
    return Answer(RotatedKey(at, now, undone), tuple(shown), FOUND if undone else OK)


def rotate_files(files: SecretFiles, *, at_once: bool) -> None:
    """Rotate the key of a data directory. A running `townctl serve` sees it with the next request."""
    current = files.get(KEY_NAME)
    if current is None:
        hint = "start `townctl serve` on this directory first: it makes the key; or give --stack NAME"
        raise Refused("this data directory has no key of town tokens", status=400, path="data", hint=hint)
    if at_once:
        files.remove(PREVIOUS_NAME)
    else:
        files.put(PREVIOUS_NAME, current)
    files.put(KEY_NAME, Secret(new_key()))


def keys_in(files: SecretFiles) -> tuple[str, ...]:
    """The valid keys of a data directory: the one that signs, then the previous one if there is one."""
    return tuple(key.reveal() for name in (KEY_NAME, PREVIOUS_NAME) if (key := files.get(name)) is not None)


class KeysOfDirectory:
    """The valid keys of a data directory. Its files are read again after each change, so that a rotation counts at once."""

    def __init__(self, files: SecretFiles) -> None:
        self._files = files
        self._known: tuple[tuple[tuple[int, ...] | None, ...], tuple[str, ...]] | None = None

    def __call__(self) -> tuple[str, ...]:
        """The one that signs, then the previous one if there is one. Raises what reading a secret raises."""
        state = tuple(self._files.state(name) for name in (KEY_NAME, PREVIOUS_NAME))
        known = self._known
        if known is None or known[0] != state:
            # the state is older than what is read: after a change in between, the next call reads again
            self._known = known = (state, keys_in(self._files))
        return known[1]


def new_key() -> str:
    """A random key."""
    return random.token_urlsafe(48)


def rotate_stack(stack: StackOfKeys, *, at_once: bool, at: str) -> tuple[str, ...]:
    """Rotate the key of a stack. Returns what could not be done after the rotation itself. Raises Refused if nothing was done."""
    from botocore.exceptions import BotoCoreError, ClientError

    arn = stack.outputs["TownTokenKeyArn"]
    secrets = stack.client("secretsmanager")
    try:
        # A secret has two values, the current and the previous one. Two new ones leave none of the old.
        for _ in range(2 if at_once else 1):
            secrets.put_secret_value(SecretId=arn, SecretString=new_key())
    except (BotoCoreError, ClientError) as error:
        hint = "your credentials need secretsmanager:PutSecretValue on the output TownTokenKeyArn; call it again until it succeeds"
        raise Refused(f"the key was not rotated: {_code(error)}", status=403, path="stack", hint=hint) from None
    return tuple(_emptied(stack, at)) if at_once else ()


def _emptied(stack: StackOfKeys, at: str) -> Iterator[str]:
    """Empty every cache, the gateway's last, because an old environment could fill it again. Yields what failed."""
    from botocore.exceptions import BotoCoreError, ClientError

    for output in _FUNCTIONS:
        name = stack.outputs.get(output, "")
        try:
            if not _renewed(stack, name, at):
                yield f"{output}: Lambda did not finish the change of the function's configuration"
        except (BotoCoreError, ClientError) as error:
            yield f"{output}: new environments (lambda:GetFunctionConfiguration, UpdateFunctionConfiguration): {_code(error)}"
    api = (urlsplit(stack.outputs["ApiUrl"]).hostname or "").partition(".")[0]
    try:
        stack.client("apigatewayv2").reset_authorizers_cache(ApiId=api, StageName=_STAGE)
    except (BotoCoreError, ClientError) as error:
        yield f"ApiUrl: the gateway's decisions (apigateway:DELETE on /apis/{api}/stages/*/cache/authorizers): {_code(error)}"


def _renewed(stack: StackOfKeys, name: str, at: str) -> bool:
    """Let a function start new environments, by a variable that nothing reads; whether Lambda says that they are in use."""
    client = stack.client("lambda")
    now = client.get_function_configuration(FunctionName=name)
    variables = {**now.get("Environment", {}).get("Variables", {}), SINCE_VARIABLE: at}
    client.update_function_configuration(
        FunctionName=name, Environment={"Variables": variables}, RevisionId=now["RevisionId"]
    )

    def is_done() -> bool:
        return bool(client.get_function_configuration(FunctionName=name).get("LastUpdateStatus") == "Successful")

    return wait_for(is_done, seconds=stack.seconds, every=1)


def _code(error: Any) -> str:
    """The code or the type of an SDK error, without the content of the request."""
    code = getattr(error, "response", {}).get("Error", {}).get("Code")
    return str(code or type(error).__name__)
