"""An event or an action that is not applied leaves nothing behind, and a row that it could not read is reported."""

import pytest

from shared.actions import ExpireNudge
from shared.domain import limits
from shared.domain.errors import RowUnreadable
from shared.domain.outcomes import ActionOutcome, Rejected, Skipped
from shared.events.base import EventResult
from shared.events.containers import ContainerReady
from shared.town import inbox
from shared.town.inbox import Fact
from shared.town.town import Town
from shared.town.writing import beads
from tests.scenarios.stories import outcomes
from tests.towns import T, TownBuilder, a_town, ago, event


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


def _delete_and_append(town: Town) -> None:
    beads.delete(town, "b")
    inbox.append(town, "nudge_timeout", {})


@pytest.mark.parametrize("fails", [False, True])
def test_the_events_of_the_tick_are_as_before_an_event_that_is_undone(
    fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has marked a later event as processed and added another one."""

    def apply(self: ContainerReady, fact: Fact, town: Town) -> EventResult:
        _delete_and_append(town)
        if fails:
            raise RuntimeError("half way")
        return EventResult(Rejected("second thoughts"))

    monkeypatch.setattr(ContainerReady, "apply", apply)
    town = a_town().bead("b")
    report = town.tick(event("container_ready", {"nonce": "n"}), event("bead_updated", {"title": "x"}, bead="b"))
    first = "failed" if fails else "rejected: second thoughts"
    assert outcomes(report) == [("container_ready", first), ("bead_updated", "applied")]
    assert town.one("beads", "b", "title") == "x"
    assert report.pending_after == (1 if fails else 0)


def test_an_event_whose_outcome_cannot_be_stored_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        stored = inbox.mark_processed

        def fail(town: Town, fact: Fact, outcome: str) -> None:
            stored(town, fact, outcome)
            raise RuntimeError("half way")

        patched.setattr(inbox, "mark_processed", fail)
        town = a_town().bead("b")
        report = town.tick(event("bead_updated", {"title": "x"}, bead="b"))
    assert outcomes(report) == [("bead_updated", "failed")]
    assert town.rows("SELECT event_type, retry_count, processed_at FROM town_events") == [("bead_updated", 1, None)]
    assert outcomes(town.tick(at=T + limits.FAILED_EVENT_RETRY)) == [("bead_updated", "applied")]


def test_an_event_that_failed_waits_for_its_time_however_many_ticks_other_events_cause() -> None:
    """Once events acted at once, a burst of them used up the three attempts of another event within a second."""
    town = a_town().bead("b")
    broken = event("bead_updated", {"title": "x"}, bead="b", event_id="broken")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(inbox, "mark_processed", _fails)
        town.tick(broken)
    times = [T + number * limits.FAILED_EVENT_RETRY / 5 for number in range(1, 5)]
    for number, at in enumerate(times):
        report = town.tick(event("bead_updated", {"title": f"{number}"}, bead="b", event_id=f"e-{number}"), at=at)
        assert outcomes(report) == [("bead_updated", "applied")]
    assert town.one("town_events", "broken", "retry_count") == 1
    calm = town.tick(at=times[-1] + limits.FAILED_EVENT_RETRY)
    assert outcomes(calm) == [("bead_updated", "applied")]
    assert town.one("beads", "b", "title") == "x"


def _fails(town: Town, fact: Fact, outcome: str) -> None:
    raise RuntimeError("half way")


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
