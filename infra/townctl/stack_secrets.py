"""The tokens of a deployed stack, below the stack's prefix, where its functions read them: in AWS Secrets Manager, or as SSM
parameters if the prefix begins with a slash (`functions.secret_stores`).

An error repeats only the code of an SDK error, because the SDK's message may quote the request.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final

from functions.secret_stores import are_parameters
from shared.adapters.ssm_parameters import name_of, parameter_of
from shared.domain.errors import AccessDenied, Refused, SecretsUnavailable
from shared.ports.secrets import Secret

RECOVERABLE_DAYS: Final = 7
SENTRY_DSN: Final = "platform/sentry-dsn"
"""CloudFormation reads it when it deploys, in Secrets Manager whatever SecretsStore says."""
MOST_OF_A_PARAMETER: Final = 4096
"""The most bytes of a standard parameter."""

_REFUSED: Final = ("AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException")


def secrets_of_stack(prefix: str, *, region: str | None = None) -> "StackSecrets | StackParameters":
    """The secrets below a prefix, where it says that they are."""
    return StackParameters(prefix, region=region) if are_parameters(prefix) else StackSecrets(prefix, region=region)


class StackSecrets:
    """Reads, stores, lists and removes secrets below a prefix. Every method may raise AccessDenied or SecretsUnavailable."""

    def __init__(self, prefix: str, *, region: str | None = None) -> None:
        self.prefix = prefix.strip("/")
        self.service = "AWS Secrets Manager"
        self._region = region

    def get(self, name: str) -> Secret | None:
        """The secret of that name; None if none is stored."""
        with self._asked(f"read {name}", "GetSecretValue") as client:
            try:
                found = client.get_secret_value(SecretId=f"{self.prefix}/{name}")
            except (client.exceptions.ResourceNotFoundException, client.exceptions.InvalidRequestException):
                return None  # it does not exist, or is marked for deletion
        text = str(found.get("SecretString") or "").strip()
        return Secret(text) if text else None

    def put(self, name: str, secret: Secret) -> None:
        """Store a secret. It replaces an older one, even one that was removed and can still be recovered."""
        path = f"{self.prefix}/{name}"
        with self._asked(f"store {name}", "DescribeSecret, CreateSecret, PutSecretValue and RestoreSecret") as client:
            known = _described(client, path)
            if known is None:
                client.create_secret(Name=path, SecretString=secret.reveal())
                return
            if "DeletedDate" in known:
                client.restore_secret(SecretId=path)
            client.put_secret_value(SecretId=path, SecretString=secret.reveal())

    def remove(self, name: str) -> bool:
        """Remove a secret; it can be recovered for a week. False if there was none."""
        path = f"{self.prefix}/{name}"
        with self._asked(f"remove {name}", "DescribeSecret and DeleteSecret") as client:
            known = _described(client, path)
            if known is None or "DeletedDate" in known:
                return False
            client.delete_secret(SecretId=path, RecoveryWindowInDays=RECOVERABLE_DAYS)
        return True

    def names(self) -> tuple[str, ...]:
        """The names of the stored secrets."""
        with self._asked("list secrets", "ListSecrets") as client:
            below = f"{self.prefix}/"
            pages = client.get_paginator("list_secrets").paginate(Filters=[{"Key": "name", "Values": [below]}])
            found = [each["Name"] for page in pages for each in page["SecretList"] if "DeletedDate" not in each]
        return tuple(sorted(name.removeprefix(below) for name in found if name.startswith(below)))

    def _asked(self, what: str, rights: str) -> AbstractContextManager[Any]:
        return _asked("secretsmanager", f"cannot {what} below {self.prefix}", rights, self._region)


class StackParameters:
    """As `StackSecrets`, in SSM parameters (SecureString, standard tier, encrypted with the account's key of SSM)."""

    def __init__(self, prefix: str, *, region: str | None = None) -> None:
        self.prefix = f"/{prefix.strip('/')}"
        self.service = "SSM parameters"
        self._region = region

    def get(self, name: str) -> Secret | None:
        """The secret of that name; None if none is stored."""
        with self._asked(f"read {name}", "GetParameter") as client:
            try:
                found = client.get_parameter(Name=parameter_of(self.prefix, name), WithDecryption=True)
            except client.exceptions.ParameterNotFound:
                return None
        text = str(found["Parameter"]["Value"]).strip()
        return Secret(text) if text else None

    def put(self, name: str, secret: Secret) -> None:
        """Store a secret. It replaces an older one. Raises Refused (413) if it is longer than a standard parameter may be."""
        text = secret.reveal()
        if len(text.encode()) > MOST_OF_A_PARAMETER:
            hint = "let the parameter SecretsStore name Secrets Manager, where a secret may have 64 KiB"
            problem = f"{name} is longer than {MOST_OF_A_PARAMETER} bytes, which is the most of an SSM parameter"
            raise Refused(problem, status=413, path="secret", hint=hint)
        with self._asked(f"store {name}", "PutParameter") as client:
            client.put_parameter(
                Name=parameter_of(self.prefix, name), Value=text, Type="SecureString", Tier="Standard", Overwrite=True
            )

    def remove(self, name: str) -> bool:
        """Remove a secret for good. False if there was none."""
        with self._asked(f"remove {name}", "DeleteParameter") as client:
            try:
                client.delete_parameter(Name=parameter_of(self.prefix, name))
            except client.exceptions.ParameterNotFound:
                return False
        return True

    def names(self) -> tuple[str, ...]:
        """The names of the stored secrets."""
        with self._asked("list secrets", "DescribeParameters") as client:
            below = {"Key": "Name", "Option": "BeginsWith", "Values": [f"{self.prefix}/"]}
            pages = client.get_paginator("describe_parameters").paginate(ParameterFilters=[below])
            found = [name_of(self.prefix, each["Name"]) for page in pages for each in page["Parameters"]]
        return tuple(sorted(found))

    def _asked(self, what: str, rights: str) -> AbstractContextManager[Any]:
        return _asked("ssm", f"cannot {what} below {self.prefix}", rights, self._region)


@contextmanager
def _asked(service: str, doing: str, rights: str, region: str | None) -> Iterator[Any]:
    """A client, with its errors translated."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        settings = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
        yield boto3.session.Session().client(service, region_name=region, config=settings)
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _REFUSED:
            hint = f"your credentials need {service}:{rights} below this prefix"
            raise AccessDenied(f"{doing}: {code}", hint=hint) from None
        raise SecretsUnavailable(f"{doing}: {code}", hint="try again, or check the prefix and the region") from None
    except BotoCoreError as error:
        hint = "sign in with `aws sso login` or set AWS_PROFILE, and set AWS_DEFAULT_REGION"
        raise SecretsUnavailable(f"{doing}: {type(error).__name__}", hint=hint) from None


def _described(client: Any, path: str) -> Mapping[str, Any] | None:
    """The description of a secret, without its value; a secret that was removed recently has a DeletedDate."""
    try:
        found: Mapping[str, Any] = client.describe_secret(SecretId=path)
    except client.exceptions.ResourceNotFoundException:
        return None
    return found
