"""The socket of the local gateway and of `townctl serve`: what is no request is refused, and nothing is written about it."""

import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pytest

from infra.devstack.gateway import Route, parts_of, serving
from shared.domain.errors import Refused
from tests.patience import PATIENCE_SECONDS


class Echo:
    """Answers with the length of what came."""

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
        return {"statusCode": 200, "headers": {}, "body": str(len(body))}


def said(url: str, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(4096):
            answer += part
        return answer


def first_line(url: str, request: bytes) -> bytes:
    """The beginning of the answer, while the connection stays open for a body that does not come."""
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(request)
        return connection.recv(4096)


@pytest.mark.parametrize("length", ["-5", "abc", "1_0", "+1", "٣"])
def test_a_length_that_is_none_is_a_bad_request(length: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It ended in a traceback on the terminal of whoever served, and in no answer at all."""
    with serving(Echo()) as url:
        answer = said(url, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length.encode() + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("length", "status"), [("99999999999", b"413"), ("9" * 5_000, b"400")])
def test_a_body_that_no_gateway_takes_is_refused_before_it_is_read(
    length: str, status: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    """A length of many digits was a traceback on the terminal of whoever served, and no answer."""
    with serving(Echo()) as url:
        request = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length.encode() + b"\r\n\r\n"
        answer = first_line(url, request)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert capsys.readouterr().err == ""


def test_two_lengths_are_a_bad_request_and_nobody_waits_for_the_longer() -> None:
    with serving(Echo()) as url:
        answer = said(url, b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 6\r\n\r\nx")
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_body_in_chunks_ends_where_its_last_chunk_does() -> None:
    """The gateway could not read chunks, and took the rest of such a body for the next request."""
    chunks = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    second = b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 4\r\n\r\nabcd"
    with serving(Echo()) as url:
        answer = said(url, chunks + second)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert b"\r\n\r\n3HTTP/1.1 200 " in answer
    assert answer.endswith(b"\r\n\r\n4")


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("/a?x=1", ("/a", "x=1")),
        ("/a%2Fb?x=%3F?#y", ("/a%2Fb", "x=%3F?")),
        ("http://host:1/a?x", ("/a", "x")),
        ("http://[half/a", ("/a", "")),
        ("*", ("/*", "")),
        ("", ("/", "")),
        ("//api/towns", ("//api/towns", "")),
        ("/[", ("/[", "")),
    ],
)
def test_any_target_has_a_path_and_a_query(target: str, parts: tuple[str, str]) -> None:
    """`http://[half` was a traceback, and `//api/towns` lost its first segment."""
    assert parts_of(target) == parts


def test_a_request_with_its_length_is_read_whole() -> None:
    with serving(Echo()) as url:
        answer = said(url, b"POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc")
    assert answer.endswith(b"\r\n\r\n3")


def test_a_port_that_nobody_can_listen_on_is_refused() -> None:
    """`townctl serve` twice on one port was a traceback and `a bug of townctl`."""
    with serving(Echo()) as url:
        taken = urlsplit(url).port or 0
        for port in (taken, 99_999):
            with pytest.raises(Refused, match=f"cannot listen on port {port}"), serving(Echo(), port=port):
                pass


@pytest.mark.parametrize("method", [b"HEAD", b"OPTIONS", b"TRACE", b"PROPFIND"])
def test_the_gateway_answers_every_method(method: bytes) -> None:
    """`http.server` answers a method that it does not know with a page of HTML, and HEAD must not have a body."""
    with serving(Echo()) as url:
        answer = said(
            url, method + b" /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"
        )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n" if method == b"HEAD" else b"\r\n\r\n3")


ROUTES = sorted(
    (
        Route("ANY", "/{proxy+}", "everything", "AWS_IAM"),
        Route("GET", "/api/towns/{townId}/beads/{beadId}", "bead", "AWS_IAM"),
        Route("GET", "/api/towns/{townId}/beads", "beads", "AWS_IAM"),
        Route("POST", "/api/towns/{townId}/events", "post", "TownToken"),
    ),
    key=lambda route: route.rank,
)


@pytest.mark.parametrize(
    ("method", "path", "function", "parameters"),
    [
        ("GET", "/api/towns/one/beads/b%201", "bead", {"townId": "one", "beadId": "b 1"}),
        ("GET", "/api/towns/one/beads/%F0%9F%90%9D", "bead", {"townId": "one", "beadId": "🐝"}),
        ("GET", "/api/towns/one/beads/a%2Fb", "everything", {"proxy": "api/towns/one/beads/a/b"}),
        ("HEAD", "/api/towns/one/beads", "everything", {"proxy": "api/towns/one/beads"}),
        ("POST", "/api/towns/one/events", "post", {"townId": "one"}),
        ("GET", "/api/towns/one/events", "everything", {"proxy": "api/towns/one/events"}),
    ],
)
def test_a_route_is_chosen_as_api_gateway_chooses_it(
    method: str, path: str, function: str, parameters: dict[str, str]
) -> None:
    """A path is decoded before it is compared; the route that takes everything comes last."""
    found = [(route, match) for route in ROUTES if (match := route.match(method, path)) is not None]
    assert (found[0][0].function, found[0][1]) == (function, parameters)
