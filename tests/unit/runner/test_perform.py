"""In which order effects are started and up to when (spec/tick.md section 5), and what each answer is told as."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.domain import wire
from shared.domain.notice_orders import NoticeOrder
from shared.domain.orders import StartOrder
from shared.domain.report import ClaimedEffect
from shared.domain.states import EffectKind
from shared.ports.forge import Asker, Feedback, ForgeError, Identity, RepositoryAt
from shared.ports.notices import Untold
from shared.ports.runtime import NotDone, StartRejected
from shared.ports.steps import Call, NotBegun, Steps, Together, drive
from shared.runner.life import ENDING, WORKER_TURN, Life
from shared.runner.perform import Outside, Performed, perform, rounds_of
from tests.fakes import FakeClock, FakeForge, FakeProcess, FakeRuntime, plain_time
from tests.orders import a_payload
from tests.towns import MS, T


def an_effect(kind: str, subject: str, seq: int, **payload: Any) -> ClaimedEffect:
    return ClaimedEffect(
        effect_id=f"e{seq}",
        seq=seq,
        kind=EffectKind(kind),
        subject=subject,
        generation=1,
        attempt=1,
        payload=a_payload(EffectKind(kind), subject, **payload),
        deadline=T + timedelta(minutes=10),
    )


def test_an_agent_is_stopped_before_it_is_started_and_nobody_waits_for_another() -> None:
    start = an_effect("dispatch_agent", "p", 1, agent_id="p")
    stop = an_effect("stop_agent", "p", 2, agent_id="p")
    nudge = an_effect("send_nudge", "n1", 3, agent_id="p")
    poll = an_effect("poll_pr", "m", 4)
    assert rounds_of((start, stop, nudge, poll)) == [(stop, poll), (start,), (nudge,)]


def test_nothing_to_start_makes_no_rounds() -> None:
    assert rounds_of(()) == []


def performed(effect: ClaimedEffect, outside: Outside, *, at: datetime = T) -> tuple[Performed, list[dict[str, Any]]]:
    """How it went, and the result events that were posted."""
    posted: list[dict[str, Any]] = []

    def post(results: tuple[dict[str, Any], ...]) -> Steps[None]:
        posted.extend(results)
        yield from ()

    return drive(perform((effect,), outside, time=plain_time(FakeClock(at)), claimed_at=T, post=post)), posted


def told(effect: ClaimedEffect, outside: Outside) -> dict[str, Any]:
    """What the result event says, without the attempt that it is about."""
    _, [posted] = performed(effect, outside)
    assert posted["payload"].pop("effect_id") == effect.effect_id
    assert posted["payload"].pop("attempt") == effect.attempt
    payload: dict[str, Any] = posted["payload"]
    return payload


@pytest.mark.parametrize(("later", "started"), [(-MS, True), (0 * MS, True), (MS, False)])
def test_an_effect_is_started_up_to_a_minute_after_its_claim(later: timedelta, started: bool) -> None:
    done, posted = performed(an_effect("notify_mayor", "x", 1), Outside(), at=T + timedelta(seconds=60) + later)
    assert done == (Performed(attempted=1, failed=1) if started else Performed(not_started=1))
    assert len(posted) == started


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [("dispatch_agent", 60), ("stop_agent", 30), ("notify_mayor", 30)],
    ids=["60 s", "30 s", "30 s too"],
)
@pytest.mark.parametrize(("margin", "started"), [(-MS, False), (0 * MS, True)], ids=["too short", "just enough"])
def test_nothing_is_begun_whose_answer_the_worker_would_not_live_to_hear(
    kind: str, seconds: int, margin: timedelta, started: bool
) -> None:
    life = Life(T + timedelta(seconds=seconds) + ENDING + margin, WORKER_TURN)
    effect = an_effect(kind, "p", 1, town_id="t1", agent_id="p", rig=None)
    steps = perform((effect,), Outside(), time=plain_time(FakeClock(T)), claimed_at=T, life=life, post=_nowhere)
    done = drive(steps)
    assert (done.attempted, done.not_started) == ((1, 0) if started else (0, 1))


def test_no_answer_is_waited_for_beyond_its_time_and_what_was_not_begun_stays_for_later() -> None:
    """A forge that sent a byte now and then held a tick for as long as it liked; each adapter had its own idea of time."""
    dispatch = an_effect("dispatch_agent", "p", 1, town_id="t1", agent_id="p", rig=RIG)
    poll = an_effect("poll_pr", "m", 2, town_id="t1", pr_url=PR)
    nudge = an_effect("send_nudge", "n", 3, town_id="t1", agent_id="q", nudge_id="n", message="x")
    posted: list[dict[str, Any]] = []

    def post(results: tuple[dict[str, Any], ...]) -> Steps[None]:
        posted.extend(results)
        yield from ()

    steps = perform((dispatch, poll, nudge), Outside(), time=plain_time(FakeClock(T)), claimed_at=T, post=post)
    assert isinstance(next(steps), Call)
    asked = steps.send(T)
    assert isinstance(asked, Together)
    assert [call.seconds for call in asked.calls] == [60, 30, 30]
    with pytest.raises(StopIteration) as end:
        steps.send([TimeoutError("late"), TimeoutError("late"), NotBegun("no room")])
    assert end.value.value == Performed(attempted=2, failed=2, not_started=1)
    assert [event["payload"].get("outcome", event["payload"].get("error")) for event in posted] == [
        "unknown",
        {"kind": "transient", "message": "TimeoutError in the adapter"},
    ]


def _nowhere(results: tuple[dict[str, Any], ...]) -> Steps[None]:
    assert results
    yield from ()


RIG = {"id": "rig-1"}
PR = "https://github.com/acme/main-rig/pull/1"
AGREED = {
    "head_repository": "acme/main-rig",
    "head_branch": "gt/toast/1",
    "base_repository": "acme/main-rig",
    "base_branch": "main",
}
"""What must be true of a pull request before it is merged."""
EFFECTS = {
    "dispatch_agent": an_effect("dispatch_agent", "p", 1, town_id="t1", agent_id="p", rig=RIG, generation=1),
    "stop_agent": an_effect("stop_agent", "p", 2, town_id="t1", agent_id="p"),
    "poll_pr": an_effect("poll_pr", "m", 3, town_id="t1", pr_url=PR),
    "merge_pr": an_effect("merge_pr", "m", 4, town_id="t1", pr_url=PR, head_sha="head-1", expected=AGREED),
    "send_nudge": an_effect("send_nudge", "n", 5, town_id="t1", agent_id="p", nudge_id="n", message="x"),
    "notify_mayor": an_effect("notify_mayor", "x", 6, town_id="t1", agent_id="mayor", message="x"),
    "refresh_token": an_effect("refresh_token", "container", 7, town_id="t1"),
    "stop_container": an_effect("stop_container", "container", 8, town_id="t1"),
    "update_model": an_effect("update_model", "p", 9, town_id="t1", agent_id="p", model="m"),
    "send_notice": an_effect(
        "send_notice",
        "desktop:x",
        10,
        town_id="t1",
        channel="desktop",
        notice="alert",
        severity="high",
        title="x",
        at="",
    ),
}
NO_RUNTIME = "no agent runtime is configured"
NO_FORGE = {"kind": "no_token", "message": "no source forge is configured for this deployment"}


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        (
            "dispatch_agent",
            {"generation": 1, "outcome": "rejected", "reason": NO_RUNTIME, "kind": "no_agent_program"},
        ),
        ("stop_agent", {"generation": 1, "ok": False, "error": NO_RUNTIME}),
        ("poll_pr", {"ok": False, "error": NO_FORGE}),
        ("merge_pr", {"merged": False, "error": NO_FORGE}),
        ("send_nudge", {"nudge_id": "n", "delivered": False, "error": NO_RUNTIME, "passing": True}),
        ("notify_mayor", {"delivered": False, "error": NO_RUNTIME, "passing": True}),
        ("refresh_token", {"kind": "refresh_token", "ok": False, "error": NO_RUNTIME}),
        ("stop_container", {"kind": "stop_container", "ok": False, "error": NO_RUNTIME}),
        ("update_model", {"kind": "update_model", "ok": False, "error": NO_RUNTIME}),
        ("send_notice", {"kind": "send_notice", "ok": False, "error": "no channel to people is configured"}),
    ],
)
def test_an_effect_without_an_adapter_comes_back_as_its_typed_failure(kind: str, answer: dict[str, Any]) -> None:
    assert told(EFFECTS[kind], Outside()) == answer


class Raises:
    """An adapter whose every call ends in an exception."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: object, **__: object) -> None:
            raise KeyError(name)

        return fail


RAISED = "KeyError in the adapter"
TRANSIENT = {"kind": "transient", "message": RAISED}


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("dispatch_agent", {"generation": 1, "outcome": "unknown", "reason": RAISED}),
        ("stop_agent", {"generation": 1, "ok": False, "error": RAISED, "passing": True}),
        ("poll_pr", {"ok": False, "error": TRANSIENT}),
        ("merge_pr", {"merged": False, "error": TRANSIENT}),
        ("send_nudge", {"nudge_id": "n", "delivered": False, "error": RAISED, "passing": True}),
        ("notify_mayor", {"delivered": False, "error": RAISED, "passing": True}),
        ("refresh_token", {"kind": "refresh_token", "ok": False, "error": RAISED, "passing": True}),
        ("stop_container", {"kind": "stop_container", "ok": False, "error": RAISED, "passing": True}),
        ("update_model", {"kind": "update_model", "ok": False, "error": RAISED, "passing": True}),
        ("send_notice", {"kind": "send_notice", "ok": False, "error": RAISED, "passing": True}),
    ],
)
def test_an_adapter_that_raises_leaves_the_outcome_open(kind: str, answer: dict[str, Any]) -> None:
    adapter: Any = Raises()
    assert told(EFFECTS[kind], Outside(runtime=adapter, forge=adapter, notices=adapter)) == answer


@pytest.mark.parametrize(
    ("kind", "verb", "well"),
    [
        ("stop_agent", "stop", {"generation": 1, "ok": True}),
        ("send_nudge", "message", {"nudge_id": "n", "delivered": True}),
        ("notify_mayor", "message", {"delivered": True}),
        ("refresh_token", "refresh_token", {"kind": "refresh_token", "ok": True}),
        ("stop_container", "stop_container", {"kind": "stop_container", "ok": True}),
        ("update_model", "update_model", {"kind": "update_model", "ok": True}),
    ],
)
def test_what_the_runtime_answers_is_told(kind: str, verb: Any, well: dict[str, Any]) -> None:
    runtime = FakeRuntime()
    assert told(EFFECTS[kind], Outside(runtime=runtime)) == well
    runtime.fails(verb, NotDone("down for now", passing=True))
    badly = {name: value for name, value in well.items() if name not in ("ok", "delivered")}
    failed = "delivered" if "delivered" in well else "ok"
    assert told(EFFECTS[kind], Outside(runtime=runtime)) == {
        **badly,
        failed: False,
        "error": "down for now",
        "passing": True,
    }


@dataclass
class Channel:
    """A channel to people, which is down or not."""

    down: Untold | None = None
    sent: list[NoticeOrder] = field(default_factory=list)

    def send(self, order: NoticeOrder, *, effect_id: str) -> Untold | None:
        if self.down is None:
            self.sent.append(order)
        return self.down


def test_whether_a_notice_arrived_is_told() -> None:
    channel = Channel()
    assert told(EFFECTS["send_notice"], Outside(notices=channel)) == {"kind": "send_notice", "ok": True}
    assert [order.title for order in channel.sent] == ["x"]
    channel.down = Untold("down for now", passing=True)
    assert told(EFFECTS["send_notice"], Outside(notices=channel)) == {
        "kind": "send_notice",
        "ok": False,
        "error": "down for now",
        "passing": True,
    }


def test_a_start_without_a_rig_is_rejected_without_a_call() -> None:
    runtime = FakeRuntime()
    effect = an_effect("dispatch_agent", "p", 1, town_id="t1", agent_id="p", rig=None)
    assert told(effect, Outside(runtime=runtime)) == {"generation": 1, "outcome": "rejected", "reason": "no_rig_config"}
    assert runtime.calls == []


def test_a_town_without_a_mayor_cannot_be_told_anything() -> None:
    effect = an_effect("notify_mayor", "x", 1, town_id="t1", agent_id=None, message="x")
    assert told(effect, Outside(runtime=FakeRuntime())) == {"delivered": False, "error": "the town has no mayor"}


def test_an_order_that_cannot_be_read_is_not_performed_and_the_result_names_the_place() -> None:
    """An imported town may hold anything. Its outcome is unknown, as that of a call that failed midway."""
    runtime = FakeRuntime()
    broken = replace(
        EFFECTS["dispatch_agent"], payload={"town_id": "t1", "agent_id": "p", "generation": "one", "role": "polecat"}
    )
    assert told(broken, Outside(runtime=runtime)) == {
        "generation": 1,
        "outcome": "unknown",
        "reason": "the order cannot be read: generation: a whole number is required",
    }
    assert runtime.orders == []


MAYORS_START = {"town_id": "t1", "agent_id": "mayor", "generation": 6, "role": "mayor"}
TOLD_WITH_START = an_effect(
    "notify_mayor", "x", 6, town_id="t1", agent_id="mayor", message="wake up", start=MAYORS_START
)


def test_a_mayor_without_a_session_is_started_with_what_it_is_told() -> None:
    runtime = FakeRuntime()
    runtime.fails("message", NotDone("the agent is not running", passing=True))
    assert told(TOLD_WITH_START, Outside(runtime=runtime)) == {"delivered": True}
    assert runtime.orders == [wire.read(StartOrder, {**MAYORS_START, "message": "wake up"})]
    assert [call.effect_id for call in runtime.seen("start")] == [TOLD_WITH_START.effect_id]


@pytest.mark.parametrize("status", ["running", "starting", "stopping", "unknown"])
def test_a_mayor_that_may_have_a_session_is_not_started_a_second_time(status: Any) -> None:
    runtime = FakeRuntime(processes={("t1", "mayor"): FakeProcess("p", 5, status)})
    runtime.fails("message", NotDone("time-out", passing=True))
    expected = {"delivered": False, "error": "time-out", "passing": True}
    assert told(TOLD_WITH_START, Outside(runtime=runtime)) == expected
    assert runtime.orders == []


def test_a_mayor_that_cannot_be_started_is_tried_again() -> None:
    runtime = FakeRuntime()
    runtime.fails("message", NotDone("the agent is not running", passing=True))
    runtime.fails("start", StartRejected("no capacity", kind="no_capacity"))
    expected = {"delivered": False, "error": "no capacity", "passing": True}
    assert told(TOLD_WITH_START, Outside(runtime=runtime)) == expected


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (ForgeError("transient", "x"), {"kind": "transient", "message": "x"}),
        (ForgeError("http", "x", http_status=404), {"kind": "http", "message": "x", "http_status": 404}),
        (
            ForgeError("rate_limited", "x", retry_at=T),
            {"kind": "rate_limited", "message": "x", "retry_at": "2026-01-10T12:00:00.000Z"},
        ),
    ],
    ids=["transient", "http", "limited"],
)
def test_an_error_of_the_forge_is_told_with_what_it_knows(error: ForgeError, shown: dict[str, Any]) -> None:
    forge = FakeForge()
    forge.fails("pull_request", error, times=2)
    assert told(EFFECTS["poll_pr"], Outside(forge=forge)) == {"ok": False, "error": shown}
    assert told(EFFECTS["merge_pr"], Outside(forge=forge)) == {
        "merged": False,
        "error": shown,
        "refusal": "judged_anew",
    }
    assert forge.seen("merge") == []


def test_a_poll_leaves_out_what_the_forge_did_not_say() -> None:
    forge = FakeForge()
    forge.opens(PR)
    forge.pull_requests[PR] = replace(forge.pull_requests[PR], identity=None)
    assert told(EFFECTS["poll_pr"], Outside(forge=forge)) == {
        "ok": True,
        "state": "open",
        "head_sha": "head-1",
        "mergeable_state": "clean",
    }


def test_a_green_pull_request_is_merged_and_a_merged_one_is_not_merged_again() -> None:
    forge = FakeForge()
    forge.opens(PR)
    for _ in range(2):
        assert told(EFFECTS["merge_pr"], Outside(forge=forge)) == {"merged": True, "sha": "merge-of-head-1"}
    assert len(forge.seen("merge")) == 1


def merged_with(forge: FakeForge, expected: dict[str, Any] | None = AGREED) -> Any:
    """What is told of a merge for which that pull request was agreed."""
    effect = an_effect("merge_pr", "m", 4, town_id="t1", pr_url=PR, head_sha="head-1", expected=expected)
    return told(effect, Outside(forge=forge))


def shows(forge: FakeForge, **changed: Any) -> None:
    """The forge shows the pull request with another identity or state."""
    forge.pull_requests[PR] = replace(forge.pull_requests[PR], **changed)


OWN = RepositoryAt("acme/main-rig")
OURS = Identity(OWN, "gt/toast/1", OWN, "main", author="Toast")
STRANGER = RepositoryAt("666", "stranger/main-rig")
ANOTHER: dict[str, Identity] = {
    "head repository": replace(OURS, head_repository=STRANGER),
    "head branch": replace(OURS, head_branch="gt/Toast/1"),
    "base repository": replace(OURS, base_repository=STRANGER),
    "base branch": replace(OURS, base_branch="release"),
}


@pytest.mark.parametrize("field", ANOTHER)
def test_another_pull_request_than_the_agreed_one_is_not_merged(field: str) -> None:
    forge = FakeForge()
    forge.opens(PR)
    shows(forge, identity=ANOTHER[field])
    answer = merged_with(forge)
    assert (answer["merged"], answer["refusal"], forge.seen("merge")) == (False, "identity", [])
    assert answer["reason"].startswith(f"{field}: expected ")


@pytest.mark.parametrize("field", ANOTHER)
def test_the_merge_of_another_pull_request_is_not_the_merge_of_this_work(field: str) -> None:
    """A worker named a stranger's pull request, and its owner merged it just before the town would have."""
    forge = FakeForge()
    forge.opens(PR)
    shows(forge, identity=ANOTHER[field], state="merged", merge_sha="c0ffee")
    answer = merged_with(forge)
    assert (answer["merged"], answer["refusal"]) == (False, "judged_anew")
    assert field in answer["reason"]


@pytest.mark.parametrize("expected", [None, {}, {"head_branch": "gt/toast/1", "base_branch": "main"}])
def test_an_order_that_does_not_say_what_was_agreed_merges_nothing(expected: dict[str, Any] | None) -> None:
    """Orders of an earlier release are in flight during an upgrade."""
    forge = FakeForge()
    forge.opens(PR)
    answer = merged_with(forge, expected)
    assert (answer["merged"], answer["refusal"], forge.seen("merge")) == (False, "other", [])


def test_a_forge_that_does_not_say_which_pull_request_it_is_merges_nothing() -> None:
    forge = FakeForge()
    forge.opens(PR)
    shows(forge, identity=None)
    answer = merged_with(forge)
    assert (answer["merged"], answer["refusal"], forge.seen("merge")) == (False, "other", [])


@pytest.mark.parametrize("unknown", ["order", "answer"])
def test_a_merge_that_cannot_be_compared_waits_for_the_next_poll(unknown: str) -> None:
    forge = FakeForge()
    forge.opens(PR)
    shows(forge, state="merged", merge_sha="c0ffee", **({"identity": None} if unknown == "answer" else {}))
    answer = merged_with(forge, None if unknown == "order" else AGREED)
    assert answer == {"merged": True, "sha": "c0ffee", "unconfirmed": True}


class MovedMeanwhile(FakeForge):
    """Somebody retargets the pull request between the look and the merge: the merge names its head, and not its base."""

    def merge(self, asker: Asker, pr_url: str, *, head_sha: str | None, effect_id: str) -> Any:
        self.pull_requests[pr_url] = replace(self.pull_requests[pr_url], identity=replace(OURS, base_branch="release"))
        return super().merge(asker, pr_url, head_sha=head_sha, effect_id=effect_id)


def test_a_pull_request_that_was_retargeted_at_the_last_moment_is_not_taken_for_merged() -> None:
    forge = MovedMeanwhile()
    forge.opens(PR)
    answer = merged_with(forge)
    assert (answer["merged"], answer["refusal"]) == (False, "judged_anew")
    assert "base branch: expected main, found release" in answer["reason"]


class Lagging(FakeForge):
    """Its reads lag behind its writes."""

    def merge(self, asker: Asker, pr_url: str, *, head_sha: str | None, effect_id: str) -> Any:
        before = self.pull_requests[pr_url]
        answer = super().merge(asker, pr_url, head_sha=head_sha, effect_id=effect_id)
        self.pull_requests[pr_url] = before
        return answer


def test_a_merge_that_is_not_shown_yet_waits_for_the_next_poll() -> None:
    forge = Lagging()
    forge.opens(PR)
    assert merged_with(forge) == {"merged": True, "sha": "merge-of-head-1", "unconfirmed": True}


def test_a_closed_pull_request_is_not_merged() -> None:
    forge = FakeForge()
    forge.opens(PR)
    forge.closes(PR)
    answer = told(EFFECTS["merge_pr"], Outside(forge=forge))
    said = {"merged": False, "reason": "the pull request was closed", "refusal": "closed"}
    assert (answer, forge.seen("merge")) == (said, [])


def test_another_head_than_the_judged_one_is_not_merged() -> None:
    forge = FakeForge()
    forge.opens(PR, head_sha="head-2")
    answer = told(EFFECTS["merge_pr"], Outside(forge=forge))
    said = {"merged": False, "reason": "the head moved since it was judged", "refusal": "judged_anew"}
    assert (answer, forge.seen("merge")) == (said, [])


@pytest.mark.parametrize(
    ("feedback", "says"),
    [
        (Feedback(has_unresolved_comments=True), "it has comments that are not resolved"),
        (Feedback(has_failing_checks=True), "a check fails"),
        (Feedback(all_checks_pass=False), "not all checks have passed"),
        (Feedback(awaiting_approval=True), "it lacks an approval"),
        (Feedback(changes_requested=True), "a reviewer requested changes"),
    ],
)
def test_a_pull_request_that_is_no_longer_green_is_not_merged(feedback: Feedback, says: str) -> None:
    forge = FakeForge()
    forge.opens(PR, feedback=feedback)
    answer = told(EFFECTS["merge_pr"], Outside(forge=forge))
    said = {"merged": False, "reason": f"new feedback since it was judged: {says}", "refusal": "judged_anew"}
    assert (answer, forge.seen("merge")) == (said, [])


def test_a_merge_always_names_the_head_whose_feedback_was_read() -> None:
    """An imported town may want a merge and know no head: a push after the look would have been merged unseen."""

    class PushedTo(FakeForge):
        def merge(self, asker: Asker, pr_url: str, *, head_sha: str | None, effect_id: str) -> Any:
            self.opens(pr_url, head_sha="head-8")
            return super().merge(asker, pr_url, head_sha=head_sha, effect_id=effect_id)

    forge = PushedTo()
    forge.opens(PR, head_sha="head-7")
    effect = an_effect("merge_pr", "m", 4, town_id="t1", pr_url=PR, expected=AGREED)
    assert told(effect, Outside(forge=forge)) == {"merged": False, "reason": "the head moved", "refusal": "head_moved"}


@pytest.mark.parametrize(
    ("unread", "reason", "refusal"),
    [
        ({"feedback": None}, "new feedback since it was judged: its feedback could not be read", "judged_anew"),
        ({"head_sha": None}, "the forge does not say which head it would merge", "other"),
    ],
)
def test_what_could_not_be_read_is_not_merged(unread: dict[str, Any], reason: str, refusal: str) -> None:
    forge = FakeForge()
    forge.opens(PR)
    forge.pull_requests[PR] = replace(forge.pull_requests[PR], **unread)
    effect = an_effect("merge_pr", "m", 4, town_id="t1", pr_url=PR, expected=AGREED)
    assert told(effect, Outside(forge=forge)) == {"merged": False, "reason": reason, "refusal": refusal}
