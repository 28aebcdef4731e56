"""Who gets the page of `townctl ui`: the browser that came first with the token, and nobody else."""

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from infra.listening.live import HEADERS, OneBrowser


async def _connected(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("connected")
    await socket.close()


def a_browser() -> tuple[TestClient, str]:
    """A browser that knows nothing yet, and the token of the page."""
    inner = Starlette(
        routes=[Route("/{path:path}", lambda _: PlainTextResponse("the page")), WebSocketRoute("/ws", _connected)]
    )
    page = OneBrowser(inner, name="1")
    assert page.first_token is not None
    return TestClient(page, base_url="http://127.0.0.1:8000", follow_redirects=False), page.first_token


def test_without_the_token_there_is_nothing() -> None:
    browser, _ = a_browser()
    assert browser.get("/").status_code == 403


def test_the_token_is_exchanged_for_a_cookie_and_leaves_the_address() -> None:
    browser, token = a_browser()
    answer = browser.get(f"/t/demo?as=list&token={token}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/t/demo?as=list")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "SameSite=strict" in answer.headers["set-cookie"]
    assert browser.get("/t/demo").text == "the page"


def test_the_token_opens_the_page_once() -> None:
    browser, token = a_browser()
    browser.get(f"/?token={token}")
    browser.cookies.clear()
    assert browser.get(f"/?token={token}").status_code == 403


def test_a_wrong_token_opens_nothing() -> None:
    browser, _ = a_browser()
    assert browser.get("/?token=wrong").status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1.evil.example:8000"},
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_foreign_page_or_name_gets_nothing_even_with_the_cookie(headers: dict[str, str]) -> None:
    browser, token = a_browser()
    browser.get(f"/?token={token}")
    assert browser.get("/", headers=headers).status_code == 403


def test_a_foreign_page_with_the_token_gets_nothing() -> None:
    browser, token = a_browser()
    assert browser.get(f"/?token={token}", headers={"origin": "http://evil.example"}).status_code == 403
    assert browser.get(f"/?token={token}").status_code == 303


def test_a_page_without_the_cookie_cannot_connect() -> None:
    browser, _ = a_browser()
    with pytest.raises(WebSocketDisconnect), browser.websocket_connect("ws://127.0.0.1:8000/ws"):
        pass


def test_a_foreign_page_cannot_connect() -> None:
    browser, token = a_browser()
    browser.get(f"/?token={token}")
    with (
        pytest.raises(WebSocketDisconnect),
        browser.websocket_connect("ws://127.0.0.1:8000/ws", headers={"origin": "http://evil.example"}),
    ):
        pass


def test_the_page_itself_connects() -> None:
    browser, token = a_browser()
    browser.get(f"/?token={token}")
    with browser.websocket_connect("ws://127.0.0.1:8000/ws", headers={"origin": "http://127.0.0.1:8000"}) as socket:
        assert socket.receive_text() == "connected"


def test_every_answer_forbids_the_browser_to_ask_another_machine() -> None:
    browser, token = a_browser()
    browser.get(f"/?token={token}")
    answer = browser.get("/")
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "default-src 'self'" in HEADERS["Content-Security-Policy"]
