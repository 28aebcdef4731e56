"""The orderly end of a container: the town is told, agents save their work, the town is told what became of them.

1. No start is taken any more; `container_eviction` goes out, so that the town dispatches nothing until it is replaced. Not so
   if no agent runs (an idle container was stopped because it was idle, and a town must not wait for its successor), and not
   from the container of one agent, which no other agent lives in.
2. Every agent is written to ("commit and push"), given some seconds, and then ended.
3. What lies uncommitted or unpushed in a worktree is pushed on the agent's branch, all at once and within some seconds.
4. `agent_completed` with the reason `container eviction` for each.

The nonce of the drain follows from the event's id. Whoever keeps the directory (a volume) or TOWN_DRAIN_NONCE can end the
drain at once with `container_ready`; else the first heartbeat of another instance does, else the seven minutes.
"""

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from infra.agents.control_server.reporter import Reporter
from infra.agents.control_server.sessions import Sessions
from infra.agents.control_server.settings import Settings
from infra.agents.control_server.watch import EVICTED, Session, Watch
from shared.adapters.clock import Budget, wait_for
from shared.adapters.local_supervisor import write_atomically
from shared.events.containers import drain_nonce

_DRAIN: Final = "drain.json"
_LAST_WORDS: Final = "Your container is about to be taken away. Commit and push what you have, then end."
_SAVE_SECONDS: Final = 10.0
_REPORT_SECONDS: Final = 10.0
"""Together the 20 s that the platform's stop time-out must be longer than the agents' time (Dockerfile)."""
_AT_ONCE: Final = 16


def evict(settings: Settings, sessions: Sessions, watch: Watch, reporter: Reporter) -> list[str]:
    """End the town's container in order; a line for each agent that says what became of its work."""
    sessions.take_no_more_starts()
    agents = watch.drain()
    if agents:
        nonce = drain_nonce(settings.town_id, _event_id(settings))
        settings.root.mkdir(parents=True, exist_ok=True)
        write_atomically(settings.root / _DRAIN, {"nonce": nonce, "instance_id": settings.instance_id})
        reporter.fact(reporter.event("container_eviction", _event_id(settings), {}))
    return _end_all(agents, settings, sessions, watch, reporter)


def leave(settings: Settings, sessions: Sessions, watch: Watch, reporter: Reporter) -> list[str]:
    """End the container of one agent in order: nothing that the town as a whole need take notice of."""
    sessions.take_no_more_starts()
    return _end_all(watch.drain(), settings, sessions, watch, reporter)


def announce_ready(settings: Settings, reporter: Reporter) -> bool:
    """End the drain that an earlier instance began, if its nonce is known; whether it was."""
    path = settings.root / _DRAIN
    nonce = os.environ.get("TOWN_DRAIN_NONCE") or _kept_nonce(settings)
    if not nonce:
        return False
    reporter.fact(reporter.event("container_ready", f"ready:{settings.instance_key}", {"nonce": nonce}))
    path.unlink(missing_ok=True)
    return True


def _end_all(
    agents: Sequence[Session], settings: Settings, sessions: Sessions, watch: Watch, reporter: Reporter
) -> list[str]:
    said = _event_id(settings)
    for agent in agents:
        sessions.runtime.message(settings.town_id, agent.agent_id, message_id=said, text=_LAST_WORDS, mode="immediate")
    wait_for(lambda: not sessions.runtime.running(settings.town_id), seconds=settings.eviction_seconds, every=0.1)
    time_left = Budget(_SAVE_SECONDS)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        told = list(pool.map(lambda agent: _end(agent, settings.town_id, sessions, watch, time_left), agents))
    reporter.finish(seconds=_REPORT_SECONDS)
    return told


def _event_id(settings: Settings) -> str:
    return f"evict:{settings.instance_key}"


def _kept_nonce(settings: Settings) -> str | None:
    try:
        kept = json.loads((settings.root / _DRAIN).read_text(encoding="utf-8"))
        return str(kept["nonce"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _end(agent: Session, town_id: str, sessions: Sessions, watch: Watch, time_left: Budget) -> str:
    """End one agent, save its work, tell the town."""
    newest = sessions.runtime.newest(town_id, agent.agent_id)
    order = newest.context() if newest is not None else {}
    sessions.runtime.stop(town_id, agent.agent_id, generation=agent.generation, effect_id=EVICTED)
    saved = "nothing to save"
    if newest is not None:
        work = newest.directory.parent / "work"
        saved = sessions.workspaces.save(work, order, cancelled=lambda: time_left.left() == 0)
    watch.report_end(agent.agent_id, agent.generation, EVICTED, clean=True)
    return f"{agent.agent_id} generation {agent.generation}: {saved}"
