"""A deployed stack, as `townctl doctor --stack` looks at it, and what is wrong with one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from infra.townctl.platform_tokens import NamedSecrets
from shared.adapters.clock import wait_for
from shared.adapters.rotated_secret import RotatedSecret
from shared.adapters.s3_objects import S3Objects
from shared.domain.shapes import answer

SECONDS: Final = 150.0
"""The longest time that the synthetic event may take if no wake is delivered: two scheduled minutes and a margin."""


@answer
class Symptom:
    """One thing that is wrong with a deployment, and what to do about it."""

    check: str
    problem: str
    hint: str


class DeployedApi(Protocol):
    """The deployment's API, called by an operator and by a producer of events."""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The document of an answer to a request by an operator. Raises Refused, Retryable."""
        ...

    def report(self, path: str, body: bytes, token: str) -> Any:
        """The document of an answer to posted events. Raises Refused, Retryable."""
        ...


@dataclass(frozen=True, slots=True)
class Stack:
    """A deployment: its outputs, the SDK's clients by service name, its bucket, its token keys, its API, secrets and parameters."""

    outputs: Mapping[str, str]
    client: Callable[[str], Any]
    objects: S3Objects
    keys: RotatedSecret
    api: DeployedApi
    secrets: NamedSecrets | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    wait: Callable[[Callable[[], bool]], bool] = lambda done: wait_for(done, seconds=SECONDS, every=2)
