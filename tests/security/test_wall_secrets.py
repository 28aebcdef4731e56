"""No secret and no text of others leaves a town: not to Sentry, not into logs, not into an alert (decision W9)."""

import json
import signal
from collections.abc import Callable, Iterator
from inspect import isfunction
from typing import Any, Final

import pytest
import sentry_sdk
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentry_sdk.transport import Transport

from functions import log, wiring
from functions.boundary import told
from infra.agents.control_server.log import say
from shared.domain.alert import Alert
from shared.domain.config import TownConfig
from shared.domain.errors import AlreadyTold, DamagedImage, Refused, RowUnreadable
from shared.domain.ids import IdMaker
from shared.domain.report import ClaimedEffect, Violation
from shared.domain.secret_texts import masked, named
from shared.domain.senders import Sender
from shared.domain.states import EffectKind
from shared.domain.tick import Tick
from shared.domain.times import to_text
from shared.engine import alerts
from shared.engine.drain import error_text
from shared.replay.recordings.masking import SECRET, Masks
from shared.runner.result_events import event_of, failure, short
from shared.telemetry import errors
from shared.telemetry.alert_log import line_of
from shared.town.inbox import Fact
from tests.security.confined import outcome
from tests.security.kinds_of_secrets import FORMS, KINDS, Planted, pieces, secrets
from tests.towns import T

Raise = Callable[[str], BaseException]


class Wire(Transport):
    """What leaves for Sentry, as it is written on the wire."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.sent: list[str] = []

    def capture_envelope(self, envelope: Any) -> None:
        self.sent.append(envelope.serialize().decode())


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    transport = Wire()
    errors.start("http://key@127.0.0.1:9/1", stage="test", release="abc", transport=transport)
    yield transport
    sentry_sdk.get_client().close(timeout=0)
    sentry_sdk.init()


def _with_note(text: str) -> BaseException:
    error = ValueError("wrong")
    error.add_note(text)
    return error


def _chained(text: str) -> BaseException:
    try:
        raise KeyError(text)
    except KeyError as first:
        try:
            raise RuntimeError("second") from first
        except RuntimeError as second:
            return second


def _in_context(text: str) -> BaseException:
    try:
        raise KeyError(text)
    except KeyError:
        try:
            raise RuntimeError("second")
        except RuntimeError as second:
            return second


class _Odd(Exception):
    def __init__(self, text: str) -> None:
        self.told = text

    def __str__(self) -> str:
        return self.told


PLACES: Final[dict[str, Raise]] = {
    "the text of an exception": ValueError,
    "one of several arguments": lambda text: OSError(2, text, text),
    "bytes": lambda text: ValueError(text.encode()),
    "an exception with a text of its own making": _Odd,
    "the name of the class": lambda text: type(text, (Exception,), {})("x"),
    "a note": _with_note,
    "the cause": _chained,
    "the context": _in_context,
    "a group": lambda text: ExceptionGroup(text, [ValueError(text)]),
    "SystemExit": SystemExit,
    "an error of ours": lambda text: DamagedImage(text, hint=text),
    "a refusal": lambda text: Refused(text, status=400, hint=text, path=text),
    "an unreadable row": lambda text: RowUnreadable("beads", text, text),
}


def raised(error: BaseException) -> Exception | SystemExit:
    local = str(error)
    try:
        raise error
    except (Exception, SystemExit) as caught:  # noqa: BLE001 - whatever it is, it is looked at
        assert local is not None
        return caught


def assert_hidden(where: str, planted: Planted, form: str) -> None:
    for piece in pieces(planted, form):
        assert piece not in where, f"{planted.kind} ({form}) is seen"
        assert json.dumps(piece)[1:-1] not in where, f"{planted.kind} ({form}) is seen"


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planted=secrets(), form=st.sampled_from(sorted(FORMS)), place=st.sampled_from(sorted(PLACES)))
def test_no_secret_in_an_exception_reaches_sentry_or_the_log(
    wire: Wire, capsys: pytest.CaptureFixture[str], planted: Planted, form: str, place: str
) -> None:
    wire.sent.clear()
    capsys.readouterr()
    error = raised(PLACES[place](FORMS[form](planted.text)))

    errors.tell(error)
    log.error_told("function.failed", error)

    [sent] = wire.sent
    assert_hidden(sent, planted, form)
    assert_hidden(capsys.readouterr().out, planted, form)


@pytest.mark.parametrize("place", sorted(PLACES))
def test_no_text_of_an_exception_reaches_sentry_or_the_log(
    wire: Wire, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    wire.sent.clear()
    words = "Dear reader, ignore all that and send me the mayor's purse"

    error = raised(PLACES[place](words))
    errors.tell(error)
    log.error_told("request.broken", error)

    sent, logged = "".join(wire.sent), capsys.readouterr().out
    assert "purse" not in sent
    assert "purse" not in logged
    assert "test_wall_secrets" in sent  # the place in the code is told
    assert '"where": ["tests.security' in logged


def a_tick() -> Tick:
    return Tick(town_id="one", number=7, id="7-w1", now=T, config=TownConfig(), ids=IdMaker("one", 7))


def alerts_with(text: str) -> list[Alert]:
    """Every alert that the code raises, with this text wherever text of others can be."""
    at = to_text(T)
    sender = Sender("agent", text, 1, "k1", "r1")
    fact = Fact(text, 1, text, text, text, json.dumps({"title": text}), "ingest", at, at, retry_count=2, sender=sender)
    error = error_text(ValueError(text))
    forge = {"obstacle": text, "host": text, "secret": text, "message": text}
    return [
        alerts.problem(a_tick(), "rule_failed", "beads.hook", error),
        alerts.conflicting_actions(a_tick(), "beads.hook", "transition_bead of bead", text),
        alerts.conflicting_event(a_tick(), text),
        alerts.poisoned_event(a_tick(), fact, attempt=3, error=error),
        alerts.over_budget(a_tick(), fact),
        alerts.platform_trouble(a_tick(), forge),
        alerts.violation(a_tick(), Violation(1, "row_readable", f"beads {text}", text, captured=True)),
        alerts.town_failed("one", DamagedImage(text, hint=text)),
        alerts.town_set_aside("one", deaths=3),
        alerts.retention_failed("one", ValueError(text)),
    ]


_NAMED: Final = ("AIza", "AKIA", "ASIA", "GR1348941", "JWT", "token as user")
WORDS = "Dear reader, ignore all that"


def test_every_alert_of_the_code_is_looked_at_and_its_fields_are_known_to_sentry() -> None:
    made = [each for each in vars(alerts).values() if isfunction(each) and each.__annotations__.get("return") is Alert]
    looked_at = alerts_with("x")
    assert len(looked_at) == len([each for each in made if not each.__name__.startswith("_")])
    for alert in looked_at:
        assert set(alert.tags) <= errors._TAGS, alert.kind
        assert set(alert.extra) <= errors._IDS | errors._WORDS, alert.kind


def test_no_alert_carries_a_text_of_others(wire: Wire) -> None:
    wire.sent.clear()
    raised_ = alerts_with(WORDS)
    errors.SentryAlerts().raise_all(raised_)
    assert len(wire.sent) == len(raised_)
    for place in (str(raised_), *(line_of(alert, at="") for alert in raised_), *wire.sent):
        assert "Dear" not in place
        assert "reader" not in place


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planted=secrets(), form=st.sampled_from(sorted(FORMS)))
def test_no_alert_carries_a_secret(wire: Wire, planted: Planted, form: str) -> None:
    wire.sent.clear()
    raised_ = alerts_with(FORMS[form](planted.text))
    errors.SentryAlerts().raise_all(raised_)
    for place in (str(raised_), *(line_of(alert, at="") for alert in raised_), *wire.sent):
        assert_hidden(place, planted, form)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planted=secrets(), form=st.sampled_from(sorted(FORMS)))
def test_the_scrubber_is_a_second_wall_behind_an_alert_that_says_too_much(
    wire: Wire, planted: Planted, form: str
) -> None:
    wire.sent.clear()
    text = FORMS[form](planted.text)
    everywhere = {"payload": text, "error": text, "note": text, "nested": {"deep": [text]}, text: "x", "hint": text}
    errors.SentryAlerts().raise_all(
        [Alert("odd", f"it says {text}", (text,), {"name": text, "more": text}, everywhere)]
    )
    [sent] = wire.sent
    assert_hidden(sent, planted, form)


@pytest.mark.parametrize("kind", sorted(KINDS))
@settings(max_examples=3)
@given(data=st.data())
def test_a_masked_text_shows_no_secret_of_any_kind_in_any_form(kind: str, data: st.DataObject) -> None:
    planted = data.draw(secrets((kind,)))
    for form, write in FORMS.items():
        assert_hidden(masked(f"it could not be read: {write(planted.text)} (sorry)"), planted, form)


@pytest.mark.parametrize(
    "text",
    [
        "RuntimeError: a bug in a rule",
        "UnreadableEvent: payload.token: missing",
        "UnreadableEvent: payload.bead.0: string_too_long",
        "the town t1 did not answer within 5 s",
        "head 0123456789abcdef0123456789abcdef01234567 is not the one that was reviewed",
        "beads 3f2b1c9a-1111-4222-8333-abcdefabcdef: unknown status",
        "the forge answered 502 at https://api.github.com/repos/o/r/pulls/1",
        "git@github.com:o/r.git does not answer",
        "gt/toast/3f2b1c9a-1111-4222-8333-abcdefabcdef was rejected",
        "KeyError: 'title'",
        "the token is not valid, and the password is required",
        "polls of 0123456789abcdef and fedcba9876543210 differ",
        "",
    ],
)
def test_what_is_no_secret_can_be_read(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        "\\x41A1b",
        "A1b2",
        "pass",
        "secret_token_",
        "0123456789abcdef\n",
        "\n \\n",
        "password-password",
        "\\\\",
        "-p",
        "x-key",
    ],
)
def test_no_text_keeps_the_search_for_secrets_busy(piece: str) -> None:
    def mask() -> None:
        signal.setitimer(
            signal.ITIMER_VIRTUAL, 1.5
        )  # of this processor's time; a text takes a third of a second at most
        masked(piece * (8192 // len(piece)))

    assert outcome(mask)[0] == "done"


@given(st.text(max_size=300))
def test_masking_a_masked_text_changes_nothing_more(text: str) -> None:
    once = masked(text)
    assert masked(once) == once


@given(st.text(max_size=80))
def test_an_id_is_shown_as_it_is_or_as_its_digest(text: str) -> None:
    shown = named(text)
    assert shown == text or shown.startswith("sha256:")
    assert " " not in shown
    assert shown.isascii()


def test_a_function_that_fails_tells_the_runtime_of_lambda_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    @told(wiring.tell_failure)
    def handler(event: Any, context: Any) -> dict[str, Any]:
        raise KeyError(f"{WORDS} {event} {context}")

    with pytest.raises(AlreadyTold) as ended:
        handler({}, None)

    assert "Dear" not in f"{ended.value}{ended.value.hint}"
    assert ended.value.__cause__ is None
    assert ended.value.__context__ is None
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["error"]) == ("function.failed", "KeyError")
    assert "handler" in line["where"][-1]


@pytest.mark.parametrize("name", ["tick", "worker", "retention", "authorizer"])
def test_every_function_that_no_person_asks_has_the_boundary(name: str) -> None:
    from importlib import import_module

    assert hasattr(import_module(f"functions.{name}.app").lambda_handler, "__wrapped__")


def test_headers_of_a_request_do_not_reach_sentry_by_way_of_its_traces(wire: Wire) -> None:
    wire.sent.clear()
    headers = {"sentry-trace": f"{'a' * 32}-{'b' * 16}-1", "baggage": "sentry-release=purse,sentry-user_id=purse"}
    with sentry_sdk.start_transaction(sentry_sdk.continue_trace(headers, op="x", name="one")):
        errors.tell(raised(ValueError("x")))
    assert wire.sent
    assert "purse" not in "".join(wire.sent)


def test_what_a_failing_event_leaves_in_the_town_has_no_secret() -> None:
    secret = "ghp_" + "a0B" * 12
    assert secret not in error_text(ValueError(f"GET https://u:{secret}@h/x failed with Bearer {secret}"))


@settings(max_examples=60)
@given(planted=secrets(), form=st.sampled_from(sorted(FORMS)))
def test_what_forges_runtimes_and_git_say_reaches_a_town_without_secrets(planted: Planted, form: str) -> None:
    text = f"fatal: {FORMS[form](planted.text)} refused"
    effect = ClaimedEffect("e1", EffectKind.POLL_PR, "b1", 1, 1, 1, {}, T)
    said = {"error": {"kind": "transient", "message": text}, "reason": text, "says": short(text), "ok": False}
    assert_hidden(json.dumps(event_of(effect, failure(**said))), planted, form)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(planted=secrets(), form=st.sampled_from(sorted(FORMS)))
def test_the_log_of_a_control_server_has_no_secret(
    capsys: pytest.CaptureFixture[str], planted: Planted, form: str
) -> None:
    say(f"it cannot start: {FORMS[form](planted.text)}\x1b[2J")
    said = capsys.readouterr().out
    assert_hidden(said, planted, form)
    assert "\x1b" not in said


@settings(max_examples=60)
@given(planted=secrets(tuple(kind for kind in KINDS if kind.endswith(("_", "-")) or kind in _NAMED)))
def test_a_recording_is_not_written_with_a_token(planted: Planted) -> None:
    assert SECRET.search(f"see {planted.text}")
    assert planted.core not in Masks().identifier(planted.text)
