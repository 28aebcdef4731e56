"""What Sentry is told, and what it is not: off without a DSN and then not even imported, scrubbed with one."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.transport import Transport

from functions import wiring
from shared.domain.alert import Alert
from shared.domain.report import Violation
from shared.engine import alerts
from shared.telemetry import errors
from tests.fakes import FakeClock
from tests.patience import PATIENCE_SECONDS
from tests.towns import T

pytestmark = pytest.mark.lengthy  # `make quick` leaves it out

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJ0b3duIjoib25lIn0.c2lnbmF0dXJl"


class Caught(Transport):
    """A transport that keeps what it is given."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.envelopes: list[Any] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.envelopes.append(envelope)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [item.payload.json for envelope in self.envelopes for item in envelope.items if item.type == "event"]

    @property
    def check_ins(self) -> list[dict[str, Any]]:
        return [item.payload.json for envelope in self.envelopes for item in envelope.items if item.type == "check_in"]


@pytest.fixture
def caught() -> Iterator[Caught]:
    transport = Caught()
    errors.start("http://key@127.0.0.1:9/1", stage="test", release="abc", transport=transport)
    yield transport
    sentry_sdk.get_client().close()
    sentry_sdk.init()


Watch = Callable[[str], tuple[bool, str]]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Watch]:
    """Whether a function reports to Sentry with this DSN, and what it logs."""

    def watch(dsn: str) -> tuple[bool, str]:
        monkeypatch.setenv("SENTRY_DSN", dsn)
        wiring.watch_errors.cache_clear()
        return wiring.watch_errors(), capsys.readouterr().out

    yield watch
    wiring.watch_errors.cache_clear()
    sentry_sdk.init(dsn="")


def a_violation_alert() -> Alert:
    from shared.domain.config import TownConfig
    from shared.domain.ids import IdMaker
    from shared.domain.tick import Tick

    tick = Tick(town_id="one", number=7, id="7-w1", now=T, config=TownConfig(), ids=IdMaker("one", 7))
    return alerts.violation(tick, Violation(3, "one_hook", "toast", "two agents hold bead b1", captured=True))


def test_an_invariant_violation_is_an_error_with_what_a_person_needs(caught: Caught) -> None:
    errors.SentryAlerts().raise_all([a_violation_alert()])

    [event] = caught.events
    assert event["level"] == "error"
    assert event["message"] == "invariant 3 (one_hook) is violated in town one by toast"
    tags = {"invariant": "one_hook", "number": "3", "townId": "one", "message": event["message"]}
    assert tags.items() <= event["tags"].items()
    assert event["extra"] == {"number": 3, "subject": "toast", "townId": "one"}
    assert event["fingerprint"] == ["invariant_violation", "3", "one"]
    assert (event["environment"], event["release"]) == ("test", "abc")


def test_alerts_of_two_towns_do_not_mix(caught: Caught) -> None:
    errors.SentryAlerts().raise_all(
        [
            alerts.town_failed("one", KeyError("x")),
            Alert("event_poisoned", "an event failed", ("poison",), {"townId": "two"}),
        ]
    )
    first, second = caught.events
    assert (first["tags"]["townId"], second["tags"]["townId"]) == ("one", "two")
    assert "hint" in first["extra"]
    assert second.get("extra", {}) == {}
    assert sentry_sdk.get_isolation_scope()._tags == {}


def test_the_schedule_checks_in_and_out(caught: Caught) -> None:
    with errors.schedule_watched():
        pass
    with pytest.raises(KeyError), errors.schedule_watched():
        raise KeyError("the minute failed")

    assert [each["status"] for each in caught.check_ins] == ["in_progress", "ok", "in_progress", "error"]
    begun = caught.check_ins[0]
    assert begun["monitor_slug"] == errors.MONITOR
    assert begun["monitor_config"]["schedule"] == {"type": "interval", "value": 1, "unit": "minute"}
    assert begun["monitor_config"]["max_runtime"] <= 1


def test_a_bug_is_told_without_local_variables_and_without_secrets(caught: Caught) -> None:
    def broken() -> None:
        local = TOKEN
        raise RuntimeError(f"refused with Bearer {local}")

    try:
        broken()
    except RuntimeError as error:
        errors.tell(error)

    [event] = caught.events
    [exception] = event["exception"]["values"]
    assert exception["type"] == "RuntimeError"
    assert exception["value"].startswith("(message of ")
    assert "refused" not in str(event)
    assert all("vars" not in frame for frame in exception["stacktrace"]["frames"])
    assert "server_name" not in event
    assert "request" not in event


RUN = """
import sys
import functions.tick.app, functions.worker.app, functions.events.app, functions.debug.app
from functions import wiring
wiring.alerts()
with wiring.schedule_watched():
    pass
wiring.tell_bug(KeyError("x"))
print("sentry_sdk" in sys.modules)
"""


@pytest.mark.parametrize(("dsn", "imported"), [("", "False"), ("http://key@127.0.0.1:9/1", "True")])
def test_without_a_dsn_sentry_is_never_imported(dsn: str, imported: str) -> None:
    around = {**os.environ, "SENTRY_DSN": dsn, "STAGE": "test"}
    done = subprocess.run(
        [sys.executable, "-c", RUN], capture_output=True, text=True, check=True, env=around, timeout=PATIENCE_SECONDS
    )
    assert done.stdout.splitlines()[-1] == imported


@pytest.mark.parametrize("dsn", [" ", "\n"])
def test_a_blank_dsn_is_none(dsn: str, watched: Watch) -> None:
    assert watched(dsn) == (False, "")


@pytest.mark.parametrize(
    "dsn", ["-", "none", "key@host/1", "https://host/1", "https://key@host/one", "https://key@[/1", "https://key@h:x/1"]
)
def test_a_dsn_that_is_none_is_a_line_in_the_log_and_stops_no_function(dsn: str, watched: Watch) -> None:
    """A space, `none` or `-`, which a person types to get past a prompt, made every function fail while it was imported."""
    on, said = watched(dsn)
    line = json.loads(said)
    assert (on, line["event"], line["setting"]) == (False, "setting.ignored", "SENTRY_DSN")
    assert "host" not in said


def test_a_dsn_may_have_blanks_around_it(watched: Watch) -> None:
    assert watched(" http://key@127.0.0.1:9/1\n") == (True, "")


def test_a_town_that_keeps_failing_is_told_once_in_ten_minutes_and_everything_else_each_time() -> None:
    from shared.telemetry.alerts import EveryAlert, SeldomAlerts
    from tests.fakes import RecordingAlerts

    clock, first, second = FakeClock(T), RecordingAlerts(), RecordingAlerts()
    seldom = SeldomAlerts(EveryAlert(first, second), clock)
    failing, other = alerts.town_failed("one", KeyError("x")), Alert("event_poisoned", "m", ("f",))
    for _ in range(3):
        seldom.raise_all([failing, other])
        clock.move(minutes=4)
    assert first.kinds() == second.kinds()
    assert first.kinds() == ["town_failed", "event_poisoned", "event_poisoned", "event_poisoned"]
    clock.move(minutes=1)
    seldom.raise_all([failing])
    assert first.kinds()[-1] == "town_failed"
