"""What a driver itself tells the town: heartbeats, a line of status, usage, and that the mayor waits.

Commands of `town-agent` that the agent runs report the rest.
"""

import threading
from collections.abc import Mapping, Sequence

from infra.agents.activity import Activity
from infra.agents.drivers.usage import LONGEST_MODEL, Usage
from infra.agents.posting import NotPosted, Poster, patiently
from infra.agents.town_agent import events
from infra.agents.town_agent.order import Caller
from shared.ports.clock import Clock


class Reports:
    """Posts to the town. What cannot be posted is said, and left to the next report of its kind."""

    def __init__(self, caller: Caller, poster: Poster, clock: Clock) -> None:
        self.caller = caller
        self.clock = clock
        self._poster = poster
        self._posting = threading.Lock()

    def beat(self, activity: Activity) -> str | None:
        """Post a heartbeat. Returns the problem, if there is one."""
        said = events.heartbeat(self.caller, doing=activity.kind, tools=activity.tools, at=self.clock.now())
        said["payload"] = {**said["payload"], **activity.note()}
        return self._once([said])

    def status(self, text: str) -> str | None:
        """Post a line of status. Returns the problem, if there is one."""
        return self._once([events.status(self.caller, text, at=self.clock.now())])

    def usage(self, totals: Mapping[str, Usage]) -> str | None:
        """Post the totals of each model. Returns the problem, if there is one."""
        return self._once([_usage(self.caller, model, used) for model, used in sorted(totals.items())])

    def mayor_waits(self) -> None:
        """Post that the mayor has nothing to do. Raises NotPosted."""
        said = events.mayor_waiting(self.caller, at=self.clock.now())
        patiently(lambda: self._post([said]), clock=self.clock)

    def acknowledge(self, nudge_id: str) -> None:
        """Post that the agent was given a nudge. Raises NotPosted."""
        said = events.nudge_acknowledged(self.caller, nudge_id)
        patiently(lambda: self._post([said]), clock=self.clock)

    def _once(self, said: Sequence[dict[str, object]]) -> str | None:
        try:
            self._post(said)
        except NotPosted as error:
            return str(error)
        return None

    def _post(self, said: Sequence[dict[str, object]]) -> None:
        with self._posting:
            self._poster.post(said)


class ReportsBesideContainer(Reports):
    """The reports of an agent whose control server says that it lives: the server reads the same from the note on the desk."""

    def beat(self, activity: Activity) -> str | None:  # noqa: ARG002 - the note has it
        """Post nothing: a heartbeat of each agent would cost the town a request each."""
        return None


def _usage(caller: Caller, model: str, used: Usage) -> events.AgentEvent:
    payload = {
        "model": "".join(each for each in model if each.isprintable())[:LONGEST_MODEL] or "unknown",
        "input_tokens": used.input_tokens,
        "output_tokens": used.output_tokens,
        "cached_tokens": used.cached_tokens,
        "cost_micros": used.cost_micros,
        "generation": caller.generation,
    }
    return events.usage(caller, payload)
