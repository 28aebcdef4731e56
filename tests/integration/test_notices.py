"""Notices reach a real server and a real program of this machine; what must not leave does not."""

import hmac
import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.sns.models import sns_backends
from starlette.responses import Response

from infra.listening.door import opened
from infra.listening.guard import Guard, Head, Request
from infra.townctl import notices as local
from shared.adapters.escalation_links import LinkMaker
from shared.adapters.notices import ChannelsToPeople
from shared.adapters.secret_files import SecretFiles
from shared.adapters.sns_mail import SnsMail
from shared.domain.errors import Refused
from shared.domain.notice_orders import NoticeOrder
from shared.domain.notices import FleetChannels, is_safe_address, webhook_secret
from shared.ports.notices import Untold
from shared.ports.secrets import Secret
from tests.fakes import FakeClock
from tests.towns import T

SECRET = "a-signing-secret-of-32-characters"


class Receiver:
    """A webhook's receiver. It answers with `status`."""

    def __init__(self) -> None:
        self.status = 204
        self.url = ""
        self.got: list[tuple[Mapping[str, str], bytes]] = []

    def admit(self, head: Head) -> None:
        """Whoever calls is welcome."""

    def answer(self, request: Request) -> Response:
        """Note what has come."""
        self.got.append((request.head.headers, request.body))
        elsewhere = {"Location": "/elsewhere"} if 300 <= self.status < 400 else None
        return Response(status_code=self.status, headers=elsewhere)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    here = Receiver()
    with opened(Guard(here)) as door:
        here.url = f"{door.url}/hook"
        yield here


def an_order(channel: str = "webhook", **given: Any) -> NoticeOrder:
    said = {"notice": "escalation", "severity": "high", "title": "The disk is full", "bead_id": "e1", "at": "now"}
    return NoticeOrder(town_id="t1", channel=channel, **{**said, **given})


def channels(path: Path, fleet: FleetChannels | None = None, *, town: bool = True, **given: Any) -> ChannelsToPeople:
    secrets = SecretFiles(path / "secrets")
    secrets.put(webhook_secret("t1" if town else None), Secret(SECRET))
    return ChannelsToPeople(fleet or FleetChannels(), clock=FakeClock(T), secrets=secrets, **given)


def test_a_webhook_is_signed_over_its_time_and_body(receiver: Receiver, tmp_path: Path) -> None:
    fleet = FleetChannels(page="http://127.0.0.1:8080/", api="https://api.example.com")
    sent = channels(tmp_path, fleet).send(an_order(address=receiver.url), effect_id="effect-1")
    assert sent is None
    [(headers, body)] = receiver.got
    signed = headers["town-timestamp"].encode() + b"." + body
    assert headers["town-signature"] == f"v1={hmac.new(SECRET.encode(), signed, sha256).hexdigest()}"
    assert (headers["town-notice-id"], headers["town-timestamp"]) == ("effect-1", str(int(T.timestamp())))
    said = json.loads(body)
    assert (said["town"], said["title"], said["severity"], said["bead"]) == ("t1", "The disk is full", "high", "e1")
    assert said["links"] == {
        "page": "http://127.0.0.1:8080/t/t1/bead/e1",
        "api": "https://api.example.com/api/towns/t1/beads/e1",
        "explain": "townctl explain bead e1 --town t1",
        "acknowledge_command": "townctl escalation acknowledge t1 e1",
    }


def test_what_looks_like_a_secret_does_not_leave(receiver: Receiver, tmp_path: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    order = an_order(address=receiver.url, title=f"pushed {token}", text=token, lines=(token,))
    assert channels(tmp_path).send(order, effect_id="e") is None
    assert token.encode() not in receiver.got[0][1]
    assert SECRET.encode() not in receiver.got[0][1]


@pytest.mark.parametrize(
    ("status", "passing", "words"),
    [
        (500, True, "HTTP 500"),
        (429, True, "HTTP 429"),
        (404, False, "HTTP 404"),
        (302, False, "no redirect is followed"),
    ],
)
def test_an_answer_says_whether_it_is_worth_another_try(
    receiver: Receiver, tmp_path: Path, status: int, passing: bool, words: str
) -> None:
    receiver.status = status
    sent = channels(tmp_path).send(an_order(address=receiver.url), effect_id="e")
    assert isinstance(sent, Untold)
    assert (sent.passing, words in sent.error) == (passing, True)
    assert len(receiver.got) == 1


def test_nothing_is_sent_without_a_signing_secret(receiver: Receiver, tmp_path: Path) -> None:
    sent = channels(tmp_path, town=False).send(an_order(address=receiver.url), effect_id="e")
    assert isinstance(sent, Untold)
    assert "set-webhook" in sent.error
    assert receiver.got == []


def test_the_webhook_of_the_fleet_has_an_address_and_a_secret_of_its_own(receiver: Receiver, tmp_path: Path) -> None:
    fleet = FleetChannels(webhook=receiver.url)
    assert channels(tmp_path, fleet, town=False).send(an_order("fleet_webhook"), effect_id="e") is None
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    ("address", "safe"),
    [
        ("https://hooks.example.com/x?y=1", True),
        ("http://127.0.0.1:9/x", True),
        ("http://localhost/x", True),
        ("http://[::1]:9/x", True),
        ("http://hooks.example.com/x", False),
        ("http://127.0.0.1.example.com/", False),
        ("https://user:pw@hooks.example.com/", False),
        ("https:///x", False),
        ("https://hooks.example.com/a b", False),
        ("https://hooks.example.com:port/", False),
        ("ftp://hooks.example.com/", False),
        ("https://hooks.example.com/#x", False),
        ("", False),
    ],
)
def test_a_webhook_is_https_or_on_this_machine(address: str, safe: bool) -> None:
    assert is_safe_address(address) == safe


@pytest.mark.parametrize("program", ["notify-send", "osascript"])
def test_a_desktop_notice_is_shown_by_the_program_of_the_machine(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = tmp_path / "shown"
    script = tmp_path / program
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {shown}\n')
    script.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    sent = channels(tmp_path).send(an_order("desktop", title="$(touch x) -e\x1b[2J"), effect_id="e")
    assert sent is None
    assert shown.read_text().splitlines()[-2] == "Town t1: high"
    assert "$(touch x)" in shown.read_text()
    assert "\x1b" not in shown.read_text()


def test_a_machine_without_a_desktop_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    sent = channels(tmp_path).send(an_order("desktop"), effect_id="e")
    assert sent == Untold("this machine has neither notify-send nor osascript", passing=False)


@pytest.mark.parametrize(
    ("variable", "value"),
    [(local.WEBHOOK, "http://hooks.example.com"), (local.PAGE, "nonsense"), (local.DESKTOP, "yes")],
)
def test_a_wrong_variable_of_the_fleet_is_refused_by_its_name(variable: str, value: str) -> None:
    with pytest.raises(Refused) as refused:
        local.fleet_of({variable: value})
    assert refused.value.path == variable


TOPIC = "arn:aws:sns:eu-west-1:123456789012:notices"


@pytest.fixture
def topic(as_owner: None) -> Iterator[None]:
    with mock_aws():
        boto3.client("sns", region_name="eu-west-1").create_topic(Name="notices")
        yield


def mails() -> list[tuple[str, str]]:
    """Subject and text of what was sent to the topic."""
    sent = sns_backends["123456789012"]["eu-west-1"].topics[TOPIC].sent_notifications
    return [(str(subject), text) for _, text, subject, *_ in sent]


def test_a_mail_says_in_words_what_a_webhook_says(topic: None, tmp_path: Path) -> None:
    token = "ghp_" + "a1B2" * 9
    order = an_order("mail", title="Die Platte ist v\u00f6ll", text=f"Free space: 0 bytes. {token}")
    fleet = FleetChannels(mail=True, api="https://api.example.com")
    assert channels(tmp_path, fleet, mail=SnsMail(TOPIC)).send(order, effect_id="effect-1") is None
    [(subject, text)] = mails()
    assert subject == "[t1] high: Die Platte ist v?ll"
    assert "\nDie Platte ist v\u00f6ll\n\nFree space: 0 bytes. " in text
    assert "https://api.example.com/api/towns/t1/beads/e1\n" in text
    assert "townctl escalation acknowledge t1 e1" in text
    assert "effect-1" in text
    assert token not in text


def test_every_channel_has_the_link_that_acknowledges(
    receiver: Receiver, topic: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = tmp_path / "shown"
    script = tmp_path / "notify-send"
    script.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {shown}\n')
    script.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    link = LinkMaker("https://api.example.com", lambda: ["k" * 48], FakeClock(T))
    told = channels(tmp_path, mail=SnsMail(TOPIC), link=link)
    for channel in ("webhook", "mail", "desktop"):
        assert told.send(an_order(channel, address=receiver.url), effect_id="e") is None
    [(_, text)] = mails()
    assert json.loads(receiver.got[0][1])["links"]["acknowledge"] == link(an_order())
    assert f"\n{link(an_order('mail'))}\n" in text
    assert shown.read_text().splitlines()[-1] == f"Acknowledge: {link(an_order('desktop'))}"


def test_a_digest_by_mail_has_a_line_for_each_notice(topic: None, tmp_path: Path) -> None:
    order = an_order("mail", notice="digest", bead_id=None, title="2 more notices", lines=("high: a", "low: b"))
    assert channels(tmp_path, mail=SnsMail(TOPIC)).send(order, effect_id="e") is None
    [(_, text)] = mails()
    assert "- high: a\n- low: b\n" in text


@pytest.mark.parametrize("title", ["", "\n\t", "x" * 300, "\x1b[2J", "\U0001f525" * 50])
def test_every_title_makes_a_subject_that_sns_accepts(topic: None, tmp_path: Path, title: str) -> None:
    assert channels(tmp_path, mail=SnsMail(TOPIC)).send(an_order("mail", title=title), effect_id="e") is None
    [(subject, _)] = mails()
    assert 0 < len(subject) < 100
    assert subject.isascii()
    assert subject.isprintable()


def test_a_topic_that_is_gone_may_be_there_again_at_the_next_try(topic: None, tmp_path: Path) -> None:
    sent = channels(tmp_path, mail=SnsMail(f"{TOPIC}-gone")).send(an_order("mail"), effect_id="e")
    assert sent == Untold("the SNS topic notices-gone: NotFound", passing=True)


def test_a_mail_that_sns_can_never_take_is_not_tried_again(topic: None) -> None:
    sent = SnsMail(TOPIC).send("too long", "x" * 300_000)
    assert sent == Untold("the SNS topic notices: InvalidParameter", passing=False)


def test_without_a_topic_no_mail_is_sent(tmp_path: Path) -> None:
    sent = channels(tmp_path).send(an_order("mail"), effect_id="e")
    assert isinstance(sent, Untold)
    assert (sent.passing, "NoticeEmail" in sent.error) == (False, True)


def test_the_variables_of_the_fleet_name_its_channels() -> None:
    given = {local.WEBHOOK: "https://hooks.example.com/", local.DESKTOP: "1"}
    assert local.fleet_of(given).names == ("fleet_webhook", "desktop")
    assert local.fleet_of({}).names == ()
