"""What the town is told of a running program: the pulse of a driver on a clock that a test moves, and the liveness rules on it."""

import json
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from infra.agents.activity import ACTIVITY, Activity, activity_in
from infra.agents.drivers.contract import Span, Used
from infra.agents.drivers.pulse import Pulse
from infra.agents.drivers.reports import Reports, ReportsBesideContainer
from infra.agents.drivers.scrubbing import Scrubber
from infra.agents.drivers.usage import Meter, Usage
from infra.agents.town_agent.order import caller
from shared.adapters.local_supervisor import MARK_VARIABLE
from shared.domain import limits
from shared.domain.orders import StartOrder
from shared.domain.states import Role
from shared.domain.times import from_text
from tests.fakes import FakeClock
from tests.posted_events import PostedEvents
from tests.scenarios.stories import deeds
from tests.towns import MS, T, a_town

START = T - timedelta(hours=4)


@dataclass
class Running:
    """A pulse, and time that passes in steps of a second, in each of which the pulse looks."""

    place: Path
    agent: str = "p"
    kind: type[Reports] = Reports
    clock: FakeClock = field(default_factory=lambda: FakeClock(START))
    posted: PostedEvents = field(default_factory=PostedEvents)
    pulse: Pulse = field(init=False)

    def __post_init__(self) -> None:
        order = StartOrder(town_id="t", agent_id=self.agent, generation=3, role=Role.POLECAT)
        (self.place / "context.json").write_text(json.dumps(order.as_json()), encoding="utf-8")
        agent = caller({MARK_VARIABLE: str(self.place / "context.json")})
        self.pulse = Pulse(self.kind(agent, self.posted, self.clock), self.place, lambda _: None, Scrubber())

    def passes(self, span: timedelta) -> None:
        for _ in range(int(span.total_seconds())):
            self.clock.move(seconds=1)
            self.pulse.look()

    def deeds_of_its_town(self) -> list[str]:
        """What a tick does whose agent last did what the pulse says, as long ago."""
        activity = self.pulse.activity()
        town = a_town().bead("b", status="in_progress", assignee_agent_bead_id="p")
        town.agent(
            "p",
            status="working",
            hook="b",
            last_event_at=activity.at + (T - self.clock.now()),
            active_tools=json.dumps(activity.tools),
        )
        return deeds(town.tick())


def test_beats_go_on_while_a_tool_hangs_and_the_last_event_stays(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.pulse.tool_began("1", "bash")
    running.passes(timedelta(minutes=20))
    beats = running.posted.of("agent_heartbeat")
    assert len(beats) == timedelta(minutes=20) / limits.HEARTBEAT_CADENCE
    assert {beat["last_event_at"] for beat in beats} == {beats[0]["last_event_at"]}
    assert from_text(beats[0]["last_event_at"]) == START


def test_beside_a_control_server_the_note_says_what_a_heartbeat_would_and_the_rest_is_posted(tmp_path: Path) -> None:
    running = Running(tmp_path, kind=ReportsBesideContainer)
    running.pulse.tool_began("1", "bash")
    running.pulse.used(Used(7, 0, 0), model="m")
    running.passes(timedelta(minutes=2))
    assert {event["event_type"] for event in running.posted.events} == {"agent_usage"}
    note = (tmp_path / ACTIVITY).read_text(encoding="utf-8")
    assert activity_in(note, now=running.clock.now()) == Activity("tool_began", START, ("bash",))


def test_a_running_tool_is_named_for_a_quarter_of_an_hour_and_no_longer(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.pulse.tool_began("1", "bash")
    running.clock.move(minutes=15)
    assert running.pulse.activity().tools == ("bash",)
    running.clock.move(ms=1)
    assert running.pulse.activity() == Activity("tool_began", START)


def test_a_tool_that_hangs_for_20_minutes_is_warned_then_escalated_then_stopped(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.pulse.tool_began("1", "bash")
    hung = {}
    for minutes in (14, 20, 61, 121):
        running.clock.at = START
        running.clock.move(minutes=minutes)
        hung[minutes] = [deed.partition(":")[0] for deed in running.deeds_of_its_town()]
    assert hung[14] == []
    assert set(hung[20]) == {"liveness.warn"}
    assert set(hung[61]) == {"liveness.escalate"}
    assert set(hung[121]) == {"liveness.force_stop"}


def test_an_agent_that_waits_half_an_hour_for_its_model_is_not_silent(tmp_path: Path) -> None:
    running = Running(tmp_path)
    for _ in range(30 * 60):
        running.clock.move(seconds=1)
        running.pulse.waits_for_model()
        running.pulse.look()
    told = running.posted.of("agent_heartbeat")
    assert {beat["last_event_type"] for beat in told} == {"waits_for_model"}
    assert running.deeds_of_its_town() == []


def test_an_agent_that_works_steadily_for_three_hours_is_left_alone(tmp_path: Path) -> None:
    running = Running(tmp_path)
    for call in range(18):
        running.pulse.tool_began(str(call), "bash")
        running.clock.move(minutes=9)
        running.pulse.look()
        running.pulse.tool_ended(str(call))
        running.clock.move(minutes=1)
        running.pulse.look()
    quiet = [running.clock.now() - from_text(beat["last_event_at"]) for beat in running.posted.of("agent_heartbeat")]
    assert len(quiet) == 36
    assert running.deeds_of_its_town() == []


def test_at_most_one_status_in_30_seconds_and_the_newest_wins(tmp_path: Path) -> None:
    running = Running(tmp_path)
    for second in range(65):
        running.pulse.status(f"step {second}")
        running.passes(timedelta(seconds=1))
    assert [said["message"] for said in running.posted.of("agent_status")] == ["step 0", "step 30", "step 60"]


def test_the_note_on_the_desk_is_what_the_beat_says(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.pulse.tool_began("1", "bash")
    running.passes(timedelta(seconds=1))
    note = activity_in((tmp_path / ACTIVITY).read_text(encoding="utf-8"), now=running.clock.now())
    assert note == Activity("tool_began", START, ("bash",))


def test_a_note_from_the_future_counts_as_now() -> None:
    note = json.dumps(Activity("text", T + timedelta(days=1)).note())
    assert activity_in(note, now=T) == Activity("text", T)


def test_what_is_no_note_of_a_driver_is_not_believed() -> None:
    for text in ("", "{", "[]", '{"last_event_type": 1, "last_event_at": "x", "active_tools": []}', "x" * 5000):
        assert activity_in(text, now=T) is None


def test_usage_is_posted_as_totals_of_each_model(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.pulse.used(Used(10, 2, 1, cost_micros=5), model="m")
    running.pulse.turn_over()
    running.pulse.used(Used(10, 2, 1), model="m")
    running.pulse.used(Used(7, 7, 7, model="small"), model="m")
    running.pulse.finish()
    assert [
        (used["model"], used["input_tokens"], used.get("cost_micros")) for used in running.posted.of("agent_usage")
    ] == [
        ("m", 20, 5),
        ("small", 7, None),
    ]


def test_two_agents_that_have_used_as_much_are_told_apart_on_a_machine_where_nobody_shows_a_token(
    tmp_path: Path,
) -> None:
    """Their events had the same id, so the town counted one and found the other in conflict with it."""
    told: set[str] = set()
    for name in ("p", "q"):
        (tmp_path / name).mkdir()
        running = Running(tmp_path / name, name)
        running.pulse.used(Used(10, 2, 1), model="m")
        running.pulse.finish()
        told |= {str(event["event_id"]) for event in running.posted.events if event["event_type"] == "agent_usage"}
    assert len(told) == 2


def test_totals_that_have_not_changed_are_not_posted_again(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.pulse.used(Used(10, 2, 1, model="small"), model="m")
    running.pulse.used(Used(10, 2, 1), model="m")
    running.pulse.finish()
    running.pulse.used(Used(1, 1, 1), model="m")
    running.pulse.finish()
    running.pulse.finish()
    posted = [(used["model"], used["input_tokens"]) for used in running.posted.of("agent_usage")]
    assert posted == [("m", 10), ("small", 10), ("m", 11)]


def test_totals_of_a_session_are_counted_once() -> None:
    meter = Meter()
    meter.count(Used(60, 20, 40, of=Span.SESSION), model="one")
    meter.turn_over()
    meter.count(Used(180, 60, 120, of=Span.SESSION), model="two")
    assert meter.totals() == {"one": Usage(60, 20, 40), "two": Usage(120, 40, 80)}


def test_totals_of_a_turn_replace_its_steps() -> None:
    meter = Meter()
    meter.count(Used(1, 1, 1), model="m")
    meter.count(Used(9, 9, 9, of=Span.TURN), model="m")
    meter.turn_over()
    meter.count(Used(1, 1, 1), model="m")
    assert meter.totals() == {"m": Usage(10, 10, 10)}


def test_a_heartbeat_cadence_is_kept_to_the_millisecond(tmp_path: Path) -> None:
    running = Running(tmp_path)
    running.pulse.look()
    running.clock.at += limits.HEARTBEAT_CADENCE - MS
    running.pulse.look()
    assert len(running.posted.of("agent_heartbeat")) == 1
    running.clock.at += MS
    running.pulse.look()
    assert len(running.posted.of("agent_heartbeat")) == 2
