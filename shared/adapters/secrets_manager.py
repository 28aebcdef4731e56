"""Secrets in AWS Secrets Manager, below one prefix, remembered for five minutes.

That there is none is remembered too: a town without a token of its own must not cost a request at every poll.
"""

from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final

from shared.domain.errors import AccessDenied, SecretsUnavailable
from shared.ports.clock import Clock
from shared.ports.secrets import Secret

KEPT_FOR: Final = timedelta(minutes=5)
_REFUSED: Final = frozenset(
    {"AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException"}
)


class SecretsManager:
    """The secrets below a prefix such as `town-reconciler/prod`. `client` is made when the first one is asked for;
    `endpoint_url` is for what is not AWS.
    """

    def __init__(self, prefix: str, clock: Clock, *, client: Any = None, endpoint_url: str | None = None) -> None:
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
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - as boto3

        try:
            answer = self._open().get_secret_value(SecretId=f"{self._prefix}/{name}")
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in ("ResourceNotFoundException", "InvalidRequestException"):
                return None  # there is none, or it is marked for deletion
            if code in _REFUSED:
                hint = "allow secretsmanager:GetSecretValue below the prefix"
                raise AccessDenied(f"the secret {name} may not be read: {code}", hint=hint) from None
            raise SecretsUnavailable(f"the secret {name} could not be read: {code}") from None
        except BotoCoreError as error:
            raise SecretsUnavailable(f"the secret {name} could not be read: {type(error).__name__}") from None
        text = (answer.get("SecretString") or "").strip()
        return Secret(text) if text else None

    def _open(self) -> Any:
        with self._lock:
            if self._client is None:
                import boto3  # noqa: PLC0415 - a town without pull requests needs no secret
                from botocore.config import Config  # noqa: PLC0415 - as boto3

                settings = Config(connect_timeout=2, read_timeout=3, retries={"mode": "standard", "max_attempts": 2})
                # a session of its own: the default one may not be shared by threads while a client is made
                session = boto3.session.Session()
                self._client = session.client("secretsmanager", endpoint_url=self._endpoint_url, config=settings)
            return self._client
