"""The state functions keep their guards whatever is asked of them in whatever order (spec/data-model.md section 3)."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.domain.config import TownConfig
from shared.domain.ids import IdMaker
from shared.domain.states import AgentStatus, BeadStatus, Role
from shared.domain.tick import Tick
from shared.domain.times import to_text
from shared.town import database, lookup
from shared.town.town import Town
from shared.town.writing import agents, beads, hooks, reviews
from shared.town.writing.agents import Watermark
from tests.properties.amount import examples
from tests.towns import TOWN, T, TownBuilder, a_town, ago

BEADS = ("issue", "review", "message", "escalation", "question", "done", "lost")
AGENTS = ("p1", "p2", "f1", "mayor")
UNHOOKABLE = {"message", "escalation", "question"}


def _filled() -> TownBuilder:
    return (
        a_town()
        .bead("issue")
        .review("review", of="issue")
        .bead("message", "message")
        .bead("escalation", "escalation")
        .bead("question", labels=["gt:triage-request"])
        .bead("done", status="closed")
        .bead("lost", status="failed")
        .agent("p1")
        .agent("p2")
        .agent("f1", "refinery")
    )


@cache
def _image() -> bytes:
    return _filled().image()


@contextmanager
def _a_town() -> Iterator[Town]:
    builder = TownBuilder(sql=database.open_image(_image()))
    about = Tick(TOWN, 2, "2-test", T, TownConfig(), IdMaker(TOWN, 2))
    yield Town(sql=builder.sql, tick=about, next_audit_seq=1)


Call = tuple[str, tuple[Any, ...]]
CALLS: st.SearchStrategy[Call] = st.one_of(
    st.tuples(st.just("hook"), st.tuples(st.sampled_from(AGENTS), st.sampled_from((*BEADS, "missing")))),
    st.tuples(st.just("unhook"), st.tuples(st.sampled_from((*AGENTS, "missing")))),
    st.tuples(
        st.just("move_bead"),
        st.tuples(st.sampled_from(BEADS), st.sampled_from(BeadStatus), st.none() | st.sampled_from(BeadStatus)),
    ),
    st.tuples(
        st.just("move_agent"),
        st.tuples(st.sampled_from(AGENTS), st.sampled_from(AgentStatus), st.none() | st.sampled_from(AgentStatus)),
    ),
    st.tuples(st.just("complete"), st.tuples(st.sampled_from(("merged", "failed", "conflict")))),
    st.tuples(st.just("beat"), st.tuples(st.sampled_from(AGENTS), st.integers(0, 200))),
)


def _call(town: Town, call: Call) -> Any:
    name, given_ = call
    match name:
        case "hook":
            return hooks.hook(town, *given_)
        case "unhook":
            return hooks.unhook(town, *given_)
        case "move_bead":
            return beads.move(town, given_[0], given_[1], from_=given_[2])
        case "move_agent":
            return agents.move(town, given_[0], given_[1], from_=given_[2])
        case "complete":
            return reviews.complete(town, "review", given_[0], message="over")
        case _:
            agent = lookup.agent(town, given_[0])
            assert agent is not None
            return agents.touch(town, agent, ago(seconds=given_[1]), Watermark())


def _statuses(town: Town) -> dict[str, str]:
    return dict(town.sql.execute("SELECT bead_id, status FROM beads ORDER BY bead_id").fetchall())


def _agents(town: Town) -> dict[str, Any]:
    return {name: lookup.agent(town, name) for name in AGENTS}


@examples(60)
@given(st.lists(CALLS, max_size=12))
def test_terminal_beads_stay_and_hooks_are_legal_after_any_calls(calls: list[Call]) -> None:
    with _a_town() as town:
        for call in calls:
            before = _statuses(town)
            _call(town, call)
            after = _statuses(town)
            assert {
                bead: status for bead, status in before.items() if status in ("closed", "failed")
            }.items() <= after.items()
            hooked = [agent.hook for agent in _agents(town).values() if agent.hook is not None]
            assert len(hooked) == len(set(hooked)), "two agents are hooked to one bead"
            assert not UNHOOKABLE & set(hooked)
            assert _agents(town)["mayor"].hook is None
            for agent in _agents(town).values():
                assert (agent.stalled_at is not None) == (agent.status is AgentStatus.STALLED)
                assert agent.status is not AgentStatus.WAITING or agent.role is Role.MAYOR


@examples(60)
@given(
    st.lists(CALLS, max_size=8),
    st.sampled_from(BEADS),
    st.sampled_from(BeadStatus),
    st.none() | st.sampled_from(BeadStatus),
)
def test_a_bead_moves_as_its_table_says(calls: list[Call], bead: str, to: BeadStatus, from_: BeadStatus | None) -> None:
    with _a_town() as town:
        for call in calls:
            _call(town, call)
        before = _statuses(town)[bead]
        audited = town.next_audit_seq
        moved = beads.move(town, bead, to, from_=from_)
        if before == to:
            expected = "already"
        elif before in ("closed", "failed"):
            expected = "terminal"
        elif from_ is not None and from_ != before:
            expected = "moved_on"
        else:
            expected = "moved"
        assert moved == expected
        assert _statuses(town)[bead] == (to if moved == "moved" else before)
        assert (town.next_audit_seq > audited) == (moved == "moved")
        assert beads.move(town, bead, to) in (("already",) if moved in ("moved", "already") else ("terminal", "moved"))


@examples(60)
@given(st.lists(CALLS, max_size=8), st.sampled_from(AGENTS))
def test_unhooking_twice_is_unhooking_once(calls: list[Call], name: str) -> None:
    with _a_town() as town:
        for call in calls:
            _call(town, call)
        before = lookup.agent(town, name)
        assert before is not None
        assert hooks.unhook(town, name) == (before.hook is not None)
        once = town.sql.execute("SELECT * FROM agent_metadata ORDER BY bead_id").fetchall()
        assert hooks.unhook(town, name) is False
        assert town.sql.execute("SELECT * FROM agent_metadata ORDER BY bead_id").fetchall() == once
        after = lookup.agent(town, name)
        assert after is not None
        assert after.hook is None
        assert before.status is not AgentStatus.DEAD or after.status is AgentStatus.DEAD


@examples(60)
@given(st.lists(CALLS, max_size=8), st.sampled_from(AGENTS), st.sampled_from(BEADS))
def test_a_hook_takes_the_bead_from_whoever_had_it_or_changes_nothing(calls: list[Call], name: str, bead: str) -> None:
    with _a_town() as town:
        for call in calls:
            _call(town, call)
        before, others = lookup.agent(town, name), lookup.hooked_agent_ids(town, bead)
        assert before is not None
        audited = town.next_audit_seq
        refused = hooks.hook(town, name, bead)
        after = lookup.agent(town, name)
        assert after is not None
        if refused is not None or before.hook == bead:
            assert after == before
            assert town.next_audit_seq == audited
            assert lookup.hooked_agent_ids(town, bead) == others
        else:
            assert lookup.hooked_agent_ids(town, bead) == [name]
            assert after.status is AgentStatus.IDLE
            taken = lookup.bead(town, bead)
            assert taken is not None
            assert taken.assignee == name


@examples(60)
@given(st.lists(CALLS, max_size=8), st.sampled_from(AGENTS), st.integers(-100, 200))
def test_a_heartbeat_only_moves_time_forward(calls: list[Call], name: str, seconds: int) -> None:
    with _a_town() as town:
        for call in calls:
            _call(town, call)
        before = lookup.agent(town, name)
        assert before is not None
        agents.touch(town, before, ago(seconds=seconds), Watermark())
        after = lookup.agent(town, name)
        assert after is not None
        assert after.last_activity_at is not None
        assert to_text(after.last_activity_at) >= to_text(before.last_activity_at or ago(days=1))
        assert after.last_activity_at <= T, "a clock that is ahead does not make an agent alive in the future"
