"""Tokens that must never be seen: planted everywhere a token may be, with a GitHub that says them aloud.

Every way out of the project is then searched for them: log lines of any library, the store with its journal and
outbox, alerts, figures, status, dry run, what a person reads.
"""

import json
import logging
from datetime import timedelta
from pathlib import Path

import pytest

from infra.devstack import container as containers
from infra.devstack.fake_forge import Trouble
from shared.adapters.clock import wait_for
from shared.adapters.control_server import ControlServerRuntime
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.http_json import call
from shared.adapters.memory_objects import MemoryObjects
from shared.adapters.secret_files import SecretFiles
from shared.adapters.town_containers import FixedAddresses
from shared.domain.orders import StartOrder, TokenOrder
from shared.domain.shapes import document
from shared.domain.states import Role
from shared.ports.runtime import Done, Started
from shared.ports.secrets import Secret
from shared.ports.steps import drive
from shared.questions import status as reports
from tests.control_servers import PATIENT
from tests.patience import PATIENCE_SECONDS
from tests.pull_request_life import Life, a_convoy, a_life
from tests.towns import TOWN, a_town
from tests.worlds import a_world

MINUTE = timedelta(minutes=1)
CANARIES = {
    "towns/t1/rigs/rig-1/forges/github.com": "canary-of-the-rig-0451",
    "towns/t1/forges/github.com": "canary-of-the-town-0451",
    "platform/forges/github.com": "canary-of-the-platform-0451",
}
TROUBLES = {
    "echoed by an error": lambda token: Trouble(403, body={"message": f"token {token} may not"}),
    "echoed by a page": lambda token: Trouble(200, body=f"<html>{token}</html>".encode()),
    "echoed by a field": lambda token: Trouble(200, body={"state": token}),
    "echoed by GraphQL": lambda token: Trouble(
        200, body={"errors": [{"type": "FORBIDDEN", "message": f"{token} may not"}]}, path="/graphql"
    ),
    "echoed by a redirect": lambda token: Trouble(302, {"location": f"http://127.0.0.1:1/?t={token}"}),
    "echoed by a limit": lambda token: Trouble(429, {"retry-after": "60", "x-token": token}),
    "cut off": lambda token: Trouble(truncated=True, headers={"x-token": token}),
    "down": lambda token: Trouble(500, body={"message": token}),
}


def everything_said(life: Life, log: pytest.LogCaptureFixture, printed: str) -> str:
    """All that left the worker, as one text."""
    objects = life.world.objects
    assert isinstance(objects, MemoryObjects)
    stored = [stored for key in objects.list("").keys if (stored := objects.get(key)) is not None]
    status = drive(reports.status(TOWN, life.world.around))
    return "\n".join(
        [
            log.text,
            printed,
            life.world.image().image.decode("latin-1"),
            repr([body.body for body in stored]),
            repr(life.world.alerts.raised),
            repr(life.world.metrics.runs),
            json.dumps(document(status)),
            json.dumps(life.world.journal()),
            json.dumps(document(life.world.dry_run().answer())),
            repr(life.world.forge),
        ]
    )


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("whose", CANARIES)
def test_a_token_is_seen_by_its_forge_and_by_nobody_else(
    whose: str, trouble: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    token = CANARIES[whose]
    with a_life() as life:
        life.served.secrets.stored = {whose: token}
        life.github.tokens = (token,)
        a_convoy(life)
        life.until(lambda: "in_progress" in dict(life.reviews()).values())
        life.github.trouble.plan(TROUBLES[trouble](token), times=12)
        life.passes(4 * MINUTE)
        assert any(token in request.headers.get("authorization", "") for request in life.github.requests)
        said = everything_said(life, caplog, "".join(capfd.readouterr()))
    assert "pr_polled" in said
    assert "canary" not in said


def test_a_search_that_finds_nothing_would_find_it(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with a_life() as life:
        life.github.site.on_open = lambda pull: setattr(pull, "sha", "canary")
        a_convoy(life)
        life.until(lambda: "in_progress" in dict(life.reviews()).values())
        life.passes(2 * MINUTE)
        assert "canary" in everything_said(life, caplog, "".join(capfd.readouterr()))


def test_secret_files_are_outside_of_the_store(tmp_path: Path) -> None:
    files = SecretFiles(tmp_path / ".secrets")
    files.put("platform/forges/github.com", Secret(CANARIES["platform/forges/github.com"]))
    assert "canary" not in repr(files) + repr(files.get("platform/forges/github.com"))


def test_what_a_container_knows_is_told_to_no_agent_and_to_nobody_who_asks(tmp_path: Path) -> None:
    """Its key, the deployment's credentials, the tokens: agents see none but the file that holds their own."""
    world = a_world(a_town(), objects=DirectoryObjects(tmp_path / "towns"))
    environment = {
        "TOWN_AGENT_DATA": str(tmp_path / "towns"),
        "AWS_SECRET_ACCESS_KEY": "canary-of-the-cloud",
        "SENTRY_DSN": "https://canary@sentry.example.com/1",
    }
    command = json.dumps(["sh", "-c", "env; cat $TOWN_AGENT_CONTEXT; exit 1"])
    container = containers.start(
        TOWN, tmp_path / "disk", instance_id="one", key="canary-key", command=command, environment=environment
    )
    try:
        runtime = ControlServerRuntime(
            FixedAddresses(container.address),
            key_of=lambda _: "canary-key",
            mint=lambda *_, **__: "canary-token",
            seconds=PATIENT,
        )
        order = StartOrder(town_id=TOWN, agent_id="a1", role=Role.POLECAT, generation=1)
        assert isinstance(runtime.start(order, effect_id="e1"), Started)
        assert runtime.refresh_token(TokenOrder(town_id=TOWN), effect_id="r1") == Done()
        assert wait_for(lambda: runtime.status(TOWN, "a1").status == "exited", seconds=PATIENCE_SECONDS)
        answers = [
            repr(call(method, f"{container.address}{path}", body=body, headers=headers, seconds=PATIENCE_SECONDS))
            for method, path, body in (
                ("GET", "/health", None),
                ("GET", "/agents/a1/status", None),
                ("POST", "/refresh-token", {"token": 1}),
                ("POST", "/agents/start", {"envVars": {"TOWN_TOKEN": 1}}),
            )
            for headers in ({"Authorization": "Bearer canary-key"}, {"Authorization": "Bearer wrong"}, {})
        ]
    finally:
        container.close()
    disk = tmp_path / "disk"
    secret = {disk / "token", disk / "tokens" / "a1.1"}
    written = [path.read_text() for path in disk.rglob("*") if path.is_file() and path not in secret]
    assert {path.read_text() for path in secret} == {"canary-token"}
    assert any("TOWN_TOKEN_FILE=" in text for text in written)
    events = [stored.body.decode() for key in world.inbox() if (stored := world.objects.get(key)) is not None]
    assert "exited" in "".join(events)
    assert "canary" not in "".join([*written, *events, *answers, *container.said])
