"""One request and its answer, when the server streams for ever, stalls, lies about lengths or is not the one it should be."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from shared.adapters.clock import Budget
from shared.adapters.environment_proxy import proxy_for
from shared.adapters.http_exchange import (
    AnswerTooLarge,
    HttpAnswer,
    HttpPeer,
    HttpRequest,
    NotConnected,
    NoWholeAnswer,
    Proxy,
)
from shared.adapters.http_json import Answered, NoAnswer, call
from shared.domain.strict_json import DEEPEST
from tests.patience import PATIENCE_SECONDS
from tests.raw_servers import Line, RawServer, answer, answering, certificates, raw_server

GET = HttpRequest("GET", "/", {"Authorization": "token secret"})
LARGEST = 1 << 20
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
OPEN_ENDED = HEAD + b"Connection: close\r\n\r\n"


def peer(server: RawServer, **more: Any) -> HttpPeer:
    return HttpPeer(server.url, **{"connect_seconds": PATIENCE_SECONDS, "largest": LARGEST, **more})


def asked(server: RawServer, seconds: float = PATIENCE_SECONDS, **more: Any) -> HttpAnswer:
    with peer(server, **more) as one:
        return one.exchange(GET, Budget(seconds))


def after_the_request(*parts: bytes, then: Callable[[Line], None] = lambda _line: None) -> Callable[[Line], None]:
    """A server that hears a request, says these parts and goes on like this."""

    def talk(line: Line) -> None:
        line.request()
        for part in parts:
            line.say(part)
        then(line)

    return talk


def stalls(line: Line) -> None:
    line.ended.wait()


def for_ever(part: bytes) -> Callable[[Line], None]:
    def stream(line: Line) -> None:
        while not line.ended.is_set():
            line.say(part)

    return stream


# --- size ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "part"),
    [
        (OPEN_ENDED, b" " * 65536),
        (HEAD + b"Content-Length: 1073741824\r\n\r\n", b" " * 65536),
        (CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n"),
        (CHUNKED, b"40000000\r\n" + b" " * 65536),
    ],
    ids=["without an end", "1 GiB", "chunk after chunk", "one chunk of 1 GiB"],
)
def test_of_an_endless_answer_no_more_is_read_than_the_largest_one(head: bytes, part: bytes) -> None:
    with raw_server(after_the_request(head, then=for_ever(part))) as server:
        with pytest.raises(AnswerTooLarge, match="the answer is larger than 1 MiB") as caught:
            asked(server)
        assert caught.value.status == 200
    assert server.sent < 32 << 20, "what lies in the buffers of two sockets comes on top"


@pytest.mark.parametrize("size", [0, 1, LARGEST - 1, LARGEST])
def test_an_answer_of_the_largest_size_is_read_whole(size: int) -> None:
    with answering(answer(b"x" * size)) as server:
        assert len(asked(server).content) == size


def test_one_byte_more_is_too_many() -> None:
    with answering(answer(b"x" * 101)) as server, pytest.raises(AnswerTooLarge, match="larger than 100 bytes"):
        asked(server, largest=100)


@pytest.mark.parametrize(
    "endless",
    [b"x" * 65536, b"X: y\r\n" * 1000, b"X: " + b"y" * 65536],
    ids=["a status line", "headers", "a header"],
)
def test_a_head_without_an_end_is_given_up(endless: bytes) -> None:
    with raw_server(after_the_request(HEAD, then=for_ever(endless))) as server, pytest.raises(NoWholeAnswer):
        asked(server)
    assert server.sent < 32 << 20


def test_the_length_of_a_chunk_that_does_not_end_is_given_up() -> None:
    with raw_server(after_the_request(CHUNKED, then=for_ever(b"0" * 65536))) as server, pytest.raises(NoWholeAnswer):
        asked(server)
    assert server.sent < 32 << 20


def test_a_compressed_answer_is_not_unpacked() -> None:
    bomb = gzip.compress(b" " * (64 << 20))
    with answering(answer(bomb, "Content-Encoding: gzip")) as server:
        got = asked(server)
        assert b"Accept-Encoding: identity" in server.heard[0]
    assert got.content == bomb
    with pytest.raises(ValueError, match="compressed, although no compression was asked for"):
        got.json()


# --- time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "part"),
    [
        (b"", b"H"),
        (HEAD, b"X"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (OPEN_ENDED, b" "),
        (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
        (CHUNKED, b"1\r\n \r\n"),
        (CHUNKED + b"0\r\n", b"X: y\r\n"),
    ],
    ids=["status line", "headers", "continue", "content", "content of a length", "chunks", "trailers"],
)
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_server_that_drips_cannot_extend_the_time(said: bytes, part: bytes, secure: bool, tmp_path: Path) -> None:
    """Content after `Connection: close` was waited for as long as it dripped, and then taken for whole."""
    made = certificates(tmp_path) if secure else None
    more = {} if made is None else {"trust": made.trust}

    def talk(line: Line) -> None:
        line.request()
        line.say(answer(keeps=True))
        after_the_request(said, then=lambda line: line.drip(part))(line)

    with raw_server(talk, tls=None if made is None else made.server) as server, peer(server, **more) as one:
        one.exchange(GET, Budget(PATIENCE_SECONDS))  # the time of the next one does not include a handshake
        with pytest.raises(NoWholeAnswer) as caught:
            one.exchange(GET, Budget(0.3))
        assert caught.value.is_late
        assert len(server.lines) == 1


@pytest.mark.parametrize("said", [b"", HEAD, OPEN_ENDED, CHUNKED], ids=["all", "headers", "content", "chunks"])
def test_a_server_that_stalls_is_left_after_its_silence(said: bytes) -> None:
    with raw_server(after_the_request(said, then=stalls)) as server:
        with pytest.raises(NoWholeAnswer) as caught:
            asked(server, silence_seconds=0.1)
        assert not caught.value.is_late


def test_a_handshake_that_stalls_is_not_a_connection() -> None:
    with raw_server(stalls) as server:
        server.is_tls = True
        with pytest.raises(NotConnected):
            asked(server, 0.2)


def test_the_time_to_connect_does_not_limit_the_time_to_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A control server that took more than 3 of its 60 seconds for a start was taken for lost."""
    monkeypatch.setattr("shared.adapters.http_json._CONNECT_SECONDS", 0.1)

    def slow(line: Line) -> None:
        line.request()
        line.ended.wait(0.4)
        line.say(answer(b'{"ok": true}'))

    with raw_server(slow) as server:
        assert call("GET", server.url, headers={}, seconds=PATIENCE_SECONDS) == Answered(200, {"ok": True})


def test_no_time_left_is_a_request_that_was_not_sent() -> None:
    with answering(answer()) as server, pytest.raises(NotConnected, match="no time was left"):
        asked(server, 0)
    assert server.lines == []


def test_a_call_whose_content_drips_ends_with_its_time() -> None:
    with raw_server(after_the_request(OPEN_ENDED, then=lambda line: line.drip(b" "))) as server:
        assert call("GET", server.url, headers={}, seconds=2) == NoAnswer("no answer in 2 s")


# --- whole or not --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"HTTP/1.1 2",
        HEAD + b"Content-Length: 3\r\n\r\n{}",
        CHUNKED + b"2\r\n{}\r\n",
        CHUNKED + b"5\r\n{}",
        CHUNKED + b"nothing\r\n{}\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        HEAD + b"Content-Length: 2, 3\r\n\r\n{}",
    ],
)
def test_half_an_answer_is_none(half: bytes) -> None:
    with answering(half) as server, pytest.raises(NoWholeAnswer) as caught:
        asked(server)
    assert not caught.value.is_late


def test_content_in_chunks_is_put_together() -> None:
    with answering(CHUNKED + b'3\r\n{"a\r\n4;x=y\r\n": 1\r\n1\r\n}\r\n0\r\nX: y\r\n\r\n') as server:
        assert asked(server).json() == {"a": 1}


def test_nobody_there_is_a_request_that_was_not_sent() -> None:
    with answering() as server:
        pass
    with pytest.raises(NotConnected):
        asked(server)


# --- one connection ------------------------------------------------------------------------------------------


def test_successive_requests_share_a_connection() -> None:
    with answering(*[answer(b"%d" % number, keeps=True) for number in range(3)]) as server, peer(server) as one:
        assert [one.exchange(GET, Budget(PATIENCE_SECONDS)).content for _ in range(3)] == [b"0", b"1", b"2"]
        assert len(server.lines) == 1


@pytest.mark.parametrize("first", [answer(b"0"), CHUNKED + b"1\r\n0\r\n0\r\n\r\n"])
def test_a_connection_that_the_server_closes_is_made_anew(first: bytes) -> None:
    def talk(line: Line) -> None:
        line.request()
        line.say(first)

    with raw_server(talk) as server, peer(server) as one:
        for number in (1, 2):
            assert one.exchange(GET, Budget(PATIENCE_SECONDS)).content == b"0"
            while one._connection is not None and one._connection.is_connected:  # until the end has arrived
                pass
            assert len(server.lines) == number


def test_after_an_answer_that_was_not_read_whole_comes_another_connection() -> None:
    with answering(answer(b"x" * 200, keeps=True), answer(b"next")) as server, peer(server, largest=100) as one:
        with pytest.raises(AnswerTooLarge):
            one.exchange(GET, Budget(PATIENCE_SECONDS))
        assert one.exchange(GET, Budget(PATIENCE_SECONDS)).content == b"next"
        assert len(server.lines) == 2


# --- whom it goes to -----------------------------------------------------------------------------------------


def test_a_certificate_of_nobody_known_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    with answering(answer(), tls=certificates(tmp_path).server) as server:
        with pytest.raises(NotConnected, match=r"^(TLS: CERTIFICATE_VERIFY_FAILED|SSLError)$"):
            asked(server)
        assert server.heard == []


def test_a_certificate_for_another_host_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    made = certificates(tmp_path, host="git.example.com")
    with answering(answer(), tls=made.server) as server:
        with pytest.raises(NotConnected):
            asked(server, trust=made.trust)
        assert server.heard == []


def test_a_certificate_of_a_trusted_authority_for_the_host_is_accepted(tmp_path: Path) -> None:
    made = certificates(tmp_path)
    with answering(answer(b"1", keeps=True), answer(b"2"), tls=made.server) as server:
        with peer(server, trust=made.trust) as one:
            assert [one.exchange(GET, Budget(PATIENCE_SECONDS)).content for _ in range(2)] == [b"1", b"2"]
        assert len(server.lines) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_nobody_else_hears_of_the_token(status: int) -> None:
    with answering(answer()) as elsewhere:
        with answering(answer(b"", f"Location: {elsewhere.url}/", status=status)) as server:
            assert asked(server).status == status
        assert elsewhere.lines == []


@pytest.mark.parametrize("target", ["http://evil.example/", "@evil.example/", "evil.example", "", "*"])
def test_a_target_that_names_a_server_is_refused(target: str) -> None:
    with answering(answer()) as server, peer(server) as one:
        with pytest.raises(ValueError, match="must be a path"):
            one.exchange(HttpRequest("GET", target), Budget(PATIENCE_SECONDS))
        assert server.lines == []


@pytest.mark.parametrize("target", ["/ HTTP/1.1\r\nX: y", "/a b", "/\x00", "/caf\u00e9"])
def test_a_target_that_is_more_than_a_path_is_not_sent(target: str) -> None:
    with answering(answer()) as server, peer(server) as one:
        with pytest.raises(NoWholeAnswer):
            one.exchange(HttpRequest("GET", target), Budget(PATIENCE_SECONDS))
        one.close()
    assert server.heard == []


def test_headers_and_contents_are_not_shown() -> None:
    request = HttpRequest("PUT", "/x", {"Authorization": "token secret"}, b"secret")
    assert "secret" not in repr(request)
    assert "secret" not in repr(Proxy("proxy", 80, {"proxy-authorization": "Basic secret"}))


def test_an_error_does_not_show_a_header_that_cannot_be_sent() -> None:
    with answering(answer()) as server, peer(server) as one:
        with pytest.raises(NoWholeAnswer) as caught:
            one.exchange(HttpRequest("GET", "/", {"Authorization": "token se\ncret"}), Budget(PATIENCE_SECONDS))
        assert "cret" not in str(caught.value)


# --- proxies -------------------------------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


def test_a_proxy_of_the_environment_sees_the_host_and_no_token(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = certificates(tmp_path, host="git.example.com")

    def talk(line: Line) -> None:
        server.heard.append(line.request())
        line.say(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with made.server.wrap_socket(line.socket, server_side=True) as inner:
            tunnelled = Line(inner, line.number, line.ended)
            server.heard.append(tunnelled.request())
            tunnelled.say(answer(b"1"))

    with raw_server(talk) as server:
        environment.setenv("HTTPS_PROXY", f"http://me:p%40ss@127.0.0.1:{server.port}")
        proxy = proxy_for("https://git.example.com/api/v4")
        with HttpPeer(
            "https://git.example.com/api/v4",
            connect_seconds=PATIENCE_SECONDS,
            largest=100,
            proxy=proxy,
            trust=made.trust,
        ) as one:
            assert one.exchange(GET, Budget(PATIENCE_SECONDS)).content == b"1"
    to_proxy, to_server = server.heard
    assert to_proxy.startswith(b"CONNECT git.example.com:443 HTTP/1.")
    assert b"roxy-authorization: Basic bWU6cEBzcw==" in to_proxy.replace(b"Proxy-A", b"proxy-a")
    assert b"secret" not in to_proxy
    assert b"Host: git.example.com\r\n" in to_server
    assert b"roxy-" not in to_server


def test_a_proxy_that_refuses_is_a_request_that_was_not_sent() -> None:
    with answering(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n") as server:
        proxy = Proxy("127.0.0.1", server.port)
        one = HttpPeer("https://git.example.com", connect_seconds=PATIENCE_SECONDS, largest=100, proxy=proxy)
        with one, pytest.raises(NotConnected):
            one.exchange(GET, Budget(PATIENCE_SECONDS))
    assert len(server.heard) == 1


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"https_proxy": "http://p:3128"}, ("p", 3128)),
        ({"ALL_PROXY": "p"}, ("p", 80)),
        ({"HTTP_PROXY": "http://p"}, None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "git.example.com"}, None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": ".example.com"}, None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "*"}, None),
        ({"HTTPS_PROXY": "http://p", "NO_PROXY": "other.example.com"}, ("p", 80)),
    ],
)
def test_the_environment_says_which_proxy(
    environment: pytest.MonkeyPatch, variables: dict[str, str], expected: tuple[str, int] | None
) -> None:
    for name, value in variables.items():
        environment.setenv(name, value)
    found = proxy_for("https://git.example.com/api/v4")
    assert (None if found is None else (found.host, found.port)) == expected
    assert proxy_for("http://127.0.0.1:8080/api/v4") is None


@pytest.mark.parametrize("address", ["socks5://p", "https://p", "http://"])
def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(environment: pytest.MonkeyPatch, address: str) -> None:
    environment.setenv("HTTPS_PROXY", address)
    with pytest.raises(ValueError, match="HTTPS_PROXY or ALL_PROXY"):
        proxy_for("https://git.example.com")


@pytest.mark.parametrize(
    "address",
    [
        "http://me:sesame/open@p:3128",
        "http://me:sesame#open@p:3128",
        "http://me:sesame\u2100@p:3128",
        "http://me:sesame\u20ac@p:3128",
        "http://me:sesame[@p:3128",
        "http://me:sesame@p:99999",
    ],
)
def test_the_password_of_a_proxy_that_cannot_be_used_is_not_shown(
    environment: pytest.MonkeyPatch, address: str
) -> None:
    """The error is the result of an effect, so it is stored in the town."""
    environment.setenv("HTTPS_PROXY", address)
    with pytest.raises(ValueError, match="HTTPS_PROXY or ALL_PROXY") as caught:
        proxy_for("https://git.example.com")
    assert "sesame" not in str(caught.value)
    assert "\u20ac" not in str(caught.value)


# --- JSON ----------------------------------------------------------------------------------------------------


def value_of(content: bytes) -> Any:
    return HttpAnswer(200, {}, content).json()


def levels(value: Any) -> int:
    if isinstance(value, dict | list):
        return 1 + max((levels(each) for each in (value.values() if isinstance(value, dict) else value)), default=0)
    return 0


@pytest.mark.parametrize("depth", [DEEPEST + 1, 1000, 10_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'[{"a":', b"}]"), (b"[", b"")])
def test_a_value_that_is_nested_too_deeply_is_refused(depth: int, opening: bytes, closing: bytes) -> None:
    """The parser raised a RecursionError, which no caller expected."""
    with pytest.raises(ValueError, match=r"nested deeper than 64 levels|not JSON"):
        value_of(opening * depth + b"1" + closing * depth)


def test_the_deepest_value_that_is_taken() -> None:
    assert levels(value_of(b"[" * DEEPEST + b"]" * DEEPEST)) == DEEPEST
    with pytest.raises(ValueError, match="nested deeper"):
        value_of(b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_value_error(content: bytes) -> None:
    try:
        assert levels(value_of(content)) <= DEEPEST
    except ValueError:
        event("refused")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(VALUES, st.sampled_from([0, 1, DEEPEST - 2, DEEPEST - 1, DEEPEST, DEEPEST + 1]))
def test_a_value_is_read_as_it_was_written_if_it_is_not_too_deep(value: Any, wrapped: int) -> None:
    for number in range(wrapped):
        value = [value] if number % 2 else {"a": value}
    content = json.dumps(value).encode()
    if levels(value) <= DEEPEST:
        assert value_of(content) == value
    else:
        with pytest.raises(ValueError, match="nested deeper"):
            value_of(content)
