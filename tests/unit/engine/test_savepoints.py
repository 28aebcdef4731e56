"""An event or an action that is not applied leaves nothing behind, and a row that it could not read is reported."""

import pytest

from shared.actions import ExpireNudge
from shared.domain.errors import RowUnreadable
from shared.domain.outcomes import ActionOutcome, Rejected, Skipped
from shared.events.base import EventResult
from shared.events.containers import ContainerReady
from shared.town.inbox import Fact
from shared.town.town import Town
from tests.scenarios.stories import outcomes
from tests.towns import TownBuilder, a_town, ago, event


def with_a_late_nudge(town: TownBuilder) -> TownBuilder:
    times = {"created_at": ago(hours=2), "expires_at": ago(hours=1)}
    return town.agent("p").insert("agent_nudges", nudge_id="n", agent_bead_id="p", message="x", **times)


def test_what_a_rejected_event_wrote_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(self: ContainerReady, fact: Fact, town: Town) -> EventResult:
        town.keys.store("container_instance_id", "half")
        return EventResult(Rejected("second thoughts"))

    monkeypatch.setattr(ContainerReady, "apply", apply)
    town = a_town()
    report = town.tick(event("container_ready", {"nonce": "n"}))
    assert outcomes(report) == [("container_ready", "rejected: second thoughts")]
    assert town.value("container_instance_id") is None


def test_what_a_skipped_action_wrote_is_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(self: ExpireNudge, town: Town) -> ActionOutcome:
        town.keys.store("container_instance_id", "half")
        return Skipped("second thoughts")

    monkeypatch.setattr(ExpireNudge, "apply", apply)
    town = with_a_late_nudge(a_town())
    report = town.tick()
    assert [(judged.outcome, judged.reason) for judged in report.actions] == [("skipped", "second thoughts")]
    assert town.value("container_instance_id") is None


def test_a_row_that_an_event_could_not_read_is_reported() -> None:
    report = (
        a_town().bead("c", status="closed", labels="{no list").tick(event("bead_updated", {"title": "x"}, bead="c"))
    )
    assert [outcome for _, outcome in outcomes(report)] == ["failed"]
    assert ("row_readable", "beads c") in [(seen.name, seen.subject) for seen in report.violations]


def test_a_row_that_an_action_could_not_read_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def apply(self: ExpireNudge, town: Town) -> ActionOutcome:
        raise RowUnreadable("beads", "b", "no such status")

    monkeypatch.setattr(ExpireNudge, "apply", apply)
    report = with_a_late_nudge(a_town()).tick()
    assert [judged.outcome for judged in report.actions] == ["failed"]
    assert [(seen.name, seen.subject) for seen in report.violations] == [("row_readable", "beads b")]


@pytest.mark.parametrize(
    ("source", "outcome"), [("effect", "applied"), ("observation", "applied"), ("ingest", "poisoned")]
)
def test_only_what_comes_from_outside_can_be_too_old(source: str, outcome: str) -> None:
    town = a_town()
    report = town.tick(event("nudge_timeout", source=source, created_at=ago(days=8)))
    assert outcomes(report) == [("nudge_timeout", outcome)]
