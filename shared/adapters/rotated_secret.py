"""A secret with two valid values in Secrets Manager: AWSCURRENT and, since the last rotation, AWSPREVIOUS.

The cache of Powertools is not used because it does not distinguish the stages of a secret.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from shared.adapters import aws_sdk
from shared.adapters.aws_sdk import AwsClient
from shared.domain.errors import AccessDenied, Retryable
from shared.ports.clock import Clock

_STAGES: Final = ("AWSCURRENT", "AWSPREVIOUS")
_DENIED: Final = frozenset({"AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId"})
_NOT_THERE: Final = "ResourceNotFoundException"
_CONNECT_SECONDS: Final = 1.0
_READ_SECONDS: Final = 2.0
_ATTEMPTS: Final = 2
LONGEST_SILENCE_SECONDS: Final = _ATTEMPTS * (_CONNECT_SECONDS + _READ_SECONDS) + 1
"""The longest time that one read takes until Secrets Manager counts as unavailable, including the SDK's pause between attempts.

The timeout of a function that reads must be longer. A function that times out loses its environment, and with it the cached
values that it could still use.
"""


@dataclass(slots=True)
class RotatedSecret:
    """The values of one secret, cached for `life`. `refreshed` reads them again, at most once in `patience`.

    While Secrets Manager does not answer, the last known values are used for up to `grace`, so that its outage does not
    become ours.
    """

    name: str
    clock: Clock
    endpoint_url: str | None = None
    life: timedelta = timedelta(minutes=5)
    patience: timedelta = timedelta(seconds=10)
    grace: timedelta = timedelta(hours=1)
    _values: tuple[str, ...] = ()
    _asked_at: datetime | None = None
    _read_at: datetime | None = None
    _client: AwsClient = None
    _lock: Lock = field(default_factory=Lock)

    def values(self) -> tuple[str, ...]:
        """The current value, then the previous one if any. Raises AccessDenied (also for a value without text), Retryable."""
        return self._newer_than(self.life)

    def refreshed(self) -> tuple[str, ...]:
        """As `values`, but read again unless the last read is recent: an unknown key must not cause a read for every request."""
        return self._newer_than(self.patience)

    def _newer_than(self, age: timedelta) -> tuple[str, ...]:
        with self._lock:
            now = self.clock.now()
            if self._asked_at is None or not timedelta(0) <= now - self._asked_at < age:
                self._ask(now)
                self._asked_at = now
            return self._values

    def _ask(self, now: datetime) -> None:
        try:
            self._values = tuple(value for stage in _STAGES if (value := self._read(stage)) is not None)
            self._read_at = now
        except Retryable:
            if self._read_at is None or not timedelta(0) <= now - self._read_at < self.grace:
                raise

    def _read(self, stage: str) -> str | None:
        try:
            self._client = self._client or _client(self.endpoint_url)
            answer = self._client.get_secret_value(SecretId=self.name, VersionStage=stage)
        except aws_sdk.sdk_errors() as error:
            code = aws_sdk.code_of(error)
            if code == _NOT_THERE and stage != _STAGES[0]:
                return None
            problem = f"{code or type(error).__name__} while reading the keys of town tokens"
            if code in _DENIED or code == _NOT_THERE:
                hint = (
                    "create the secret that the settings name, and allow the role secretsmanager:GetSecretValue on it"
                )
                raise AccessDenied(problem, hint=hint) from error
            raise Retryable(problem) from error
        text = answer.get("SecretString")
        if not isinstance(text, str) or not text.strip():
            hint = (
                "store its value as text that is not empty, with `aws secretsmanager put-secret-value --secret-string`"
            )
            raise AccessDenied(f"read the keys of town tokens: the secret {self.name} has no text", hint=hint)
        return text


def _client(endpoint_url: str | None) -> AwsClient:
    return aws_sdk.client(
        "secretsmanager",
        connect_seconds=_CONNECT_SECONDS,
        read_seconds=_READ_SECONDS,
        attempts=_ATTEMPTS,
        endpoint_url=endpoint_url,
    )
