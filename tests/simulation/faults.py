"""Which fault strikes which call. A seed draws the kinds that are on and how strong they are (swarm testing).

Calls: error (not made, no answer), lost_answer (made, no answer), late (no answer; made long after the caller gave
up), twice (made twice, as a client library does that repeats a request), race (a conditional write answers 409), delay
(time passes first; others go on), crash_before and crash_after (the process dies with the call not made, or made).
"""

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final, Literal, Protocol, get_args

from shared.domain import limits
from shared.ports.steps import Call

CallFault = Literal["error", "lost_answer", "late", "twice", "race", "delay", "crash_before", "crash_after"]
WorldFault = Literal[
    "posted_twice",  # a producer repeats what was acknowledged
    "redelivered",  # an inbox object that was taken comes back
    "trigger_lost",
    "trigger_late",
    "trigger_doubled",
    "message_lost",
    "message_late",
    "message_doubled",
    "message_refused",  # SQS takes a part of a call's messages
    "messages_reordered",  # across towns
    "loop_stopped",  # somebody stops a local loop, and starts it again later
    "rush",  # two workers on one town within a second
    "outage",  # for some minutes nobody ticks
    "backlog",  # a program of the operator says more at once than a tick takes
    "clock_jumps",  # where clocks are guarded: one is wrong by seconds to years for some time
    "host_replaced",  # warm images are lost, the clock is another one
    "poison_event",
    "start_rejected",
    "no_program",  # nothing is installed that could run an agent
    "start_unknown",
    "start_unseen",  # unknown, and nothing was started
    "stop_fails",
    "status_lies",
    "message_fails",
    "agent_crashes",
    "agent_vanishes",
    "agent_hangs",
    "agent_mute",  # runs and reports nothing for a long time, then all at once: a zombie by then
    "agent_done_twice",
    "agent_reports_old",  # reports of an earlier generation
    "forge_fails",
    "forge_limits",
    "forge_lies",
    "forge_lags",  # shows a pull request as it was some looks ago
    "forge_confuses",  # shows another pull request than the one that was asked for
    "forge_hides",  # leaves out what identifies a pull request, or who may read its checks
    "forge_refuses",  # does not merge, for a reason that it alone knows
    "rig_renamed",  # the address of the rig leads to another repository for some time
    "forge_forgets",  # 404 for a pull request that exists
    "forge_expires",  # the token expires for 40 minutes
    "proof_missing",  # nobody can tell whether a merge is there
    "wrong_base",  # a pull request is opened on another branch than the agreed one
    "agent_other_branch",  # reports another branch than that of its order first
    "agent_opens_nothing",  # reports its work without the pull request that it should have opened
    "agent_names_a_stranger",  # reports somebody else's pull request
    "agent_claims_falsely",  # reports a merge that it has not made
    "agent_cut_off",  # has no network for 40 minutes and comes back
]

CALL_FAULTS: Final[tuple[CallFault, ...]] = get_args(CallFault)
WORLD_FAULTS: Final[tuple[WorldFault, ...]] = get_args(WorldFault)

_RATES_OF_THE_WORLD: Final = (0.02, 0.3)
_RATES_OF_CALLS: Final = (0.001, 0.01)
"""A run makes some forty calls. With much higher rates hardly any comes to its end, and nothing happens in a world."""
_STORE_WRITES: Final = ("create ", "replace ", "put ", "delete ")
_CONDITIONAL_WRITES: Final = ("create ", "replace ")
CALLS_OF_OUR_OWN: Final = ("clock", "monotonic clock", "sleep", "worker id", "alerts", "metrics", "tell")


def applies(kind: CallFault, name: str) -> bool:
    """Whether a fault can befall a call of that name."""
    match kind:
        case "late":
            return name.startswith(_STORE_WRITES)
        case "race":
            return name.startswith(_CONDITIONAL_WRITES)
        case "delay" | "crash_before" | "crash_after":
            return True
        case _:
            return name not in CALLS_OF_OUR_OWN


class Plan(Protocol):
    """Who decides about faults.

    `counts` is what has struck so far; `pause` how many milliseconds a delay lasts, if not as chance will have it;
    `slow_effects` says that calls of the performer take nearly all the time that they may take.
    """

    counts: Counter[str]
    pause: int | None
    slow_effects: bool

    def strike(self, call: Call) -> CallFault | None:
        """The fault that befalls this call."""
        ...

    def happens(self, kind: WorldFault) -> bool:
        """Whether this goes wrong in the world now."""
        ...


class Swarm:
    """Faults by chance; `often` are those that befall every world often, if anything does. After `calm_down` there are none."""

    def __init__(self, seed: int, *, often: Sequence[WorldFault] = ()) -> None:
        self._random = Random(f"{seed} faults")
        self.counts: Counter[str] = Counter()
        self.calm = False
        self.pause: int | None = None
        self.slow_effects = self._random.random() < 0.3
        quiet = self._random.random() < 0.1
        self.call_rates: dict[CallFault, float] = {
            kind: self._rate(*_RATES_OF_CALLS) for kind in CALL_FAULTS if self._random.random() < 0.5 and not quiet
        }
        self.world_rates: dict[WorldFault, float] = {
            kind: self._rate(*_RATES_OF_THE_WORLD)
            for kind in WORLD_FAULTS
            if self._random.random() < 0.45 and not quiet
        }
        if not quiet:
            self.world_rates |= dict.fromkeys(often, max(_RATES_OF_THE_WORLD))

    def _rate(self, least: float, most: float) -> float:
        return float(least * (most / least) ** self._random.random())

    def calm_down(self) -> None:
        self.calm = True

    def strike(self, call: Call) -> CallFault | None:
        if self.calm:
            return None
        drawn = self._random.random()
        for kind, rate in self.call_rates.items():
            drawn -= rate
            if drawn < 0:
                if not applies(kind, call.name):
                    return None
                self.counts[kind] += 1
                return kind
        return None

    def happens(self, kind: WorldFault) -> bool:
        rate = self.world_rates.get(kind)
        if self.calm or rate is None or self._random.random() >= rate:
            return False
        self.counts[kind] += 1
        return True


class One:
    """The call number `at` is struck, and for `times` > 1 the next calls of the same name too. Nothing else fails.

    A delay lasts longer than a claim.
    """

    def __init__(self, kind: CallFault | None = None, at: int = -1, *, times: int = 1) -> None:
        self.counts: Counter[str] = Counter()
        self.pause: int | None = limits.EFFECT_CLAIM // limits.MILLISECOND + 10_000
        self.slow_effects = True
        self.names: list[str] = []
        self._kind = kind
        self._at = at
        self._times = times

    def strike(self, call: Call) -> CallFault | None:
        number = len(self.names)
        self.names.append(call.name)
        if self._kind is None or number < self._at or self.counts[self._kind] >= self._times:
            return None
        if self.names[self._at] != call.name or not applies(self._kind, call.name):
            return None
        self.counts[self._kind] += 1
        return self._kind

    def happens(self, kind: WorldFault) -> bool:
        return False
