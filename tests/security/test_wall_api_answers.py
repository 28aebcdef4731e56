"""A server in the place of a deployment's API: its answers keep `townctl` neither waiting nor busy, and do not fill the screen."""

import json
from typing import Final

import pytest

from infra.townctl import api_client, main
from infra.townctl.api import Api
from infra.townctl.api_towns import ApiTowns
from shared.domain.errors import Terminal
from tests.raw_servers import Line, Talk, answer, answering, raw_server

_LIMIT: Final = 0.3
_BEGUN: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
_LOCAL: Final = answer(b'{"served": "townctl"}')


def begins_with(data: bytes, then: bytes) -> Talk:
    """A server that answers with `data`, and then says `then` again and again."""

    def talk(line: Line) -> None:
        line.request()
        line.say(data)
        line.drip(then * 500)

    return talk


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(begins_with(_BEGUN, b" "), id="content"),
        pytest.param(begins_with(b"HTTP/1.1 200 OK\r\nX: ", b"a"), id="a header"),
        pytest.param(begins_with(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), id="provisional answers"),
        pytest.param(begins_with(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n"), id="chunks"),
    ],
)
def test_an_answer_that_drips_is_given_up_when_its_time_is_over(talk: Talk) -> None:
    with raw_server(talk) as server, pytest.raises(ConnectionError, match="no whole answer in"):
        api_client.sent("GET", f"{server.url}/api/towns", b"", {}, seconds=_LIMIT)


def test_a_list_of_towns_that_never_ends_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWNCTL_TOKEN", "a-token")
    page = answer(b'{"towns": [], "next": "a"}')
    with answering(_LOCAL, *(page for _ in range(10))) as server:
        with pytest.raises(Terminal, match="a list without an end"):
            ApiTowns(Api(server.url)).towns()
        assert len(server.heard) == 3


def test_a_list_of_towns_with_ever_new_pages_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWNCTL_TOKEN", "a-token")
    monkeypatch.setattr("infra.townctl.api_towns._MOST_PAGES", 4)
    pages = (answer(json.dumps({"towns": [], "next": f"a{number}"}).encode()) for number in range(10))
    with answering(_LOCAL, *pages) as server, pytest.raises(Terminal, match="a list without an end"):
        ApiTowns(Api(server.url)).towns()


def test_a_problem_with_long_texts_is_shown_in_a_few_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOWNCTL_TOKEN", "a-token")
    problem = json.dumps(dict.fromkeys(("detail", "hint", "path"), "\x1b[31mvery long " * 100_000)).encode()
    with answering(_LOCAL, answer(problem, status=400)) as server:
        assert main.run(["town", "status", "demo", "--api", server.url]) == 2
    said = capsys.readouterr().err
    assert "very long" in said
    assert len(said) < 2000
    assert "\x1b" not in said
