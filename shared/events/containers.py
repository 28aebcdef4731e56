"""Events about agent processes and the container in which they run (spec/events.md 4.2).

An observation becomes an event only if it passes the recording filter, so that a process that stays dead causes one event
and not one per tick. `observe` filters observations at the start of a tick; a container_status that a producer posts is
filtered in the same way when it is applied.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import ValidationError

from shared.actions import NotifyMayor
from shared.domain import ids, limits
from shared.domain.outcomes import MISSING, Applied, Rejected, Skipped
from shared.domain.processes import ProcessStatus
from shared.domain.quoting import line
from shared.domain.senders import Sender, sent_id
from shared.domain.states import AgentStatus, BeadType, DispatchOutcome, EventSource, Role
from shared.domain.times import readable_time
from shared.events.agents import AgentHeartbeat
from shared.events.base import Event, EventResult
from shared.events.fields import FreeText, Generation, IdText
from shared.town import inbox, lookup
from shared.town.inbox import Fact
from shared.town.rows import Agent
from shared.town.town import Town
from shared.town.town_keys import ContainerDrain
from shared.town.writing import agents, audit, faults, hooks, last_words, leases

_GONE = ("exited", "not_found")
_MAYOR_GONE = (*_GONE, "stopped", "failed", "error")


# Example: the process of p exits at 12:00. Every tick observes `exited`; the first observation becomes an event and is noted
# in `observed_status`, so the following ones are not new. p becomes idle and is dispatched again as generation 2, which clears
# `observed_status`. A late `exited` of generation 1 is then older than the agent and is dropped; without a
# generation it would be dropped only while the dispatch is pending. `not_found` counts only after NOT_FOUND_GRACE without
# any heartbeat, because a runtime may need a moment to list a process that it has just started.


def would_record(town: Town, agent: Agent, status: ProcessStatus) -> bool:
    """The recording filter: whether this status of the agent's process is new and matters."""
    return (
        status.status != "running"
        and not _of_older_generation(agent, status.generation)
        and agent.status.busy
        and not _too_early_to_miss(town, agent, status.status)
        and status.status != agent.observed_status
    )


def beat_in(status: ProcessStatus) -> dict[str, object] | None:
    """The payload of the heartbeat that a status stands for; None if it has no sign of life, or one that no heartbeat could be."""
    sign = status.sign
    if sign is None or status.status != "running" or readable_time(sign.at) is None:
        return None
    named = {} if status.generation is None or status.generation < 1 else {"generation": status.generation}
    payload = {**sign.said(), **named}
    try:
        AgentHeartbeat.model_validate(payload)
    except ValidationError:
        return None
    return payload


def hear(town: Town, seen: Sequence[tuple[str, ProcessStatus]]) -> None:
    """Turn the signs of life that the runtime reported into heartbeats.

    They come before the new events: what an agent has reported by then, such as its end, has the last word.
    """
    # Example: the refinery reports that it has ended, which wakes the town. Its process needs another second to end, so the runtime
    # says that it runs. If that counted last, the refinery would be working again, and only its lost process would end that.
    for agent_id, status in seen:
        payload = beat_in(status)
        if status.sign is not None and payload is not None:
            at = status.sign.at
            source = EventSource.OBSERVATION
            inbox.append(town, AgentHeartbeat.event_type, payload, source=source, agent_id=agent_id, occurred_at=at)


def observe(town: Town, seen: Sequence[tuple[str, ProcessStatus]]) -> None:
    """Turn what the runtime reported about agents at the start of the tick into events, if it passes the filter."""
    known = lookup.agents(town, [agent_id for agent_id, _ in seen])
    for agent_id, status in seen:
        if agent_id in known:
            _observe(town, known[agent_id], status)


def _observe(town: Town, agent: Agent, seen: ProcessStatus) -> None:
    """`running` is never an event; it ends an episode, so that any other status after it is new again.

    A status without a generation is ignored while the newest dispatch is pending: it may be from an earlier process.
    """
    if _of_older_generation(agent, seen.generation):
        return
    if seen.generation is None and agent.last_dispatch_outcome is DispatchOutcome.PENDING:
        return
    if seen.status == "running":
        if agent.observed_status is not None:
            agents.observe(town, agent.id, None)
    elif would_record(town, agent, seen):
        payload = {"status": seen.status, "exit_reason": _field_text(seen.exit_reason), "generation": seen.generation}
        given = {name: value for name, value in payload.items() if value}
        inbox.append(town, ContainerStatus.event_type, given, source=EventSource.OBSERVATION, agent_id=agent.id)
        agents.observe(town, agent.id, seen.status)


def _field_text(reason: str | None) -> str | None:
    """The runtime's text, cut to the size of a field."""
    if reason is None:
        return None
    return reason.replace("\0", "").encode(errors="replace")[: limits.FIELD_SIZE].decode(errors="ignore")


def _of_older_generation(agent: Agent, generation: int | None) -> bool:
    return generation is not None and generation < agent.generation


def _too_early_to_miss(town: Town, agent: Agent, status: str) -> bool:
    """Whether a process that was not found sent a heartbeat so recently that it does not count as missing."""
    if status != "not_found" or agent.last_activity_at is None:
        return False
    return town.tick.now - agent.last_activity_at < limits.NOT_FOUND_GRACE


class ContainerStatus(Event):
    """The runtime reports the status of an agent's process."""

    event_type = "container_status"
    needs = ("agent_id",)
    senders = frozenset({"container", "operator"})

    status: Literal["starting", "running", "stopping", "stopped", "exited", "failed", "error", "not_found", "unknown"]
    exit_reason: FreeText | None = None
    generation: Generation | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """If the process has ended, make its agent idle. The agent keeps its hook, so that the same work is dispatched again,
        unless it is a refinery whose review has ended.
        """
        agent = lookup.agent(town, fact.agent_id)
        if agent is None:
            return EventResult(MISSING)
        if _of_older_generation(agent, self.generation):
            return EventResult(Skipped("stale generation"))
        if fact.source != EventSource.OBSERVATION and not self._record(town, agent):
            return EventResult(Skipped("filtered"))
        if self.status == "exited" and self.generation is not None:
            # `not_found` is no proof: a runtime that lost its memory, or another container, says it of a process that runs
            leases.note_end(town, agent.id, self.generation)
        told: tuple[NotifyMayor, ...] = ()
        if self._ended(town, agent):
            fault = faults.fault_in(self.exit_reason)
            told = () if fault is None else self._put_back(town, agent, fault)
            if fault is None:
                self._release(town, agent)
                last_words.keep(town, agent, self.exit_reason, generation=self.generation)
            self._note_exit(town, agent)
        return EventResult(Applied(), told)

    def _record(self, town: Town, agent: Agent) -> bool:
        """Apply the recording filter to a posted status, and note it; False if it is filtered."""
        if self.status == "running":
            agents.observe(town, agent.id, None)
            return False
        if not would_record(town, agent, ProcessStatus(self.status, self.exit_reason, self.generation)):
            return False
        agents.observe(town, agent.id, self.status)
        return True

    def _ended(self, town: Town, agent: Agent) -> bool:
        return (
            self.status in (_MAYOR_GONE if agent.role is Role.MAYOR else _GONE)
            and agent.status.busy
            and not _too_early_to_miss(town, agent, self.status)
        )

    def _release(self, town: Town, agent: Agent) -> None:
        agents.mark_lost(town, agent.id)
        if agent.role is Role.REFINERY and _reviews_nothing_live(agent):
            hooks.unhook(town, agent.id)
        agents.move(town, agent.id, AgentStatus.IDLE)

    def _put_back(self, town: Town, agent: Agent, fault: str) -> tuple[NotifyMayor, ...]:
        """A process that could not work says nothing about its bead, which is tried again. A person is told."""
        reason = self.exit_reason or fault
        made = faults.put_back(town, agent, fault, reason)
        if made is None:
            return ()
        return (
            NotifyMayor(subject=f"escalation:{made}", message=f"Escalation (high): agents cannot work: {line(reason)}"),
        )

    def _note_exit(self, town: Town, agent: Agent) -> None:
        audit.record(
            town,
            agent.id if agent.hook is None else agent.hook,
            "agent_exited",
            agent_id=agent.id,
            new=self.status,
            metadata={"reason": self.exit_reason},
        )


def _reviews_nothing_live(agent: Agent) -> bool:
    hooked = agent.hooked
    return hooked is not None and hooked.type is BeadType.MERGE_REQUEST and hooked.status.terminal


class ContainerEviction(Event):
    """The town's container will be evicted: nothing is dispatched until it is replaced."""

    event_type = "container_eviction"
    senders = frozenset({"container", "operator"})

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Begin a drain. A newer one replaces an older one."""
        town.keys.drain = ContainerDrain(drain_nonce(town.tick.town_id, fact.event_id, fact.sender), town.tick.now)
        return EventResult(Applied())


def drain_nonce(town_id: str, event_id: str, sender: Sender | None = None) -> str:
    """The nonce of the drain that a container_eviction begins. The container that sends the event can compute it in advance.

    The same id of another sender gives another nonce, so that no sender can end a drain by repeating the id of its eviction.
    """
    if sender is None or sender.scope == "container":
        return ids.derived_from(town_id, f"drain:{sent_id(event_id)}")
    return ids.derived_from(town_id, f"drain:{event_id}@{sender.scope}")


class ContainerReady(Event):
    """The new container is running. The nonce shows which drain it ends."""

    event_type = "container_ready"
    senders = frozenset({"container", "operator"})

    nonce: IdText

    def apply(self, fact: Fact, town: Town) -> EventResult:  # noqa: ARG002 - the nonce is enough
        """End the drain."""
        drain = town.keys.drain
        if drain is None:
            return EventResult(Applied())
        if drain.nonce != self.nonce:
            return EventResult(Rejected("wrong nonce"))
        town.keys.drain = None
        return EventResult(Applied())
