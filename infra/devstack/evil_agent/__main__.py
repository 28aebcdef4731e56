"""Work as a plain agent, or obey the stranger whose text stands in the bead."""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from infra.agents import plain_agent
from infra.agents.posting import API_VARIABLE, TOKEN_FILE_VARIABLE, TOKEN_VARIABLE
from infra.devstack.evil_agent import meddling, spying, surviving
from infra.devstack.evil_agent.attempts import FILE, Diary
from infra.devstack.evil_agent.doors import EventsApi, try_control_server
from infra.devstack.evil_agent.forgeries import Known, escalations, forgeries, under_its_own_name
from infra.devstack.evil_agent.instructions import DOOR, OBEY
from shared.adapters.local_processes import HOME_VARIABLE
from shared.adapters.local_supervisor import MARK_VARIABLE
from shared.domain import wire
from shared.domain.orders import StartOrder

_PAUSE_SECONDS: Final = 1.0
_TICKS_AHEAD: Final = 10


def main() -> int:
    """Returns the exit code of the plain agent; an evil one ends when it is killed, or after ten minutes."""
    start_file = Path(os.environ[MARK_VARIABLE])
    order = wire.read(StartOrder, json.loads(start_file.read_text(encoding="utf-8")))
    told = "" if order.bead is None else f"{order.bead.title}\n{order.bead.body or ''}"
    if order.role != "polecat" or not OBEY.search(told):
        return plain_agent.main()
    evil = EvilAgent(order, told, start_file, os.environ)
    evil.do_its_worst()
    evil.live_on()
    return 0


class EvilAgent:
    """One process. It ends only when it is killed."""

    def __init__(self, order: StartOrder, told: str, start_file: Path, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._start_directory = start_file.parent
        self._root = spying.root_of(start_file)
        self._town_directory = spying.home_of(start_file).parent
        self._home = Path(environment.get(HOME_VARIABLE) or Path.cwd())
        self._diary = Diary(self._home / FILE)
        self._door = DOOR.search(told)
        self._known = Known(
            order.town_id,
            order.agent_id,
            order.generation,
            bead_id="" if order.bead is None else order.bead.id,
            branch=order.branch or "gt/evil/bead",
            rig_id="" if order.rig is None else order.rig.id or "",
            agents=self._others(order),
            beads=tuple(word for word in told.split() if word.startswith("honest-")) or ("honest-1",),
            tick=order.generation,
        )

    def do_its_worst(self) -> None:
        """Every attack once."""
        surviving.ignore_signals()
        surviving.leave_children(self._home, self._diary)
        spying.try_to_read(self._environment, home=self._home, diary=self._diary)
        for forgery in forgeries(self._known):
            self._api.forge(forgery, self._diary)
        meddling.push_instructions(self._diary)
        meddling.try_clones_of_others(self._root, self._diary)
        meddling.set_traps(self._home, self._diary)
        if self._door is not None:
            try_control_server(
                self._door[0],
                town_id=self._known.town_id,
                agent_id=self._known.agents[0],
                own_token=self._token,
                trap=self._home / "door-trap",
                diary=self._diary,
            )
        meddling.meddle_with_the_runtime(self._start_directory, self._root, self._diary)
        meddling.rewrite_the_log(self._start_directory, self._diary)
        self._diary.note("all", "every attack was tried once", "", got_through=False)

    def live_on(self) -> None:
        """Flood, squat and forge until somebody kills it."""
        end = time.monotonic() + surviving.LONGEST_LIFE_SECONDS
        turn = 1
        while time.monotonic() < end:
            ahead = replace(self._known, tick=turn * _TICKS_AHEAD)
            for forgery in (escalations(ahead, turn), *under_its_own_name(ahead, turn)):
                self._api.forge(forgery, self._diary)
            time.sleep(_PAUSE_SECONDS)
            turn += 1

    def _others(self, order: StartOrder) -> tuple[str, ...]:
        """The agents whose directories it sees beside its own; else ids that it guesses."""
        beside = self._town_directory
        seen: tuple[str, ...] = ()
        if os.access(beside, os.R_OK):
            seen = tuple(sorted(each.name for each in beside.iterdir() if each.name != order.agent_id))
        return seen or Known("", "", 0).agents

    @property
    def _token(self) -> str:
        try:
            return Path(self._environment.get(TOKEN_FILE_VARIABLE, "")).read_text(encoding="utf-8").strip()
        except OSError:
            return self._environment.get(TOKEN_VARIABLE, "")

    @property
    def _api(self) -> EventsApi:
        return EventsApi(self._environment.get(API_VARIABLE, ""), self._known.town_id, self._token)


if __name__ == "__main__":
    sys.exit(main())
