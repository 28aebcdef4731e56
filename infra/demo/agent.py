"""A scripted agent that does real work: `python -m infra.demo.agent`.

Its order is the file that TOWN_AGENT_CONTEXT names, its working directory is its own from generation to generation,
its clock is TOWN_CLOCK, its way to the town TOWN_AGENT_POST or TOWN_AGENT_DATA (`infra.agents.posting`), and
TOWN_AGENT_PACE says how many seconds of the clock it thinks at each step. As polecat it commits a module on a branch
and reports agent_done; as refinery it merges or asks for changes; on its bead's demand it crashes, hangs or lies
(`infra.demo.order`).

It ends with 0 when its report is in the town's inbox, and with 1 when it could not do its work: the reconciler sees
the end of the process and starts the next generation, so an agent needs no cleverness about failure.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from infra.agents.posting import NotPosted, poster_from
from infra.agents.town_agent import events, mailbox
from infra.agents.town_agent.order import Caller, NoOrder, caller
from infra.demo.git import Git, GitFailed, Repository
from infra.demo.order import Order, order_from
from infra.demo.pull_requests import ForgeFailed, PullRequests
from infra.demo.reports import Heart, Reports
from infra.demo.work import Agent
from shared.adapters import clock as clocks
from shared.adapters.local_processes import HOME_VARIABLE
from shared.adapters.local_supervisor import MARK_VARIABLE

PACE_VARIABLE: Final = "TOWN_AGENT_PACE"
_DEFAULT_PACE_SECONDS: Final = 30.0


def main() -> int:
    """Work on the order that the environment names; the exit code."""
    try:
        me = caller(os.environ)
        if me.role == "mayor":
            return _rest_as_mayor(me, os.environ)
        order = order_from(json.loads(Path(os.environ[MARK_VARIABLE]).read_text(encoding="utf-8")))
        agent = _agent(order, os.environ)
    except ForgeFailed as error:
        print(f"demo_agent: gave up: {error}", file=sys.stderr)
        return 1
    except (KeyError, TypeError, ValueError, OSError, NoOrder) as error:
        print(
            f"demo_agent: no order to work on: {error!r}; start it through a runtime, see its docstring",
            file=sys.stderr,
        )
        return 2
    print(f"{order.name} generation {order.generation}: {order.prompt_kind} {order.bead.id}", flush=True)
    agent.heart.start()
    try:
        agent.work()
    except (ForgeFailed, GitFailed, NotPosted, OSError) as error:
        print(f"demo_agent: gave up: {error}", file=sys.stderr)
        return 1
    return 0


def _rest_as_mayor(me: Caller, environment: Mapping[str, str]) -> int:
    """A mayor that has nothing to decide: it reads what was written to it, says that it waits, and ends."""
    clock = clocks.from_text(environment.get(clocks.CLOCK_VARIABLE, ""))
    poster = poster_from(environment, town_id=me.town_id, clock=clock)
    print(json.loads(Path(environment[MARK_VARIABLE]).read_text(encoding="utf-8")).get("message"), flush=True)
    for letter in mailbox.unread(me.place):
        print(letter.text, flush=True)
        letter.mark_read()
    try:
        poster.post([events.heartbeat(me, doing="reading", tools=(), at=clock.now())])
        clock.sleep(float(environment.get(PACE_VARIABLE, _DEFAULT_PACE_SECONDS)))
        poster.post([events.mayor_waiting(me, at=clock.now())])
    except NotPosted as error:
        print(f"demo_agent: gave up: {error}", file=sys.stderr)
        return 1
    return 0


def _agent(order: Order, environment: Mapping[str, str]) -> Agent:
    clock = clocks.from_text(environment.get(clocks.CLOCK_VARIABLE, ""))
    reports = Reports(order, poster_from(environment, town_id=order.town_id, clock=clock), clock)
    return Agent(
        order=order,
        repository=Repository(
            Path(environment.get(HOME_VARIABLE) or Path.cwd()), order.git_url, Git(order.name, environment)
        ),
        reports=reports,
        heart=Heart(reports, clock),
        clock=clock,
        pace=float(environment.get(PACE_VARIABLE, _DEFAULT_PACE_SECONDS)),
        pull_requests=None if order.merge_strategy == "direct" else PullRequests.of(order.git_url, environment),
    )


if __name__ == "__main__":
    sys.exit(main())
