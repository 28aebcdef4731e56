"""The agents of a deployment on one machine: local processes, or sessions behind a control server that runs elsewhere.

The files of local agents are in the data directory, even if the towns are in a bucket.

<data>/.agents                the local agents: their start orders, working directories and logs
<data>/.agents/program.json   the program that agents run and the names of --agent-env and --agent-login, as they were given last
"""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from infra.agents.posting import DATA_VARIABLE
from infra.agents.variables import DRIVER_VARIABLES, DRIVERS, LOGIN_VARIABLE, named_variables, values_of
from infra.buckets import Bucket
from infra.townctl.context import AGENTS
from infra.townctl.sandbox import sandbox_of, tell_once
from infra.townctl.wiring import LocalClock
from shared.adapters import clock as clocks
from shared.adapters import outside_files
from shared.adapters.control_keys import derived
from shared.adapters.control_server import ControlServerRuntime
from shared.adapters.local_processes import Launch, LocalProcessRuntime, NotPrepared, Variables
from shared.adapters.local_supervisor import write_atomically
from shared.adapters.town_containers import FixedAddresses
from shared.domain.errors import Refused
from shared.domain.orders import StartOrder
from shared.ports.runtime import Started, StartRejected, StartUnknown

if TYPE_CHECKING:
    from infra.agents.drivers.contract import Driver

ENV_HELP: Final = (
    "A variable of this environment that agents get, such as the key of a model; remembered by name, without the value."
)
AGENT_HELP: Final = "The coding agent that agents run: opencode, claude or codex; remembered for this data directory."
LOGIN_HELP: Final = (
    "Let agents use your own login of opencode, claude or codex, so that they need no key; remembered by name."
)
NONE_SET: Final = "no program for agents is set"
_OTHER_PROGRAM: Final = 'for any other program, use --agent-command "PROGRAM ARGUMENTS"'
_OTHER_LOGIN: Final = "a program of --agent-command finds its login itself, because agents have your HOME"
_PROGRAM: Final = "program.json"


def agents_root(data: Path) -> Path:
    """The directory of the local agents of a data directory."""
    return data / AGENTS


@dataclass(frozen=True, slots=True)
class AgentProgram:
    """The program that agents of a data directory run, and its environment, to which the place of its town is added.

    `named` are the variables of townctl's own environment that agents get; their values are never stored. `login` is the coding
    agent whose login they use.
    """

    command: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    named: frozenset[str] = frozenset()
    login: str | None = None

    @classmethod
    def from_text(cls, text: str) -> "AgentProgram":
        """The program of a command line. Raises Refused."""
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            hint = "close every quote, as in a shell: --agent-command \"PROGRAM 'one argument'\""
            problem = f"--agent-command cannot be split into words: {error}"
            raise Refused(problem, status=400, path="agent-command", hint=hint) from error
        if not words:
            hint = "give the program that agents run"
            raise Refused("--agent-command is empty", status=400, path="agent-command", hint=hint)
        return cls(words)

    @classmethod
    def of_agent(cls, name: str) -> "AgentProgram":
        """The driver of a coding agent. Raises Refused."""
        driver = _driver_of(name)
        if shutil.which(driver.program) is None:
            hint = f"install it: {driver.install}"
            raise Refused(f"--agent: there is no program {driver.program} on PATH", status=400, path="agent", hint=hint)
        return cls((sys.executable, "-m", DRIVERS, name))

    @property
    def agent(self) -> str | None:
        """The coding agent that was chosen by its name; None for any other program."""
        return self.command[3] if self.command[1:3] == ("-m", DRIVERS) and len(self.command) == 4 else None

    @property
    def around(self) -> dict[str, str]:
        """Its environment with the values of the named variables."""
        return {**self.environment, **values_of(self.named, os.environ)}

    @property
    def program(self) -> str:
        """The program that must be installed; empty if none is set."""
        if self.agent is not None:
            return _driver_of(self.agent).program
        return self.command[0] if self.command else ""

    @property
    def is_there(self) -> bool:
        """Whether the program exists and may be executed."""
        return shutil.which(self.program, path=self.around.get("PATH")) is not None

    def missing(self) -> tuple[str, str] | None:
        """Why no agent can be started, and what to do about it; None if the program is there."""
        if not self.command:
            return (
                NONE_SET,
                'townctl run --agent opencode (or claude, or codex), or --agent-command "PROGRAM ARGUMENTS"',
            )
        if self.is_there:
            return None
        if self.agent is not None:
            driver = _driver_of(self.agent)
            return f"the program of agents is not on PATH: {driver.program}", f"install it: {driver.install}"
        hint = 'set it again: townctl run --agent-command "PROGRAM ARGUMENTS"'
        return f"the program that local agents run does not exist: {self.program}", hint

    def with_login(self, name: str) -> "AgentProgram":
        """The same program with a person's login of that agent. Raises Refused."""
        from infra.townctl import agent_checks  # only here: most commands choose no login

        driver = _driver_of(name, option="agent-login", hint=_OTHER_LOGIN)
        if self.agent != name:
            hint = f"add --agent {name}; {_OTHER_LOGIN}"
            problem = f"--agent-login {name}: agents do not run {name}"
            raise Refused(problem, status=400, path="agent-login", hint=hint)
        for path in agent_checks.missing_logins(driver, os.environ):
            problem = f"--agent-login {name}: there is no login at {path}"
            raise Refused(problem, status=400, path="agent-login", hint=agent_checks.how_to_log_in(driver))
        return replace(self, login=name)

    def required(self) -> "AgentProgram":
        """The same program, by its full path if a path was given: agents run in other directories. Raises Refused."""
        first, *rest = self.command
        if not self.is_there:
            hint = "give the path of a program that may be executed, or a name that is on PATH; put its arguments behind it"
            problem = f"--agent-command: there is no program {first}"
            raise Refused(problem, status=400, path="agent-command", hint=hint)
        return replace(self, command=(str(Path(first).absolute()) if os.sep in first else first, *rest))


class LocalAgents(LocalProcessRuntime):
    """The agents of a data directory. While their program is missing they can be observed and stopped, but not started."""

    def __init__(self, root: Path, runs: AgentProgram, **around: Any) -> None:
        super().__init__(root, command=runs.command, **around)
        self._runs = runs

    def start(self, order: StartOrder, *, effect_id: str) -> Started | StartRejected | StartUnknown:
        """Start one agent process, unless there is no program for it."""
        missing = self._runs.missing()
        newest = self.newest(order.town_id, order.agent_id)
        if missing is None or (
            newest is not None and newest.number >= order.generation and newest.recorded() is not None
        ):
            return super().start(order, effect_id=effect_id)  # one that was started has its answer
        return StartRejected(": ".join(missing), kind="no_agent_program")


def no_agents(data: Path) -> LocalAgents:
    """The agents of a data directory, to observe and stop them only."""
    return LocalAgents(agents_root(data), AgentProgram())


def remember_program(data: Path, program: AgentProgram) -> None:
    """Store the program, so that later commands on this directory use it."""
    path = agents_root(data) / _PROGRAM
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    stored = {
        "command": list(program.command),
        "environment": dict(program.environment),
        "named": sorted(program.named),
    }
    if program.login is not None:
        stored["login"] = program.login
    write_atomically(path, stored)


def remembered_program(data: Path) -> AgentProgram:
    """The stored program; an empty command if none was stored. Raises Refused if the file cannot be read."""
    path = agents_root(data) / _PROGRAM
    try:
        stored = outside_files.json_of(path)
        command = tuple(str(word) for word in stored["command"])
        environment = {str(name): str(value) for name, value in stored["environment"].items()}
        login = None if stored.get("login") is None else str(stored["login"])
        return AgentProgram(command, environment, named_variables(map(str, stored.get("named", ()))), login)
    except FileNotFoundError:
        return AgentProgram()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        hint = f"give --agent-command again, or delete {path}"
        raise Refused(
            f"cannot read the agents' program in {path}: {error}", status=400, path="agent-command", hint=hint
        ) from error


def program(
    data: Path,
    given: str | None,
    names: Sequence[str] | None = None,
    *,
    agent: str | None = None,
    login: str | None = None,
) -> AgentProgram:
    """The program of --agent-command or --agent, the names of --agent-env and the login of --agent-login, which are remembered;
    without them, the remembered ones. A program that is chosen again has no login unless one is named again.

    Raises Refused.
    """
    if given is not None and agent is not None:
        hint = f"leave out --agent-command to use {agent}, or leave out --agent to use a program of your own"
        raise Refused("--agent and --agent-command both choose the program", status=400, path="agent", hint=hint)
    chosen = _chosen(given, agent)
    known = remembered_program(data) if chosen is None or names is None else AgentProgram()
    if chosen is None and names is None and login is None:
        return known
    found = known if chosen is None else replace(chosen, named=known.named)
    if names is not None:
        found = replace(found, named=_named(names))
    if login is not None:
        found = found.with_login(login)
    remember_program(data, found)
    return found


def _chosen(given: str | None, agent: str | None) -> AgentProgram | None:
    if agent is not None:
        return AgentProgram.of_agent(agent)
    return None if given is None else AgentProgram.from_text(given).required()


def _driver_of(name: str, *, option: str = "agent", hint: str = _OTHER_PROGRAM) -> "Driver":
    """The driver of a coding agent. Raises Refused, which names the option."""
    from infra.agents.drivers.known import driver_of  # only here: most commands choose no agent

    try:
        return driver_of(name)
    except ValueError as error:
        raise Refused(f"--{option}: {error}", status=400, path=option, hint=hint) from None


def _named(names: Sequence[str]) -> frozenset[str]:
    try:
        named = named_variables(names)
    except ValueError as error:
        hint = "name variables of your environment, for example --agent-env MODEL_KEY"
        raise Refused(f"--agent-env: {error}", status=400, path="agent-env", hint=hint) from error
    missing = sorted(named - os.environ.keys())
    if missing:
        problem = f"--agent-env: the environment of townctl has no {' and no '.join(missing)}"
        raise Refused(problem, status=400, path="agent-env", hint="export the variable, or do not name it")
    return named


def local_runtime(data: Path, runs: AgentProgram, clock: LocalClock, *, bucket: Bucket | None = None) -> LocalAgents:
    """The agents of a data directory. They find their town by TOWN_AGENT_DATA and TOWNCTL_DATA or, if it is in a bucket, by
    TOWNCTL_BUCKET and the other variables of the bucket.
    """
    if not runs.command:
        return no_agents(data)
    place = str(data.resolve())
    way = {DATA_VARIABLE: place, "TOWNCTL_DATA": place} if bucket is None else bucket.way()
    set_here = values_of(DRIVER_VARIABLES, os.environ)
    login = {} if runs.login is None else {LOGIN_VARIABLE: os.environ.get("HOME") or str(Path.home())}
    around = {**runs.around, **set_here, **login, **_with_town_agent(), **way, clocks.CLOCK_VARIABLE: clock.to_text()}
    agents = agents_root(data.resolve())
    sandbox = sandbox_of(os.environ, data=data.resolve(), agents=agents)
    return LocalAgents(agents, runs, environment=around, variables=_of_forge(around), wrap=sandbox)


def _of_forge(around: Mapping[str, str]) -> Variables:
    """The variables with which git asks for the credential that the town issues. Without one, git uses those of this user."""

    def variables(launch: Launch, _work: Path) -> Mapping[str, str]:
        from infra.agents.credentials import NotIssued, source_from
        from infra.agents.git_settings import of_agent

        order = launch.order
        if order.rig is None or not order.rig.git_url:
            return {}
        named = {"town_id": order.town_id, "agent_id": order.agent_id}
        try:
            issued = source_from(around, **named, generation=order.generation)()
        except NotIssued as error:
            if error.final:
                return {}
            raise NotPrepared(str(error)) from None
        return {} if issued.forge is None else of_agent(issued.forge, around)

    return variables


def tell_about_agents(data: Path, runs: AgentProgram, talk: Callable[[str], None]) -> None:
    """Tell the user what keeps local agents from working, and once as whom they run, if there is a program for them."""
    from infra.townctl import agent_checks  # only here: it needs the drivers

    agent_checks.tell(runs, talk)
    if runs.command:
        tell_once(agents_root(data), os.environ, talk)


def _with_town_agent() -> dict[str, str]:
    """A PATH on which agents find `town-agent`, even if only the path of townctl was known here."""
    if shutil.which("town-agent") is not None:
        return {}
    beside = str(Path(sys.executable).parent)
    return {"PATH": os.pathsep.join(part for part in (os.environ.get("PATH", ""), beside) if part)}


def behind_a_control_server(pattern: str) -> ControlServerRuntime:
    """Agents behind control servers that run elsewhere and require a key. Raises Refused.

    TOWN_CONTROL_KEY is the key of the server at a fixed address. If the address has {town} in it, there is a server for each town,
    and TOWN_CONTROL_KEY is the platform's secret, from which the key of each town is derived.
    """
    parts = urlsplit(pattern.replace("{town}", "town"))
    if parts.scheme not in ("http", "https") or not parts.hostname:
        hint = "for example http://127.0.0.1:8080 or https://{town}.agents.example.com"
        raise Refused(
            f"--control-server: not a base URL: {pattern[:200]!r}", status=400, path="control-server", hint=hint
        )
    secret = os.environ.get("TOWN_CONTROL_KEY") or None

    def key_of(town_id: str) -> str | None:
        return derived(secret, town_id) if secret is not None and "{town}" in pattern else secret

    return ControlServerRuntime(FixedAddresses(pattern), key_of=key_of)
