"""W10 at the door: one sender does not fill a town's inbox and delay everybody else. Each test is an attack.

What a tick makes of a flood that came through is in `tests/scenarios/test_budgets.py`.
"""

from typing import Any

import pytest

from functions.access import Access
from functions.debug import app as debug
from functions.debug.agents import MOST_QUESTIONS
from functions.events import app as events
from functions.ingestion import Ingestion
from functions.pace import WINDOW
from shared.domain.limits import WAITING_BATCHES, WAITING_EVENTS
from shared.telemetry.emf import EmfMetrics
from tests.apis import deploy
from tests.cloud import a_cloud
from tests.http_events import Answer, Context, request
from tests.towns import a_town
from tests.unit.functions.test_events import RULES, EventsApi, sender
from tests.worlds import a_world

THIEF = sender("agent", agent="toast", generation="1")


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> EventsApi:
    made = EventsApi(a_cloud(a_world(a_town("one"), a_town("two"))))
    metrics = EmfMetrics(made.lines.append, stage="test")
    ingestion = Ingestion(made.cloud.dispatcher.around, made.cloud.queue, metrics, made.lines.append)
    here = events.EventsDeployment(ingestion, Access(RULES, made.lines.append), made.world.objects)
    monkeypatch.setattr(events, "deployment", lambda: here)
    return made


def an_escalation(number: int, *, agent: str = "toast") -> dict[str, Any]:
    return {
        "event_id": f"escalation-{number:05}",
        "event_type": "escalation_raised",
        "agent_id": agent,
        "payload": {"title": "help", "severity": "low"},
    }


def flood(api: EventsApi, claims: dict[str, str] = THIEF, *, size: int = 100, requests: int = 60) -> list[Answer]:
    """The answers to so many requests of so many events each."""
    return [
        api.post([an_escalation(at * size + number, agent=claims["agent"]) for number in range(size)], claims=claims)
        for at in range(requests)
    ]


def waiting(api: EventsApi) -> int:
    return len(api.world.inbox("one"))


@pytest.mark.parametrize(("size", "accepted"), [(100, WAITING_EVENTS["agent"] // 100), (1, WAITING_BATCHES)])
def test_a_flood_of_one_agent_is_told_to_wait(api: EventsApi, size: int, accepted: int) -> None:
    answers = flood(api, size=size, requests=accepted + 5)
    assert [answer.status for answer in answers] == [202] * accepted + [429] * 5
    assert answers[-1].headers["retry-after"] == "5"
    assert answers[-1].is_problem
    assert waiting(api) == accepted


def test_while_one_is_told_to_wait_everybody_else_is_heard(api: EventsApi) -> None:
    flood(api, size=100, requests=4)
    for claims in (
        sender("agent", agent="nux", generation="1"),
        sender("agent", agent="toast", generation="2"),
        sender("coordinator", agent="mayor"),
    ):
        assert api.post(an_escalation(90_000, agent=claims["agent"]), claims=claims).status == 202
    beat = {"event_id": "beat-0001", "event_type": "agent_heartbeat", "agent_id": "toast", "payload": {}}
    assert api.post(beat, claims=sender("container")).status == 202
    assert api.post(an_escalation(90_001), claims=sender("operator")).status == 202


def test_the_end_of_work_is_taken_beside_a_full_share_but_is_no_way_around_it(api: EventsApi) -> None:
    flood(api, size=100, requests=4)

    def done(number: int) -> int:
        event = {
            "event_id": f"done-{number:05}",
            "event_type": "agent_done",
            "agent_id": "toast",
            "payload": {"branch": "x"},
        }
        return api.post(event, claims=THIEF).status

    assert done(1) == 202
    answers = [done(number) for number in range(2, 100)]
    assert answers[-1] == 429
    assert waiting(api) <= 2 * WAITING_BATCHES


def test_a_repetition_of_what_waits_is_accepted_and_after_the_tick_there_is_room(api: EventsApi) -> None:
    first, *_, last = flood(api, size=100, requests=3)
    assert (first.status, last.status) == (202, 429)
    again = [an_escalation(number) for number in range(100)]
    assert api.post(again, claims=THIEF).document == first.document
    api.world.run(town_id="one")
    assert api.post(an_escalation(5_000), claims=THIEF).status == 202


def test_the_signs_of_life_of_a_container_are_never_told_to_wait(api: EventsApi) -> None:
    for number in range(WAITING_BATCHES + 5):
        beat = {"event_id": f"beat-{number:05}", "event_type": "agent_heartbeat", "agent_id": "toast", "payload": {}}
        assert api.post(beat, claims=sender("container")).status == 202


def test_a_refusal_reads_no_batch(api: EventsApi, monkeypatch: pytest.MonkeyPatch) -> None:
    flood(api, size=100, requests=2)
    read: list[str] = []
    original = api.world.objects.get

    def counted(key: str, **more: Any) -> Any:
        read.append(key)
        return original(key, **more)

    monkeypatch.setattr(api.world.objects, "get", counted)
    assert flood(api, size=1, requests=1)[0].status in (202, 429)
    read.clear()
    assert api.post(an_escalation(7_000), claims=THIEF).status == 429
    assert [key for key in read if "/inbox/" in key] == []


def test_a_flood_of_logs_is_told_to_wait_and_those_of_others_are_kept(api: EventsApi) -> None:
    """Each report of a log is a version of an object, which the bucket keeps for a while."""

    def report(claims: dict[str, str], kind: str = "log") -> Answer:
        path, query = f"/api/towns/one/agents/{claims['agent']}/log", {"kind": kind}
        asked = request("PUT", path, b"x", claims=claims, query=query, headers={"content-type": "text/plain"})
        return Answer.of(events.lambda_handler(asked, Context()))

    other = sender("agent", agent="nux", generation="1")
    answers = [report(THIEF).status for _ in range(events.MOST_LOGS + 5)]
    assert answers == [200] * events.MOST_LOGS + [429] * 5
    assert (report(THIEF, "transcript").status, report(other).status) == (200, 200)
    api.world.clock.move(seconds=WINDOW.total_seconds())
    assert report(THIEF).status == 200


def test_an_agent_that_asks_its_town_without_end_is_told_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each question loads an image. Those of another agent are answered meanwhile."""
    town = a_town("one").bead("b", status="in_progress").agent("toast", hook="b", generation=1, status="working")
    cloud = a_cloud(a_world(town))
    deploy(cloud, monkeypatch)

    def ask(agent: str) -> Answer:
        claims = sender("agent", agent=agent, generation="1")
        return Answer.of(debug.lambda_handler(request("GET", "/api/agents/towns/one/mail", claims=claims), Context()))

    for _ in range(MOST_QUESTIONS - 1):  # as if it had asked
        debug.deployment().pace.require("one", "agent", "toast", now=cloud.world.clock.now())
    assert ask("toast").status == 200
    last = ask("toast")
    assert (last.status, last.headers["retry-after"]) == (429, "5")
    assert ask("nux").status == 403
    cloud.world.clock.move(seconds=WINDOW.total_seconds())
    assert ask("toast").status == 200
