"""Phase 15: perform the claimed effects, after the commit. Every result becomes an event; only that event changes state.

Effects of one agent or one MR run one after another in order of creation (stops first), others in parallel. Each attempt
carries the effect id as its idempotency key. An effect that cannot be started in time stays claimed. When the claim has ended, a
later tick claims it again under the same key, or expires it if no attempt is left.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from shared.domain import limits
from shared.domain.effect_allowances import ALLOWANCE
from shared.domain.notice_orders import NoticeOrder
from shared.domain.orders import (
    ContainerStopOrder,
    MayorOrder,
    ModelOrder,
    NudgeOrder,
    StartOrder,
    StopOrder,
    TokenOrder,
    addressee_of,
)
from shared.domain.report import ClaimedEffect
from shared.domain.states import EffectKind
from shared.domain.tick import Observations
from shared.ports.forge import MergeProver, SourceForge
from shared.ports.notices import Notices
from shared.ports.runtime import AgentRuntime, Done, NotDone, Started, StartRejected
from shared.ports.steps import Call, NotBegun, Steps, Together
from shared.runner.forge_effects import FORGE_EFFECTS, ForgeEffect
from shared.runner.life import Life
from shared.runner.proving import verify
from shared.runner.result_events import Result, ResultEvent, event_of, failure, result_of_broken, short, success

_NO_RUNTIME: Final = "no agent runtime is configured"
_NO_NOTICES: Final = "no channel to people is configured"
_NO_SESSION: Final = ("not_found", "exited", "stopped", "failed", "error")


@dataclass(frozen=True, slots=True)
class Outside:
    """The adapters that effects call. Without an adapter, an effect fails with the typed failure of its kind."""

    runtime: AgentRuntime | None = None
    forge: SourceForge | None = None
    prover: MergeProver | None = None
    """What checks whether a merge has happened; None: the forge."""
    notices: Notices | None = None


@dataclass(slots=True)
class Performed:
    """How many effects of one tick were attempted, and with which result."""

    attempted: int = 0
    succeeded: int = 0
    failed: int = 0
    not_started: int = 0


def rounds_of(effects: tuple[ClaimedEffect, ...]) -> list[tuple[ClaimedEffect, ...]]:
    """The effects in rounds. Those of a round may run in parallel: at most one of each agent or MR, stops first."""
    lanes: dict[str, list[ClaimedEffect]] = {}
    for effect in sorted(effects, key=lambda each: (each.kind != EffectKind.STOP_AGENT, each.seq)):
        lane = addressee_of(effect.payload) or effect.subject
        lanes.setdefault(lane, []).append(effect)
    longest = max((len(lane) for lane in lanes.values()), default=0)
    return [tuple(lane[turn] for lane in lanes.values() if turn < len(lane)) for turn in range(longest)]


def perform(
    effects: tuple[ClaimedEffect, ...],
    outside: Outside,
    *,
    time: Callable[[], Steps[datetime]],
    claimed_at: datetime,
    life: Life | None = None,
    post: Callable[[tuple[ResultEvent, ...]], Steps[None]],
) -> Steps[Performed]:
    """Start every effect that can still be started, and hand the result events of each round to `post`.

    No answer is waited for longer than the longest timeout of its round, whatever its adapter does: then its result is unknown.
    No effect is started whose timeout would end after the `life` of the process: its answer would be lost.

    `time` gives the time, as `Surroundings.time` does. If the clock was set meanwhile, its error is raised, and the effects of
    this round and the later ones stay claimed.

    Time counts from the claim (the tick's `now`), not from the end of the commit: a commit may take minutes, and when the claim
    has ended, another worker may make the next attempt.
    """
    done = Performed()
    for round_ in rounds_of(effects):
        now = yield from time()
        startable = tuple(effect for effect in round_ if _in_time(effect, now, claimed_at, life))
        done.not_started += len(round_) - len(startable)
        if not startable:
            continue
        answers = yield Together(
            tuple(
                Call(
                    f"{effect.kind} {effect.subject} attempt {effect.attempt}",
                    partial(_answer, effect, outside),
                    ALLOWANCE[EffectKind(effect.kind)].timeout.total_seconds(),
                )
                for effect in startable
            )
        )
        results = []
        for effect, answer in zip(startable, answers, strict=True):
            if isinstance(answer, NotBegun):
                done.not_started += 1
                continue
            result = result_of_broken(effect, answer) if isinstance(answer, Exception) else answer
            done.attempted += 1
            if result.succeeded:
                done.succeeded += 1
            else:
                done.failed += 1
            results.append(event_of(effect, result))
        yield from post(tuple(results))
    return done


def can_be_heard(effect: ClaimedEffect, now: datetime, life: Life) -> bool:
    """Whether the answer of an effect that is begun now arrives within this life, however slow it is."""
    return now <= life.begin_effect_until(ALLOWANCE[EffectKind(effect.kind)].timeout)


def acknowledge(seen: Observations, outside: Outside, *, town_id: str) -> Steps[None]:
    """After the commit: tell the runtime which signs of life the town has. If the call is lost, heartbeats are sent for nothing."""
    # Only a commit says so, and no look: a worker may die between the two, and another one may not reach the runtime in time. Nor
    # does a dry run, which looks as a tick does and commits nothing.
    heard = tuple((agent_id, status) for agent_id, status in seen.agents if status.sign is not None)
    if outside.runtime is None or not heard:
        return
    within = limits.ACKNOWLEDGE_WITHIN.total_seconds()
    yield Together((Call("heard", partial(outside.runtime.heard, town_id, heard), within),))


def _in_time(effect: ClaimedEffect, now: datetime, claimed_at: datetime, life: Life | None) -> bool:
    """Whether an effect may be started now: not too long after its claim, and early enough for its answer to arrive."""
    if now - claimed_at > limits.EFFECT_START_DEADLINE:
        return False
    return life is None or can_be_heard(effect, now, life)


def _answer(effect: ClaimedEffect, outside: Outside) -> Result:
    return _PERFORM[EffectKind(effect.kind)](effect, outside)


def _dispatch(effect: ClaimedEffect, outside: Outside) -> Result:
    generation = effect.generation
    order = effect.order(StartOrder)
    if order.rig is None:
        return failure(generation=generation, outcome="rejected", reason="no_rig_config")
    if outside.runtime is None:
        return failure(generation=generation, outcome="rejected", reason=_NO_RUNTIME, kind="no_agent_program")
    answer = outside.runtime.start(order, effect_id=effect.effect_id)
    if isinstance(answer, Started):
        return success(generation=generation, outcome="started", process_id=answer.process_id)
    reason = short(answer.reason) or "no reason given"
    if not isinstance(answer, StartRejected):
        return failure(generation=generation, outcome="unknown", reason=reason)
    kind = {"kind": answer.kind} if answer.kind == "no_agent_program" else {}
    return failure(generation=generation, outcome="rejected", reason=reason, **kind)


def _stop(effect: ClaimedEffect, outside: Outside) -> Result:
    if outside.runtime is None:
        return failure(generation=effect.generation, ok=False, error=_NO_RUNTIME)
    order = effect.order(StopOrder)
    answer = outside.runtime.stop(
        order.town_id, order.agent_id, generation=effect.generation, effect_id=effect.effect_id
    )
    return _ok(answer, generation=effect.generation)


def _nudge(effect: ClaimedEffect, outside: Outside) -> Result:
    order = effect.order(NudgeOrder)
    answer = _message(
        outside, order.town_id, order.agent_id, message_id=order.nudge_id, text=order.message, mode=order.mode
    )
    return _delivered(answer, nudge_id=order.nudge_id)


def _tell_mayor(effect: ClaimedEffect, outside: Outside) -> Result:
    """Send the message to the mayor's session. If the runtime reports no session, start one with the message."""
    order = effect.order(MayorOrder)
    if order.agent_id is None:
        return failure(delivered=False, error="the town has no mayor")
    message_id = order.message_id or effect.effect_id
    told = _message(outside, order.town_id, order.agent_id, message_id=message_id, text=order.message, mode="queue")
    if isinstance(told, Done) or outside.runtime is None or order.start is None:
        return _delivered(told)
    if outside.runtime.status(order.town_id, order.agent_id).status not in _NO_SESSION:
        return _delivered(told)
    start = replace(order.start, message=order.message, message_id=order.message_id)
    started = outside.runtime.start(start, effect_id=effect.effect_id)
    return _delivered(Done() if isinstance(started, Started) else NotDone(started.reason, passing=True))


def _refresh_token(effect: ClaimedEffect, outside: Outside) -> Result:
    if outside.runtime is None:
        return _unconfigured(effect)
    return _ok(outside.runtime.refresh_token(effect.order(TokenOrder), effect_id=effect.effect_id), kind=effect.kind)


def _stop_container(effect: ClaimedEffect, outside: Outside) -> Result:
    if outside.runtime is None:
        return _unconfigured(effect)
    town_id = effect.order(ContainerStopOrder).town_id
    return _ok(outside.runtime.stop_container(town_id, effect_id=effect.effect_id), kind=effect.kind)


def _update_model(effect: ClaimedEffect, outside: Outside) -> Result:
    if outside.runtime is None:
        return _unconfigured(effect)
    order = effect.order(ModelOrder)
    return _ok(outside.runtime.update_model(order, effect_id=effect.effect_id), kind=effect.kind)


def _send_notice(effect: ClaimedEffect, outside: Outside) -> Result:
    if outside.notices is None:
        return failure(kind=effect.kind, ok=False, error=_NO_NOTICES)
    untold = outside.notices.send(effect.order(NoticeOrder), effect_id=effect.effect_id)
    if untold is None:
        return success(kind=effect.kind, ok=True)
    return failure(kind=effect.kind, ok=False, error=short(untold.error), passing=untold.passing)


def _verify(effect: ClaimedEffect, outside: Outside) -> Result:
    return verify(effect, outside.forge if outside.prover is None else outside.prover)


def _at_forge(act: ForgeEffect, effect: ClaimedEffect, outside: Outside) -> Result:
    return act(effect, outside.forge)


_PERFORM: Final[Mapping[EffectKind, Callable[[ClaimedEffect, Outside], Result]]] = {
    EffectKind.DISPATCH_AGENT: _dispatch,
    EffectKind.STOP_AGENT: _stop,
    **{kind: partial(_at_forge, act) for kind, act in FORGE_EFFECTS.items()},
    EffectKind.VERIFY_MERGE: _verify,
    EffectKind.SEND_NUDGE: _nudge,
    EffectKind.NOTIFY_MAYOR: _tell_mayor,
    EffectKind.REFRESH_TOKEN: _refresh_token,
    EffectKind.STOP_CONTAINER: _stop_container,
    EffectKind.UPDATE_MODEL: _update_model,
    EffectKind.SEND_NOTICE: _send_notice,
}


def _message(outside: Outside, town_id: str, agent_id: str, *, message_id: str, text: str, mode: str) -> Done | NotDone:
    if outside.runtime is None:
        return NotDone(_NO_RUNTIME, passing=True)
    return outside.runtime.message(town_id, agent_id, message_id=message_id, text=text, mode=mode)


def _ok(answer: Done | NotDone, **about: object) -> Result:
    if isinstance(answer, Done):
        return success(**about, ok=True)
    return failure(**about, ok=False, error=short(answer.error), passing=answer.passing)


def _delivered(answer: Done | NotDone, **about: object) -> Result:
    if isinstance(answer, Done):
        return success(**about, delivered=True)
    return failure(**about, delivered=False, error=short(answer.error), passing=answer.passing)


def _unconfigured(effect: ClaimedEffect) -> Result:
    return failure(kind=effect.kind, ok=False, error=_NO_RUNTIME)
