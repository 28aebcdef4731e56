"""`townctl secret copy`: copies the secrets of a deployment to another prefix, which may be that of the other service.

So a stack can change the parameter SecretsStore without a minute in which its functions find no secrets.
"""

from typing import Annotated

from cyclopts import Parameter

from infra.townctl.output import FOUND, OK, Answer
from infra.townctl.place import ThePlace
from infra.townctl.secret_commands import SecretsPrefix, secrets_at
from infra.townctl.stack_secrets import SENTRY_DSN
from shared.domain.errors import Refused
from shared.domain.shapes import answer


@answer
class CopiedSecrets:
    """The names of the secrets that were copied, of those that were there before, and of those whose text there is another one."""

    copied: tuple[str, ...]
    kept: tuple[str, ...]
    differing: tuple[str, ...]


def copy(
    from_prefix: Annotated[str, Parameter(help="The prefix below which they are, as in town-reconciler/prod.")],
    /,
    *,
    secrets_prefix: SecretsPrefix = None,
    place: ThePlace,
) -> Answer:
    """Copy all secrets below a prefix to another one, as when a stack changes SecretsStore.

    A prefix that begins with a slash means SSM parameters, any other AWS Secrets Manager. A secret that is there already is kept.
    The DSN of Sentry stays where it is, because CloudFormation reads it. Exit code 1 if a secret there has another text.
    """
    target, source = secrets_at(place, secrets_prefix), place.secrets(from_prefix)
    where = getattr(target, "prefix", None)
    if where is None or where == getattr(source, "prefix", None):
        hint = "name it with --secrets-prefix; a slash in front of it means SSM parameters"
        raise Refused("there is no other prefix to copy to", status=400, path="secrets-prefix", hint=hint)
    there, copied, kept, differing = set(target.names()), [], [], []
    for name in source.names():
        secret = None if name == SENTRY_DSN else source.get(name)
        if secret is None:
            continue
        if name not in there:
            target.put(name, secret)
            copied.append(name)
        elif (known := target.get(name)) is not None and known.reveal() == secret.reveal():
            kept.append(name)
        else:
            differing.append(name)
    lines = [*(f"{name}: copied" for name in copied), *(f"{name}: is there already" for name in kept)]
    lines += [f"{name}: another text is there, which was kept" for name in differing]
    found = CopiedSecrets(tuple(copied), tuple(kept), tuple(differing))
    return Answer(found, tuple(lines) or (f"there is no secret below {from_prefix}",), FOUND if differing else OK)
