"""One URL for the control servers of many towns: requests below /{town} are forwarded to that town's container.

In a deployment, DNS does this, because {town} is part of a host name there.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from infra.devstack.container import Container
from infra.townctl.api_client import sent

_HANDED_ON: Final = ("authorization", "content-type", "idempotency-key", "town-generation", "town-message-mode")
_LAST_WORDS_SECONDS: Final = 2.0


@dataclass(slots=True)
class ControlServerRouter:
    """The containers by town. Requests for a town without one are answered with 503, so its agents cannot be started."""

    containers: dict[str, Container] = field(default_factory=dict)

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        """Forward a request and return the control server's answer in the form that `gateway.serving` expects."""
        town, _, path = target.removeprefix("/").partition("/")
        container = self.containers.get(town)
        if container is None:
            return _said(503, {"error": "this town has no container"})
        handed_on = {name: headers[name] for name in _HANDED_ON if name in headers}
        try:
            answered = sent(method, f"{container.address}/{path}", body, handed_on)
        except ConnectionError:
            return _said(502, {"error": "the container did not answer"})
        return _said(answered.status, answered.document)

    def close(self) -> None:
        """End every container with its agents. A container without a token cannot post its last events, so do not wait long."""
        for container in self.containers.values():
            container.evict()
        for container in self.containers.values():
            container.close(seconds=_LAST_WORDS_SECONDS)


def _said(status: int, document: Any) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    return {"statusCode": status, "headers": headers, "body": json.dumps(document)}
