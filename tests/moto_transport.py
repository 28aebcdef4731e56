"""moto for the requests that are signed without the SDK: while its mocks are active, they answer what goes to AWS.

moto changes botocore when it is imported. This module does the same with the transports of `shared.adapters.aws_transport`.
"""

import sys
from typing import Any

from shared.adapters import aws_transport
from shared.adapters.aws_transport import HttpAnswer, Server, Transport, WireRequest

_UNCHANGED = aws_transport.transport_to


class MotoOrReal:
    """The way to one server of AWS: through moto's mocks if they are active."""

    def __init__(self, server: Server, real: Transport) -> None:
        self._origin = f"{server.parts.scheme}://{server.host}"
        self._real = real

    def exchange(self, request: WireRequest, *, largest: int) -> HttpAnswer:
        """Ask moto, or the server."""
        answer = self._mocked(request)
        if answer is None:
            return self._real.exchange(request, largest=largest)
        headers = {name.lower(): str(value) for name, value in answer.headers.items()}
        body = b"" if request.method == "HEAD" else bytes(answer.content)
        headers.setdefault("content-length", str(len(body)))
        return HttpAnswer(int(answer.status_code), headers, body)

    def _mocked(self, request: WireRequest) -> Any:
        models = sys.modules.get("moto.core.models")
        if models is None:
            return None
        from botocore.awsrequest import AWSPreparedRequest, HeadersDict

        headers = HeadersDict({**request.headers, "content-length": str(len(request.body))})
        url = self._origin + request.target
        return models.botocore_stubber(
            "before-send.s3", AWSPreparedRequest(request.method, url, headers, request.body, stream_output=False)
        )


def _transport_to(server: Server) -> Transport:
    real = _UNCHANGED(server)
    return MotoOrReal(server, real) if str(server.parts.hostname).endswith(".amazonaws.com") else real


def install() -> None:
    """Let every transport that is made from now on ask moto first."""
    aws_transport.transport_to = _transport_to  # as moto does with botocore's handlers
