"""A secret with two valid values, as Secrets Manager keeps it: AWSCURRENT, and AWSPREVIOUS since the last rotation.

Powertools' cache is not used: it would take both stages of one secret for the same value.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Final

from shared.domain.errors import AccessDenied, Retryable
from shared.ports.clock import Clock

_STAGES: Final = ("AWSCURRENT", "AWSPREVIOUS")
_DENIED: Final = frozenset({"AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId"})
_NOT_THERE: Final = "ResourceNotFoundException"
_CONNECT_SECONDS: Final = 1.0
_READ_SECONDS: Final = 2.0
_ATTEMPTS: Final = 2
LONGEST_SILENCE_SECONDS: Final = _ATTEMPTS * (_CONNECT_SECONDS + _READ_SECONDS) + 1
"""So long, with the pause of the SDK, until Secrets Manager counts as not answering. Whoever asks must live longer: an
environment that is ended meanwhile forgets what it was told last.
"""


@dataclass(slots=True)
class RotatedSecret:
    """The values of one secret, remembered for `life`. After a rotation `refreshed` sees the new one at once.

    While Secrets Manager does not answer, what it said last is believed for `grace`: an outage there is none of ours.
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
    _client: Any = None
    _lock: Lock = field(default_factory=Lock)

    def values(self) -> tuple[str, ...]:
        """Current value first, then the previous one if there is one. Raises AccessDenied, Retryable."""
        return self._newer_than(self.life)

    def refreshed(self) -> tuple[str, ...]:
        """The same, asked for again unless that was done a moment ago: nobody can make us ask for every request."""
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
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - slow; only at the first use

        try:
            self._client = self._client or _client(self.endpoint_url)
            answer = self._client.get_secret_value(SecretId=self.name, VersionStage=stage)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code == _NOT_THERE and stage != _STAGES[0]:
                return None
            if code in _DENIED or code == _NOT_THERE:
                hint = "the role needs secretsmanager:GetSecretValue on the secret that the settings name"
                raise AccessDenied(f"read the keys of town tokens: {code}", hint=hint) from error
            raise Retryable(f"read the keys of town tokens: {code}") from error
        except BotoCoreError as error:
            raise Retryable(f"read the keys of town tokens: {type(error).__name__}") from error
        return str(answer["SecretString"])


def _client(endpoint_url: str | None) -> Any:
    import boto3  # noqa: PLC0415 - slow; only at the first use
    from botocore.config import Config  # noqa: PLC0415

    retries: Any = {"mode": "standard", "total_max_attempts": _ATTEMPTS}
    settings = Config(connect_timeout=_CONNECT_SECONDS, read_timeout=_READ_SECONDS, retries=retries)
    return boto3.session.Session().client("secretsmanager", endpoint_url=endpoint_url, config=settings)
