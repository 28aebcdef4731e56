"""`townctl serve` as a process of its own: the API and the ticks of a directory, and townctl speaking to it."""

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from starlette.responses import Response

from infra.listening.door import opened
from infra.listening.guard import Guard, Head, Request
from infra.townctl import main
from infra.townctl.api_client import with_token
from shared.adapters.clock import wait_for
from shared.adapters.path_ids import written
from tests.integration.townctl_calls import TOWNCTL
from tests.patience import PATIENCE_SECONDS


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    data, log = tmp_path / "data", tmp_path / "log"
    around = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TOWNCTL_"))}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*TOWNCTL, "--data", str(data), "serve", "--port", "0"], stdout=out, stderr=out, env=around
        )
    try:
        said: list[str] = []

        def listens() -> bool:
            said[:] = re.findall(r"http://127\.0\.0\.1:\d+", log.read_text())
            return bool(said) or process.poll() is not None

        assert wait_for(listens, seconds=PATIENCE_SECONDS, every=0.1), log.read_text()
        assert said, log.read_text()
        yield said[0], data
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
    assert process.returncode == 0, log.read_text()


def test_a_town_lives_behind_its_own_api(
    served: tuple[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, data = served
    for name in [name for name in os.environ if name.startswith(("AWS_", "TOWNCTL_"))]:
        monkeypatch.delenv(name)

    def townctl(*words: str) -> tuple[int, Any]:
        code = main.run(["--json", *words])
        said = capsys.readouterr()
        return code, json.loads(said.out or said.err)

    def token(town: str, *more: str) -> str:
        return str(townctl("--data", str(data), "token", town, *more)[1]["token"])

    monkeypatch.setenv("TOWNCTL_TOKEN", token("demo"))
    assert townctl("--api", url, "town", "create", "demo")[1]["townId"] == "demo"
    facts = tmp_path / "facts.json"
    facts.write_text(json.dumps([{"event_id": "started-0001", "event_type": "town_started"}]))
    assert townctl("--api", url, "event", "post", "demo", "--file", str(facts))[1]["accepted"] == ["started-0001"]
    rig = '{"rig_id": "rig-1", "name": "work", "git_url": "https://git.example.com/work.git"}'
    event = ("--type", "rig_registered", "--payload", rig, "--id", "rig-0001")
    assert townctl("--api", url, "event", "post", "demo", *event)[1]["accepted"] == ["rig-0001"]
    assert wait_for(
        lambda: bool(townctl("--api", url, "ticks", "demo")[1]["ticks"]), seconds=PATIENCE_SECONDS, every=0.5
    )
    assert [town["townId"] for town in townctl("--api", url, "town", "list")[1]["towns"]] == ["demo"]
    assert townctl("--api", url, "town", "status", "demo")[1]["townId"] == "demo"
    assert townctl("--api", url, "dry-run", "demo")[0] == 0
    assert townctl("--api", url, "town", "status", "other")[0] == 2

    status = f"{url}/api/towns/demo/status"
    assert with_token("GET", status, None, token=None).status == 401
    assert with_token("GET", status, None, token="x.y.z").status == 401
    assert with_token("GET", status, None, token=token("other")).status == 404
    assert with_token("GET", status, None, token=token("demo", "--scope", "container")).status == 403
    foreign = with_token("POST", f"{url}/api/towns/demo/events", [], token=token("other"))
    assert foreign.status == 404
    credential = f"{url}/api/towns/demo/agents/nobody/refresh-token?generation=1"
    assert (
        with_token("POST", credential, None, token=token("demo", "--scope", "container")).status == 403
    )  # no such agent
    assert with_token("POST", credential, None, token=token("other", "--scope", "container")).status == 404


def test_a_served_town_shows_beads_of_every_id_and_answers_every_method(served: tuple[str, Path]) -> None:
    url, data = served
    token = str(json.loads(_townctl(data, "token", "demo"))["token"])
    assert with_token("PUT", f"{url}/api/towns/demo", {}, token=token).status == 201
    odd = ["a/b", "?", "#", '"', "🐝", "a b", "%2F"]
    created = [
        {
            "event_id": f"odd-bead-{number}",
            "event_type": "bead_created",
            "payload": {"bead": {"bead_id": each, "type": "issue", "title": f"odd {number}"}},
        }
        for number, each in enumerate(odd)
    ]
    assert with_token("POST", f"{url}/api/towns/demo/events", created, token=token).status == 202
    beads = f"{url}/api/towns/demo/beads"
    assert wait_for(
        lambda: len(_get(f"{beads}?type=issue", token)["beads"]) == len(odd), seconds=PATIENCE_SECONDS, every=0.5
    )
    for number, each in enumerate(odd):
        for segment in (quote(each, safe=""), written(each)):
            assert _get(f"{beads}/{segment}", token)["bead"]["title"] == f"odd {number}"
        assert _get(f"{url}/api/towns/demo/explain/beads/{written(each)}", token)["id"] == each
    for method, status in (("HEAD", 200), ("OPTIONS", 204), ("DELETE", 405), ("TRACE", 405)):
        assert with_token(method, beads, None, token=token).status == status
    assert with_token("HEAD", f"{url}/api/towns", None, token=token).status == 200
    assert with_token("OPTIONS", beads, None, token=None).status == 401
    for method, status in (("GET", 200), ("HEAD", 200), ("DELETE", 405), ("OPTIONS", 405)):
        said = with_token(method, f"{url}/", None, token=None)
        assert (said.status, said.headers["x-request-id"], said.headers.get("allow")) == (
            status,
            "none",
            None if status == 200 else "GET, HEAD",
        )


FROM_A_MAILBOX = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
"""What a browser says of itself when somebody follows a link on the page of another site."""


class Hook:
    """A webhook's receiver."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []

    def admit(self, head: Head) -> None:
        """Whoever calls is welcome."""

    def answer(self, request: Request) -> Response:
        """Note what has come."""
        self.got.append(json.loads(request.body))
        return Response(status_code=204)


def test_an_escalation_is_acknowledged_by_the_link_in_its_notice(served: tuple[str, Path]) -> None:
    url, data = served
    token = str(json.loads(_townctl(data, "token", "demo"))["token"])
    hook = Hook()
    with opened(Guard(hook)) as door:
        assert with_token("PUT", f"{url}/api/towns/demo", {}, token=token).status == 201
        _townctl(data, "secret", "set-webhook", "demo", "--make")
        _townctl(data, "setting", "set", "demo", "notices.webhook", f"{door.url}/hook")
        assert wait_for(  # an event of the same tick would still be told by the settings of before
            lambda: door.url in _townctl(data, "setting", "show", "demo", "notices.webhook"),
            seconds=PATIENCE_SECONDS,
            every=0.5,
        )
        raised = {
            "event_id": "raised-0001",
            "event_type": "escalation_raised",
            "payload": {"title": "The disk is full", "severity": "high"},
        }
        assert with_token("POST", f"{url}/api/towns/demo/events", [raised], token=token).status == 202
        assert wait_for(lambda: bool(hook.got), seconds=PATIENCE_SECONDS, every=0.2)
    link = str(hook.got[0]["links"]["acknowledge"])
    assert link.startswith(f"{url}/acknowledge/")

    page = httpx.get(link, headers=FROM_A_MAILBOX)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "The disk is full" in page.text
    framed = httpx.get(link, headers={**FROM_A_MAILBOX, "Sec-Fetch-Dest": "iframe"})
    assert framed.status_code == 403
    elsewhere = httpx.post(link, headers={"Origin": "https://evil.example.com", "Sec-Fetch-Site": "cross-site"})
    assert elsewhere.status_code == 403
    assert httpx.get(f"{link}x").status_code == 401
    escalations = f"{url}/api/towns/demo/escalations"
    assert [each["acknowledged"] for each in _get(escalations, token)["escalations"]] == [False]

    pressed = httpx.post(link, headers={"Origin": url, "Sec-Fetch-Site": "same-origin"}, data={})
    assert pressed.status_code == 202
    assert wait_for(
        lambda: [each["acknowledged"] for each in _get(escalations, token)["escalations"]] == [True],
        seconds=PATIENCE_SECONDS,
        every=0.2,
    )
    bead = _get(f"{url}/api/towns/demo/beads/{hook.got[0]['bead']}", token)["bead"]
    assert "acknowledged by link sent to the town's webhook" in [line["newValue"] for line in bead["audit"]]
    assert "acknowledged already" in httpx.get(link).text


def _get(url: str, token: str) -> Any:
    answered = with_token("GET", url, None, token=token)
    assert answered.status == 200, answered.document
    return answered.document


def _townctl(data: Path, *words: str) -> str:
    done = subprocess.run([*TOWNCTL, "--json", "--data", str(data), *words], capture_output=True, text=True, check=True)
    return done.stdout


def test_a_token_of_a_directory_that_nobody_serves_yet_is_refused_with_what_to_wait_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guide asked for a token right after it had started `serve &`, and the refusal did not say that it was too early."""
    monkeypatch.delenv("TOWNCTL_TOKEN_SECRET", raising=False)
    assert main.run(["--data", str(tmp_path), "token", "demo"]) == 2
    assert "wait until it answers" in capsys.readouterr().err
