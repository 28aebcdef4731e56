"""A status with everything in it, among it long names in several scripts: what tables must cope with."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from shared.domain.states import AgentStatus, BeadStatus, BeadType, EffectKind, Role
from shared.questions.activity import LastHour
from shared.questions.agent_log import FailedStart
from shared.questions.failures import FailedLine
from shared.questions.overview import BeadLine, ConvoyLine, ForgeLine, OpenViolation
from shared.questions.setting_changes import SettingChange
from shared.questions.setting_history import SettingsEvent
from shared.questions.spend import DaySpend, Spend
from shared.questions.status import AgentLine, BeadSummary, BreakerState, Commit, EventCounts, TownStatus
from shared.questions.waiting import Need, QueuePlace, Waiting, WaitingReason, WaitRoot
from tests.towns import T, ago

HELD: Final = "5649000b-1111-2222-3333-444455556666"
LONG: Final = "Die Mütze des Donaudampfschifffahrtsgesellschaftskapitäns prüfen"
CJK: Final = "日本語のとても長い題名をもつビーズと、そのあとに続く説明"
EMOJI: Final = "Mend the 🚪 and the 🪟 of the house by the river, and then the roof"
SPENT: Final = Spend(12_000, 900, 8_000, 41_000, cost_is_lower_bound=True)
IDLE: Final = TownStatus(
    town_id="alpha",
    as_of=Commit(7, 7, T),
    now=T,
    next_due_at=None,
    only_an_event_wakes_it=True,
    ahead_seconds=None,
    own_clock=False,
    paused=False,
    draining=False,
    settling=False,
    breaker=BreakerState(open=False, since=None, failures=0),
    agents=(),
    beads=(),
    waiting=(),
    failed=(),
    refused_by_forge=(),
    abandoned=(),
    convoys=(),
    violations=(),
    unreadable=(),
    inbox_batches=0,
    events=EventCounts(0, 0, None),
    last_tick=None,
    alarms=(),
    bead_summary=BeadSummary(0, {}),
    waiting_summary={},
    unread_mail=(),
    mayor_said=(),
    merges_unproven=0,
    spend=(),
    last_hour=LastHour(T - timedelta(minutes=58), 2, 0, 0, (0,) * 30, (0,) * 30),
)


def a_full_town() -> TownStatus:
    """Alpha: one bead waits for a person, some work, 46 wait in all, 20 agents rest."""
    beads = (
        BeadLine("lexer", BeadType.ISSUE, BeadStatus.IN_PROGRESS, "Write the lexer", "rig-1"),
        BeadLine("parser", BeadType.ISSUE, BeadStatus.OPEN, "Write the parser, which needs the lexer", "rig-1"),
        BeadLine("wire", BeadType.ISSUE, BeadStatus.OPEN, "Wire them together", "rig-1"),
        BeadLine(HELD, BeadType.ISSUE, BeadStatus.OPEN, LONG, "rig-1"),
        BeadLine("review", BeadType.MERGE_REQUEST, BeadStatus.OPEN, "Review: gt/toast/1b8c9b03", "rig-1"),
        BeadLine("door", BeadType.ISSUE, BeadStatus.OPEN, EMOJI, "rig-1"),
        *(BeadLine(f"more-{each:02}", BeadType.ISSUE, BeadStatus.OPEN, f"{CJK} {each}", "rig-1") for each in range(40)),
    )
    waits = (
        _waits("parser", "blocked_by", actor="lexer"),
        _waits("wire", "blocked_by", actor="parser", root=WaitRoot("lexer", "in_progress", None, T, None, None, 2, 1)),
        _waits(HELD, "held", actor="operator", needs=(Need("bead_updated", HELD, ("coordinator", "operator")),)),
        _waits("review", "awaiting_review", actor="rusty", queue=QueuePlace(1, 3, ())),
        _waits("door", "cooldown", due_at=T + timedelta(minutes=13)),
    )
    agents = (
        *(_agent(f"idle-{each:02}", f"Idle{each:02}", AgentStatus.IDLE, None) for each in range(20)),
        _agent("toast", "Toast", AgentStatus.WORKING, "lexer"),
        replace(_agent("rusty", "Rusty", AgentStatus.STALLED, "review"), role=Role.REFINERY),
    )
    return replace(
        IDLE,
        as_of=Commit(119, 118, ago(minutes=2)),
        next_due_at=T + timedelta(hours=23, minutes=50),
        agents=agents,
        beads=beads,
        waiting=waits,
        failed=(
            FailedLine(
                "gate",
                BeadType.ISSUE,
                "Hang the gate",
                ago(hours=3),
                "attempts",
                "5 starts of an agent failed",
                "house",
                ago(hours=3, minutes=4),
                ago(hours=5),
                attempts_at_most=5,
                newest_start=FailedStart("a1", 3, "crashed (exit code 1)"),
                last_line="gate: there is no hinge",
                holds_back=("wire",),
                changed=(
                    SettingsEvent(
                        97,
                        ago(hours=4),
                        "change-97",
                        "rig_registered",
                        "ben",
                        None,
                        (SettingChange("merge_strategy", "house", None, "pr"),),
                    ),
                ),
            ),
        ),
        refused_by_forge=(
            ForgeLine("review", EffectKind.MERGE_PR, ago(minutes=9), "405: the base branch was modified"),
        ),
        convoys=(ConvoyLine("kitchen", BeadStatus.OPEN, False, f"A new kitchen: {CJK}", 4, 1, None, "active", SPENT),),
        violations=(OpenViolation(3, "review", ago(minutes=1), "an open merge request tracks nothing"),),
        spend=(DaySpend("2026-01-10", SPENT), DaySpend("2026-01-09", SPENT)),
        draining=True,
    )


def _waits(bead_id: str, reason: WaitingReason, **more: Any) -> Waiting:
    known: dict[str, Any] = {"due_at": None, "actor": None, "root": None, "queue": None, "needs": (), **more}
    return Waiting(bead_id=bead_id, reason=reason, since=ago(minutes=5), rule="B1", guards=(), **known)


def _agent(agent_id: str, name: str, status: AgentStatus, hook: str | None) -> AgentLine:
    says = "Running the tests of the lexer once more" if status is AgentStatus.WORKING else None
    identity = f"{name}-polecat-rig-1@alpha"
    return AgentLine(agent_id, identity, Role.POLECAT, status, hook, 3, ago(seconds=20), says, SPENT if hook else None)
