"""The Notices port: signed webhooks, mail and desktop notices.

A webhook is one POST of a JSON object. Its signature is the HMAC-SHA256 of `<timestamp>.<body>`, so that a receiver can tell who
sent it and refuse an old one that somebody sends again. The signing secret lies among the secrets of the deployment, never in a
town. No redirect is followed, and the answer is bounded in time and size. What looks like a secret in a text is masked.
"""

import hashlib
import hmac
import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, urlsplit

from shared.adapters import notice_mail
from shared.adapters.http_json import Answered, NoAnswer, NotSent, call
from shared.adapters.sns_mail import SnsMail
from shared.domain.errors import TownError
from shared.domain.notice_orders import NoticeOrder
from shared.domain.notices import FleetChannels, is_safe_address, webhook_secret
from shared.domain.secret_texts import masked
from shared.domain.times import to_text
from shared.ports.clock import Clock
from shared.ports.notices import Untold
from shared.ports.secrets import Secrets

SIGNATURE: Final = "Town-Signature"
TIMESTAMP: Final = "Town-Timestamp"
NOTICE_ID: Final = "Town-Notice-Id"
_SECONDS: Final = 10.0
_DESKTOP_TEXT: Final = 400


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What the header Town-Signature says of a body."""
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256)
    return f"v1={digest.hexdigest()}"


class ChannelsToPeople:
    """The Notices port over the channels of a deployment."""

    def __init__(
        self,
        fleet: FleetChannels,
        *,
        clock: Clock,
        secrets: Secrets | None,
        mail: SnsMail | None = None,
        link: Callable[[NoticeOrder], str | None] = lambda _: None,
        run: Callable[..., Any] = subprocess.run,
    ) -> None:
        """Without `secrets` no webhook can be sent, and without `mail` no mail.

        `link` makes the address with which a person acknowledges the escalation of a notice.
        """
        self._fleet = fleet
        self._clock = clock
        self._secrets = secrets
        self._mail = mail
        self._link = link
        self._run = run

    def send(self, order: NoticeOrder, *, effect_id: str) -> Untold | None:
        """Send one notice on its channel."""
        if order.channel == "webhook":
            return self._post(order, order.address, webhook_secret(order.town_id), effect_id)
        if order.channel == "fleet_webhook":
            return self._post(order, self._fleet.webhook, webhook_secret(None), effect_id)
        if order.channel == "desktop":
            return self._show(order)
        if order.channel == "mail":
            return self._write(order, effect_id)
        return Untold(f"there is no channel {order.channel[:40]}", passing=False)

    def _post(self, order: NoticeOrder, address: str | None, secret_name: str, effect_id: str) -> Untold | None:
        if address is None or not is_safe_address(address):
            return Untold(
                "the address of the webhook is missing, or not https (http only on this machine)", passing=False
            )
        try:
            secret = None if self._secrets is None else self._secrets.get(secret_name)
        except TownError as error:
            return Untold(f"the signing secret cannot be read: {error.message}", passing=True)
        if secret is None:
            return Untold(f"no signing secret is stored: townctl secret set-webhook stores {secret_name}", passing=True)
        body = self.document(order, effect_id)
        content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
        timestamp = str(int(self._clock.now().timestamp()))
        headers = {
            TIMESTAMP: timestamp,
            SIGNATURE: signature(secret.reveal(), timestamp, content),
            NOTICE_ID: effect_id,
        }
        answer = call("POST", address, body=body, headers=headers, seconds=_SECONDS)
        where = urlsplit(address).hostname
        if isinstance(answer, NotSent | NoAnswer):
            return Untold(f"{where}: {answer.reason}", passing=True)
        return _judged(answer, where)

    def _write(self, order: NoticeOrder, effect_id: str) -> Untold | None:
        """Send it as a mail."""
        if self._mail is None:
            return Untold("no topic for mail is configured: set NoticeEmail or NoticeTopicArn", passing=False)
        shown = _without_secrets(order)
        text = notice_mail.text_of(shown, self._links(order), effect_id=effect_id)
        return self._mail.send(notice_mail.subject_of(shown), text)

    def document(self, order: NoticeOrder, effect_id: str) -> dict[str, Any]:
        """The body of a webhook."""
        shown = _without_secrets(order)
        about = {
            "id": effect_id,
            "town": order.town_id,
            "notice": order.notice,
            "severity": order.severity,
            "title": shown.title,
            "text": shown.text,
            "bead": order.bead_id,
            "at": order.at,
            "sent": to_text(self._clock.now()),
            "lines": list(shown.lines),
            "links": self._links(order),
        }
        return {name: value for name, value in about.items() if value not in (None, "", [])}

    def _links(self, order: NoticeOrder) -> Mapping[str, str]:
        town, bead = quote(order.town_id, safe=""), quote(order.bead_id or "", safe="")
        found: dict[str, str] = {}
        if self._fleet.page is not None:
            found["page"] = f"{self._fleet.page.rstrip('/')}/t/{town}" + (f"/bead/{bead}" if bead else "")
        if self._fleet.api is not None:
            found["api"] = f"{self._fleet.api.rstrip('/')}/api/towns/{town}" + (f"/beads/{bead}" if bead else "/status")
        if order.bead_id is not None:
            found["explain"] = f"townctl explain bead {order.bead_id} --town {order.town_id}"
            found["acknowledge_command"] = f"townctl escalation acknowledge {order.town_id} {order.bead_id}"
            if (address := self._link(order)) is not None:
                found["acknowledge"] = address
        else:
            found["explain"] = f"townctl town status {order.town_id}"
        return found

    def _show(self, order: NoticeOrder) -> Untold | None:
        """Show it on the screen of this machine."""
        text, address = _printable(_without_secrets(order).title), self._link(order)
        words = text if address is None else f"{text}\nAcknowledge: {address}"
        command = _desktop_command(f"Town {order.town_id}: {order.severity}", words)
        if command is None:
            return Untold("this machine has neither notify-send nor osascript", passing=False)
        try:
            shown = self._run(command, check=False, capture_output=True, timeout=_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            return Untold(f"{command[0]}: {type(error).__name__}", passing=True)
        return None if shown.returncode == 0 else Untold(f"{command[0]} ended with {shown.returncode}", passing=True)


def _judged(answer: Answered, where: str | None) -> Untold | None:
    if answer.ok:
        return None
    if 300 <= answer.status < 400:
        return Untold(f"{where}: HTTP {answer.status}, and no redirect is followed: set its own address", passing=False)
    return Untold(f"{where}: HTTP {answer.status}", passing=answer.may_pass)


def _without_secrets(order: NoticeOrder) -> NoticeOrder:
    """The notice as it may leave: what looks like a secret in its texts is masked."""
    lines = tuple(masked(each) for each in order.lines)
    return replace(order, title=masked(order.title), text=masked(order.text), lines=lines)


def _printable(text: str) -> str:
    """A text as one line without control characters."""
    return "".join(each if each.isprintable() else " " for each in text)[:_DESKTOP_TEXT]


def _desktop_command(title: str, text: str) -> Sequence[str] | None:
    """The program that shows a notice. Texts are arguments, so nothing in them is run."""
    if shutil.which("notify-send"):
        return ("notify-send", "--", title, text)
    if shutil.which("osascript"):
        script = "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run"
        return ("osascript", "-e", script, title, text)
    return None
