"""The proxy of the soak does to connections what its weather says."""

import http.client
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.patience import PATIENCE_SECONDS
from tests.raw_servers import answering
from tests.soak.proxy import Proxy

BODY = b"a town" * 4000


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    with answering(*[head + BODY] * 4) as server, Proxy(("127.0.0.1", server.port), seed=1).running() as proxy:
        yield proxy


def answer(proxy: Proxy, *, patience: float = PATIENCE_SECONDS) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=patience)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read()
    finally:
        connection.close()


def test_in_fair_weather_everything_arrives(proxy: Proxy) -> None:
    assert [answer(proxy), answer(proxy)] == [BODY, BODY]
    assert proxy.counts == {}


@pytest.mark.parametrize("weather", ["reset", "cut"])
def test_a_connection_that_is_broken_off_is_an_error_and_the_next_one_is_not(proxy: Proxy, weather: str) -> None:
    proxy.weather = weather  # type: ignore[assignment]
    with pytest.raises((OSError, http.client.HTTPException)):
        answer(proxy)
    assert proxy.counts[weather] > 0
    proxy.weather = "fair"
    assert answer(proxy) == BODY


def test_refused_connections_are_taken_again_on_the_same_port(proxy: Proxy) -> None:
    port = proxy.port
    proxy.weather = "refuse"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
    proxy.weather = "fair"
    assert (answer(proxy), proxy.port) == (BODY, port)


def test_silence_answers_nothing_until_it_is_over(proxy: Proxy) -> None:
    proxy.weather = "silent"
    answers: list[bytes] = []
    asking = threading.Thread(target=lambda: answers.append(answer(proxy)))
    asking.start()
    with pytest.raises(TimeoutError):
        answer(proxy, patience=0.5)
    assert answers == []
    proxy.weather = "fair"
    asking.join(PATIENCE_SECONDS)
    assert answers == [BODY]


def test_slow_answers_are_whole(proxy: Proxy) -> None:
    proxy.weather = "slow"
    assert answer(proxy) == BODY
    assert proxy.counts["slow"] > 0
