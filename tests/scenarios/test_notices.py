"""Scenarios 646 to 648: which notices leave for people, how many, and what comes of them."""

from datetime import timedelta
from typing import Any

import pytest

from shared.domain.report import TickReport
from tests.scenarios.table import scenario
from tests.towns import MS, T, TownBuilder, a_town, ago, event

HOOK = "https://hooks.example.com/town"
HOUR = timedelta(hours=1)


def a_town_that_tells(**settings: Any) -> TownBuilder:
    return a_town().config(notices={"webhook": HOOK, **settings})


def raised(number: int = 1, severity: str = "high") -> Any:
    said = {"title": f"Trouble {number}", "body": "The disk is full.", "severity": severity}
    return event("escalation_raised", said, event_id=f"raised-{number:04}")


def notices(report: TickReport) -> list[tuple[str, str, str]]:
    """Channel, kind and title of the notices that a tick sends."""
    orders = [effect.payload for effect in report.effects if effect.kind == "send_notice"]
    return [(str(each["channel"]), str(each["notice"]), str(each["title"])) for each in orders]


@scenario(646)
def test_an_escalation_leaves_on_each_channel_of_the_town_in_the_tick_that_raises_it() -> None:
    town = a_town_that_tells(desktop=True)
    report = town.tick(raised())
    assert notices(report) == [(channel, "escalation", "Trouble 1") for channel in ("webhook", "desktop")]
    order = next(effect.payload for effect in report.effects if effect.kind == "send_notice")
    assert (order["address"], order["severity"], order["text"]) == (HOOK, "high", "The disk is full.")
    assert order["bead_id"] == town.rows("SELECT bead_id FROM escalation_metadata")[0][0]


@scenario(646)
def test_an_escalation_leaves_by_mail_if_the_deployment_of_the_town_sends_mail() -> None:
    report = a_town_that_tells().tick(raised(), fleet_channels=("mail",))
    assert [channel for channel, _, _ in notices(report)] == ["webhook", "mail"]


@scenario(646)
@pytest.mark.parametrize("channel", ["fleet_webhook", "desktop", "mail"])
def test_an_escalation_leaves_on_a_channel_that_the_deployment_has_for_all_towns(channel: str) -> None:
    report = a_town().tick(raised(), fleet_channels=(channel,))
    assert notices(report) == [(channel, "escalation", "Trouble 1")]


@scenario(646)
def test_a_town_without_channels_tells_nobody() -> None:
    assert notices(a_town().tick(raised())) == []


@scenario(646)
@pytest.mark.parametrize(("severity", "told"), [("low", 0), ("medium", 1), ("critical", 1)])
def test_people_are_told_from_the_severity_on_that_they_chose(severity: str, told: int) -> None:
    assert len(notices(a_town_that_tells().tick(raised(severity=severity)))) == told


@scenario(646)
def test_an_escalation_that_nobody_acknowledges_is_told_again() -> None:
    town = a_town_that_tells(per_hour=5).bead("e", "escalation", title="Trouble", created_at=ago(hours=4, ms=1))
    town.insert("escalation_metadata", bead_id="e", severity="medium")
    assert notices(town.tick()) == [("webhook", "raised_again", "Trouble")]


@scenario(646)
def test_a_violated_invariant_is_told_without_a_text_of_others() -> None:
    town = a_town_that_tells().bead("b", title="A secret title").update("beads", "b", labels="broken")
    told = [title for _, notice, title in notices(town.tick()) if notice == "alert"]
    assert len(told) == 1
    assert told[0].startswith("invariant 1 ")
    assert "secret title" not in told[0]


@scenario(647)
def test_what_is_beyond_the_limit_of_an_hour_follows_as_one_digest() -> None:
    town = a_town_that_tells(per_hour=2)
    report = town.tick(*[raised(number) for number in range(1, 6)])
    assert [title for _, _, title in notices(report)] == ["Trouble 1", "Trouble 2"]
    assert "digest" not in {notice for _, notice, _ in notices(town.tick(at=T + HOUR - MS))}
    assert ("webhook", "digest", "3 more notices in the last hour") in notices(town.tick(at=T + HOUR))
    [digest] = [each.payload for each in town.reports[-1].effects if each.payload.get("notice") == "digest"]
    assert digest["lines"] == ["high: Trouble 3", "high: Trouble 4", "high: Trouble 5"]


@scenario(647)
def test_a_digest_names_twenty_notices_and_counts_the_others() -> None:
    town = a_town_that_tells(per_hour=1)
    town.tick(*[raised(number) for number in range(1, 31)])
    town.tick(at=T + HOUR)
    [digest] = [each.payload for each in town.reports[-1].effects if each.payload.get("notice") == "digest"]
    assert (len(digest["lines"]), digest["count"]) == (20, 29)  # type: ignore[arg-type]


@scenario(648)
@pytest.mark.parametrize(
    ("result", "state", "noted"),
    [
        ({"ok": True}, "done", "mail_sent"),
        ({"ok": False, "error": "HTTP 410"}, "failed", "notification_failed"),
        ({"ok": False, "error": "HTTP 503", "passing": True}, "pending", None),
    ],
)
def test_what_came_of_a_notice_is_noted_on_its_escalation(
    result: dict[str, Any], state: str, noted: str | None
) -> None:
    town = a_town_that_tells()
    town.tick(raised())
    [(effect_id,)] = town.rows("SELECT effect_id FROM outbox WHERE kind = 'send_notice'")
    payload = {"effect_id": effect_id, "attempt": 1, "kind": "send_notice", **result}
    town.tick(event("effect_result", payload, event_id=f"res-{effect_id}-1", source="effect"), at=T + MS)
    assert town.rows("SELECT state FROM outbox WHERE kind = 'send_notice'") == [(state,)]
    found = [
        row[0] for row in town.rows("SELECT event_type FROM bead_events WHERE event_type <> 'created' ORDER BY seq")
    ]
    assert [each for each in found if each in ("mail_sent", "notification_failed")] == (
        [] if noted is None else [noted]
    )
