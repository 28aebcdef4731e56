"""The orderly shutdown of a container: announce it to the town, save the agents' work, report how the agents ended.

1. Refuse new starts, and post `container_eviction`, so that the town dispatches no agents until the container is replaced.
   This event is omitted if no agent is running, because then the container was stopped for being idle and the town must not
   wait for a successor. It is also omitted by the container of a single agent, which has no successor.
2. Tell every agent to commit, push and end. Wait a few seconds, then stop those that still run.
3. Commit the unsaved work in their worktrees and push it to the agents' branches, in parallel and within a few seconds.
4. Post `agent_completed` with the reason `container eviction` for each agent.

The nonce of the drain is derived from the event's id. A new instance that finds the nonce, on a persistent volume or in
TOWN_DRAIN_NONCE, ends the drain at once with `container_ready`. Otherwise the drain ends with the first heartbeat from
another instance, or after seven minutes.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from infra.agents.control_server.reporter import Reporter
from infra.agents.control_server.sessions import Sessions
from infra.agents.control_server.settings import ControlServerSettings
from infra.agents.control_server.watch import EVICTED, Session, Watch
from shared.adapters import outside_files
from shared.adapters.clock import Budget, wait_for
from shared.adapters.local_supervisor import write_atomically
from shared.events.containers import drain_nonce

NONCE_VARIABLE: Final = "TOWN_DRAIN_NONCE"
_DRAIN: Final = "drain.json"
_LAST_MESSAGE: Final = "Your container is about to be taken away. Commit and push what you have, then end."
_SAVE_SECONDS: Final = 10.0
_REPORT_SECONDS: Final = 10.0
"""Saving and reporting take at most 20 s, so the platform's stop timeout must exceed the agents' time by 20 s (Dockerfile)."""
_AT_ONCE: Final = 16


def evict(settings: ControlServerSettings, sessions: Sessions, watch: Watch, reporter: Reporter) -> list[str]:
    """Shut down the town's container. Returns one line per agent about its work."""
    sessions.take_no_more_starts()
    agents = watch.drain()
    if agents:
        nonce = drain_nonce(settings.town_id, _event_id(settings))
        settings.root.mkdir(parents=True, exist_ok=True)
        write_atomically(settings.root / _DRAIN, {"nonce": nonce, "instance_id": settings.instance_id})
        reporter.fact(reporter.event("container_eviction", _event_id(settings), {}))
    return _end_all(agents, settings, sessions, watch, reporter)


def leave(settings: ControlServerSettings, sessions: Sessions, watch: Watch, reporter: Reporter) -> list[str]:
    """Shut down the container of a single agent, without announcing an eviction to the town."""
    sessions.take_no_more_starts()
    return _end_all(watch.drain(), settings, sessions, watch, reporter)


def announce_ready(settings: ControlServerSettings, reporter: Reporter) -> bool:
    """End the drain that an earlier instance started. Returns False if its nonce is unknown."""
    path = settings.root / _DRAIN
    nonce = os.environ.get(NONCE_VARIABLE) or _kept_nonce(settings)
    if not nonce:
        return False
    reporter.fact(reporter.event("container_ready", f"ready:{settings.instance_key}", {"nonce": nonce}))
    path.unlink(missing_ok=True)
    return True


def _end_all(
    agents: Sequence[Session], settings: ControlServerSettings, sessions: Sessions, watch: Watch, reporter: Reporter
) -> list[str]:
    message_id = _event_id(settings)
    for agent in agents:
        sessions.runtime.message(
            settings.town_id, agent.agent_id, message_id=message_id, text=_LAST_MESSAGE, mode="immediate"
        )
    wait_for(lambda: not sessions.runtime.running(settings.town_id), seconds=settings.eviction_seconds, every=0.1)
    time_left = Budget(_SAVE_SECONDS)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        lines = list(pool.map(lambda agent: _end(agent, settings.town_id, sessions, watch, time_left), agents))
    reporter.finish(seconds=_REPORT_SECONDS)
    return lines


def _event_id(settings: ControlServerSettings) -> str:
    return f"evict:{settings.instance_key}"


def _kept_nonce(settings: ControlServerSettings) -> str | None:
    try:
        kept = outside_files.json_of(settings.root / _DRAIN)
        return str(kept["nonce"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _end(agent: Session, town_id: str, sessions: Sessions, watch: Watch, time_left: Budget) -> str:
    """Stop one agent, save its work and report its end to the town. Returns a line about its work."""
    newest = sessions.runtime.newest(town_id, agent.agent_id)
    order = newest.context() if newest is not None else None
    sessions.runtime.stop(town_id, agent.agent_id, generation=agent.generation, effect_id=EVICTED)
    saved = "nothing to save"
    if newest is not None and order is not None:
        work = newest.directory.parent / "work"
        saved = sessions.save(work, order, cancelled=lambda: time_left.left() == 0)
    watch.report_end(agent.agent_id, agent.generation, EVICTED, clean=True)
    return f"{agent.agent_id} generation {agent.generation}: {saved}"
