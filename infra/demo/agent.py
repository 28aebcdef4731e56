"""A scripted agent that does real work: `python -m infra.demo.agent`.

TOWN_AGENT_CONTEXT names the file with its order and TOWN_CLOCK its clock. TOWN_AGENT_PACE is the number of seconds of that
clock for which it waits at each step. It reports through `infra.agents.posting`. All its generations share one working
directory. As a polecat, it commits a module on a branch and reports agent_done. As a refinery, it merges or requests changes.
If its bead says so, it crashes, hangs or lies (`infra.demo.order`). As the mayor, it reads its messages, answers people and waits.

Exit code 0: its report is in the town's inbox. 1: it could not do its work. 2: it has no order. It does not handle failures
itself: the reconciler observes the end of the process and starts the next generation.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from infra.agents.plain_agent import ANSWER, asked_in
from infra.agents.posting import NotPosted, poster_from
from infra.agents.town_agent import events, mailbox
from infra.agents.town_agent.order import Caller, NoOrder, caller
from infra.demo.forge_client import ForgeFailed, PullRequests
from infra.demo.git import Git, GitFailed, Mirror
from infra.demo.order import Order, order_from
from infra.demo.reports import Heart, Reports
from infra.demo.work import DemoAgent
from shared.adapters import clock as clocks
from shared.adapters import outside_files
from shared.adapters.local_processes import HOME_VARIABLE
from shared.adapters.local_supervisor import MARK_VARIABLE
from shared.domain import wire
from shared.domain.orders import StartOrder

AGENT_COMMAND: Final = (sys.executable, "-m", "infra.demo.agent")
PACE_VARIABLE: Final = "TOWN_AGENT_PACE"
_DEFAULT_PACE_SECONDS: Final = 30.0


def main() -> int:
    """Work on the order that the environment names. Returns the exit code."""
    try:
        me = caller(os.environ)
        if me.role == "mayor":
            return _rest_as_mayor(me, os.environ)
        order = order_from(_start_file(os.environ))
        agent = _agent(order, os.environ)
    except ForgeFailed as error:
        print(f"demo agent: cannot reach the forge: {error}", file=sys.stderr)
        return 1
    except (KeyError, TypeError, ValueError, OSError, NoOrder) as error:
        print(
            f"demo agent: cannot read the order that TOWN_AGENT_CONTEXT names: {error!r}; only a runtime can start this agent",
            file=sys.stderr,
        )
        return 2
    print(f"{order.name} generation {order.generation}: {order.prompt_kind} {order.bead.id}", flush=True)
    agent.heart.start()
    try:
        agent.work()
    except (ForgeFailed, GitFailed, NotPosted, OSError) as error:
        print(f"demo agent: the work failed: {error}", file=sys.stderr)
        return 1
    return 0


def _start_file(environment: Mapping[str, str]) -> StartOrder:
    return wire.read(StartOrder, outside_files.json_of(Path(environment[MARK_VARIABLE])))


def _rest_as_mayor(me: Caller, environment: Mapping[str, str]) -> int:
    """Act as a mayor that has nothing to decide: print the messages, answer people, report that the mayor is waiting, and end."""
    clock = clocks.from_text(environment.get(clocks.CLOCK_VARIABLE, ""))
    poster = poster_from(environment, town_id=me.town_id, clock=clock)
    unread = mailbox.unread(me.place)
    said = "\n".join([_start_file(environment).message or "", *(letter.text for letter in unread)])
    print(said, flush=True)
    for letter in unread:
        letter.mark_read()
    try:
        for message_id in asked_in(said):
            poster.post([events.mayor_said(me, ANSWER, in_reply_to=message_id, at=clock.now())])
        poster.post([events.heartbeat(me, doing="reading", tools=(), at=clock.now())])
        clock.sleep(float(environment.get(PACE_VARIABLE, _DEFAULT_PACE_SECONDS)))
        poster.post([events.mayor_waiting(me, at=clock.now())])
    except NotPosted as error:
        print(f"demo agent: the work failed: {error}", file=sys.stderr)
        return 1
    return 0


def _agent(order: Order, environment: Mapping[str, str]) -> DemoAgent:
    clock = clocks.from_text(environment.get(clocks.CLOCK_VARIABLE, ""))
    reports = Reports(order, poster_from(environment, town_id=order.town_id, clock=clock), clock)
    return DemoAgent(
        order=order,
        repository=Mirror(
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
