"""A driver as a process: from its environment to its end.

TOWN_AGENT_CONTEXT      the start file
TOWN_AGENT_MODEL_URL    base URL of a model server, for models that a person hosts, and for tests
TOWN_AGENT_TOOLS        `cli`: the program gets no tool server, and the agent uses the commands of `town-agent`
TOWN_AGENT_LOGIN        home of a person whose login the program uses
TOWN_AGENT_CLI          the command that calls `town-agent` (default: `town-agent`)
TOWN_CLOCK              the town's clock, if it is not the system clock
"""

import os
import shlex
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Final

from infra.agents.drivers import child
from infra.agents.drivers.contract import Driver
from infra.agents.drivers.desk import Desk
from infra.agents.drivers.login import LentLogin
from infra.agents.drivers.pulse import Pulse
from infra.agents.drivers.reports import Reports, ReportsBesideContainer
from infra.agents.drivers.scrubbing import Scrubber, secrets_in
from infra.agents.drivers.session import Means, Session
from infra.agents.drivers.transcript import Transcript
from infra.agents.posting import poster_from
from infra.agents.town_agent.order import NoOrder, caller
from infra.agents.variables import (
    HEARTBEATS_VARIABLE,
    LOGIN_VARIABLE,
    MODEL_URL_VARIABLE,
    OF_THE_CONTAINER,
    TOOLS_VARIABLE,
)
from shared.adapters import clock as clocks
from shared.adapters import outside_files
from shared.adapters.local_supervisor import MARK_VARIABLE
from shared.domain import wire
from shared.domain.orders import StartOrder

CLI_VARIABLE: Final = "TOWN_AGENT_CLI"


def run(driver: Driver, environment: Mapping[str, str]) -> int:
    """Work on the order that this environment names. Returns the exit code; 2 if the environment is wrong."""
    try:
        agent = caller(environment)
        context = Path(environment[MARK_VARIABLE])
        order = wire.read(StartOrder, outside_files.json_of(context))
        clock = clocks.from_text(environment.get(clocks.CLOCK_VARIABLE, ""))
        poster = poster_from(environment, town_id=agent.town_id, clock=clock)
        tools = _tools(environment)
    except (NoOrder, ValueError) as error:
        print(f"driver of {driver.name}: {error}", file=sys.stderr)
        return 2
    stopped = _stopped_by_signals()
    child.adopt_orphans()
    is_watched = environment.get(HEARTBEATS_VARIABLE) == OF_THE_CONTAINER
    reports = (ReportsBesideContainer if is_watched else Reports)(agent, poster, clock)
    scrub = Scrubber(secrets_in(environment))
    transcript = Transcript(context.parent, clock, scrub)
    pulse = Pulse(reports, context.parent, transcript.note, scrub)
    means = Means(
        driver=driver,
        desk=Desk.of(context, scrub),
        order=order,
        environment=environment,
        reports=reports,
        pulse=pulse,
        transcript=transcript,
        stopped=stopped,
        model_url=environment.get(MODEL_URL_VARIABLE) or None,
        tools=tools,
    )
    login = LentLogin.of(environment.get(LOGIN_VARIABLE), driver.logins, means.program_place, scrub.hide)
    pulse.start()
    try:
        with login:
            code = Session(means).run()
    finally:
        child.end_everything(environment[MARK_VARIABLE])
        pulse.finish()
    if stopped.is_set():
        _end_by_signal()  # exit code 0 would say that the work is complete
    return code


def _tools(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The command of the tool server. Raises ValueError if TOWN_AGENT_TOOLS is neither `mcp` nor `cli`."""
    chosen = environment.get(TOOLS_VARIABLE) or "mcp"
    if chosen not in ("mcp", "cli"):
        raise ValueError(f"{TOOLS_VARIABLE}: {chosen!r} is neither mcp (the default) nor cli")
    return (*shlex.split(environment.get(CLI_VARIABLE) or "town-agent"), "mcp") if chosen == "mcp" else ()


def _stopped_by_signals() -> threading.Event:
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's shape
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopped


def _end_by_signal() -> None:
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)
