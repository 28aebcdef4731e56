"""The tokens of a deployed stack, in AWS Secrets Manager below the stack's prefix, where its functions read them.

An error repeats only the code of an SDK error, because the SDK's message may quote the request.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from shared.domain.errors import AccessDenied, SecretsUnavailable
from shared.ports.secrets import Secret

RECOVERABLE_DAYS: Final = 7
_REFUSED: Final = ("AccessDeniedException", "UnrecognizedClientException", "ExpiredTokenException")


class StackSecrets:
    """Reads, stores, lists and removes secrets below a prefix. Every method may raise AccessDenied or SecretsUnavailable."""

    def __init__(self, prefix: str, *, region: str | None = None) -> None:
        self.prefix = prefix.strip("/")
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

    @contextmanager
    def _asked(self, what: str, rights: str) -> Iterator[Any]:
        """A client, with its errors translated."""
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError, ClientError

        doing = f"cannot {what} below {self.prefix}"
        try:
            settings = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 3})
            yield boto3.session.Session().client("secretsmanager", region_name=self._region, config=settings)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _REFUSED:
                raise AccessDenied(
                    f"{doing}: {code}", hint=f"your credentials need secretsmanager:{rights} below this prefix"
                ) from None
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
