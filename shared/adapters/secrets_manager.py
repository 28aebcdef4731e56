"""Secrets in AWS Secrets Manager below one prefix, cached for five minutes.

A missing secret is cached too, so that a town without its own token does not cost a request at every poll.
"""

from datetime import datetime
from threading import Lock

from shared.adapters import aws_sdk
from shared.adapters.aws_sdk import AwsClient
from shared.adapters.aws_secrets import KEPT_FOR, unreadable
from shared.ports.clock import Clock
from shared.ports.secrets import Secret


class SecretsManager:
    """The secrets below a prefix such as `town-reconciler/prod`.

    The client is created when the first secret is read, unless one is given. `endpoint_url` is for services that are not AWS.
    """

    def __init__(self, prefix: str, clock: Clock, *, client: AwsClient = None, endpoint_url: str | None = None) -> None:
        self._prefix = prefix.strip("/")
        self._clock = clock
        self._endpoint_url = endpoint_url
        self._client = client
        self._known: dict[str, tuple[datetime, Secret | None]] = {}
        self._lock = Lock()

    def get(self, name: str) -> Secret | None:
        """The secret of that name. Raises SecretsUnavailable and AccessDenied."""
        now = self._clock.now()
        with self._lock:
            known = self._known.get(name)
        if known is not None and now - known[0] < KEPT_FOR:
            return known[1]
        secret = self._fetch(name)
        with self._lock:
            self._known[name] = (now, secret)
        return secret

    def _fetch(self, name: str) -> Secret | None:
        try:
            answer = self._open().get_secret_value(SecretId=f"{self._prefix}/{name}")
        except aws_sdk.sdk_errors() as error:
            if aws_sdk.code_of(error) in ("ResourceNotFoundException", "InvalidRequestException"):
                return None  # it does not exist, or is marked for deletion
            raise unreadable(error, name, allow=f"secretsmanager:GetSecretValue on {self._prefix}/*") from None
        text = (answer.get("SecretString") or "").strip()
        return Secret(text) if text else None

    def _open(self) -> AwsClient:
        with self._lock:
            if self._client is None:
                self._client = aws_sdk.client(
                    "secretsmanager", connect_seconds=2, read_seconds=3, attempts=3, endpoint_url=self._endpoint_url
                )
            return self._client
