"""`townctl --api` at something that is not an API, or whose answers are not an API's: an error that says what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from starlette.responses import Response

from infra.devstack.broken_answers import CutShort
from infra.listening.door import opened
from infra.listening.guard import Guard, Head, Request
from infra.townctl import api_client, main

ROOT = b'{"served": "townctl"}'


@contextmanager
def answering(status: int, body: bytes, headers: dict[str, str], *, length: int | None = None) -> Iterator[str]:
    """A server whose root says that it is a `townctl serve`, and that gives this answer to everything else."""

    class Odd:
        def admit(self, head: Head) -> None: ...

        def answer(self, request: Request) -> Response:
            if request.head.target == "/":
                return Response(ROOT)
            return CutShort(body, status, headers, length=len(body) if length is None else length)

    with opened(Guard(Odd())) as door:
        yield door.url


@pytest.mark.parametrize(
    ("status", "body", "headers", "said"),
    [
        pytest.param(200, b"<html>hello</html>", {}, "does not answer as an API (status 200)", id="a web page"),
        pytest.param(200, b"[1, 2]", {}, "does not answer as an API", id="a list"),
        pytest.param(200, b"[" * 100_000, {}, "does not answer as an API", id="deep JSON"),
        pytest.param(200, b'{"a": 1}', {}, "that this townctl cannot read: ", id="another document"),
        pytest.param(302, b"", {"Location": "http://127.0.0.1:1/"}, "redirects elsewhere", id="a redirect"),
        pytest.param(404, b"not \x1b[31mfound", {}, "does not answer as an API (status 404)", id="another server"),
        pytest.param(403, b'{"message": "Forbidden"}', {}, "Forbidden", id="a gateway that denies"),
        pytest.param(500, b'{"detail": "DamagedImage", "hint": "ask"}', {}, "failed: DamagedImage", id="a failure"),
        pytest.param(503, b'{"message": "\\u001b[2JService"}', {}, "Service", id="an overloaded gateway"),
    ],
)
def test_an_odd_answer_is_an_error_with_what_to_do(
    status: int,
    body: bytes,
    headers: dict[str, str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOWNCTL_TOKEN", "a-token")
    with answering(status, body, headers) as url:
        for words in (
            ["town", "status", "demo"],
            ["town", "list"],
            ["event", "post", "demo", "--type", "town_started"],
        ):
            assert main.run(["--api", url, *words]) == 2
            err = capsys.readouterr().err
            assert said in err
            assert "hint: " in err
            assert err.replace("\n", "").isprintable()


def test_an_answer_that_is_too_large_is_not_read_to_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOWNCTL_TOKEN", "a-token")
    monkeypatch.setattr(api_client, "LARGEST", 1 << 20)
    with answering(200, b" " * ((1 << 20) + 1), {}) as url:
        assert main.run(["--api", url, "town", "list"]) == 2
    assert "the answer is larger than 1 MiB" in capsys.readouterr().err


def test_an_answer_that_is_cut_off_is_no_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOWNCTL_TOKEN", "a-token")
    with answering(200, b"{", {}, length=1000) as url:
        assert main.run(["--api", url, "town", "list"]) == 2
    assert "sent no usable answer" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://nowhere.invalid", "http://127.0.0.1:99999", "http://a..b"]
)
def test_an_api_that_is_not_there_is_named(
    url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOWNCTL_TOKEN", "a-token")
    assert main.run(["--api", url, "town", "status", "demo"]) == 2
    err = capsys.readouterr().err
    assert url in err
    assert "hint: check the URL" in err
