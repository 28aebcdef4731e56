"""The settings of a control server, from its environment.

TOWN_ID                 the town whose agents it runs (required)
TOWN_AGENT              the coding agent: opencode, claude or codex. This or TOWN_AGENT_COMMAND is required, and not both
TOWN_AGENT_COMMAND      any other agent CLI: a command line, or a JSON list of words
TOWN_CONTROL_ROOT       directory for clones, worktrees, start files and logs (default ./control-data)
TOWN_CONTROL_HOST/PORT  address to listen on (default 127.0.0.1:8080; port 0 picks a free one)
TOWN_CONTROL_KEY        the bearer token that callers must present; on the loopback interface, the server makes one if it is missing
TOWN_CONTROL_HOSTS      names, separated by commas, under which callers reach it: `t1.agents.example.com` or `*.agents.example.com`
TOWN_INSTANCE_ID        id that distinguishes this container from the one that it replaces (default: a random id)
TOWN_EVICTION_SECONDS   seconds that agents have to save their work when the container is evicted (default 10)
TOWN_AGENT_UIDS         users as which agents run, such as 20000-20255 (the default for root): the first owns the caches of
                        repositories, each agent has one of the others. `none`: all run as the server's user
TOWN_AGENT_ENV          names, separated by commas: variables for agents that requests may set too (see `infra.agents.variables`)
TOWN_AGENT_MODEL_URL, TOWN_AGENT_TOOLS    for the drivers of coding agents: see `infra.agents.variables`
TOWN_CLOCK              the town's clock, if it is not the system clock
TOWN_API, TOWN_AGENT_DATA, TOWN_AGENT_POST or TOWNCTL_BUCKET     how to reach the town: see `infra.agents.posting`
"""

import hashlib
import os
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from infra.agents.drivers.known import driver_of, names
from infra.agents.posting import API_VARIABLE, DATA_VARIABLE
from infra.agents.variables import DRIVER_VARIABLES, DRIVERS, NAMED_VARIABLE, named_variables, values_of
from infra.listening.callers import named_hosts
from shared.adapters import clock as clocks
from shared.adapters import ids, outside_files
from shared.domain import strict_json
from shared.ports.clock import Clock

PASSED_ON: Final = (
    "TOWN_API",
    "TOWN_AGENT_DATA",
    "TOWN_AGENT_POST",
    "TOWN_AGENT_PACE",
    "TOWN_AGENT_CLI",
    *DRIVER_VARIABLES,
    "TOWNCTL_DATA",
    "TOWNCTL_BUCKET",
    "TOWNCTL_ENDPOINT",
    "TOWNCTL_REGION",
    "TOWN_CLOCK",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
)
"""The variables that are passed on to agents, besides proxies, certificates, the configuration of git and what the operator
names in TOWN_AGENT_ENV.
"""

USERS: Final = range(20_000, 20_256)
"""The users as which agents run if the server is root and nothing else is set. The image knows them by name."""

_OF_GIT: Final = re.compile(
    r"GIT_(?:CONFIG(?:_\w+)?|SSL_\w+|HTTP_\w+|AUTHOR_\w+|COMMITTER_\w+|ALLOW_PROTOCOL|TERMINAL_PROMPT|SSH|SSH_COMMAND|ASKPASS)"
)
_USERS_VARIABLE: Final = "TOWN_AGENT_UIDS"
_RANGE: Final = re.compile(r"([0-9]{1,9})-([0-9]{1,9})")
_LAST_PORT: Final = 65_535


@dataclass(frozen=True, slots=True)
class ControlServerSettings:
    """The settings of one control server. A start that takes longer than `answer_within` real seconds is answered with
    `starting`. On eviction, agents have `eviction_seconds` to save their work. Agents are observed every `look_every` seconds.
    `named` are the variables that requests may set besides those of the town, `hosts` the names to which the server answers besides
    those of the loopback interface and the addresses that it listens on. `users` are those as which agents run, the first of them
    the keeper of the caches; None if all run as the server's user.
    """

    town_id: str
    command: tuple[str, ...]
    root: Path
    instance_id: str
    host: str = "127.0.0.1"
    port: int = 8080
    key: str | None = None
    clock: Clock = field(default_factory=clocks.SystemClock)
    environment: Mapping[str, str] = field(default_factory=dict)
    named: frozenset[str] = frozenset()
    users: range | None = None
    hosts: frozenset[str] = frozenset()
    answer_within: float = 5.0
    eviction_seconds: float = 10.0
    look_every: float = 0.5

    @property
    def instance_key(self) -> str:
        """The instance id, hashed for use in event ids, whose length and characters are limited."""
        return hashlib.sha256(self.instance_id.encode()).hexdigest()[:16]

    @property
    def keeper(self) -> int | None:
        """The user who owns the caches of repositories."""
        return None if self.users is None else self.users[0]

    @property
    def agent_users(self) -> range | None:
        """The users of whom each agent has one."""
        return None if self.users is None else self.users[1:]

    @property
    def about_users(self) -> str:
        """A line for the operator about the wall between the agents."""
        if self.agent_users is not None:
            return (
                f"control server: each agent runs as a user of its own, {self.agent_users[0]} to {self.agent_users[-1]}"
            )
        return (
            "control server: agents run as the user of this server, so they can read one another's files and tokens;"
            f" to separate them, run it as root with {_USERS_VARIABLE}, or run one agent per container"
        )

    @property
    def local_repositories(self) -> bool:
        """Whether the operator allows repositories on this machine's disk, by GIT_ALLOW_PROTOCOL."""
        return "file" in self.environment.get("GIT_ALLOW_PROTOCOL", "").split(":")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "ControlServerSettings":
        """The settings that an environment describes. Raises ValueError if a variable is missing or wrong."""
        command = _command(environment)
        town_id = environment.get("TOWN_ID", "")
        if not town_id or not command:
            raise ValueError(
                f"set TOWN_ID to the town's id, and TOWN_AGENT to the coding agent ({names()}) or TOWN_AGENT_COMMAND to the "
                "command of another agent CLI; both are required"
            )
        key = environment.get("TOWN_CONTROL_KEY") or None
        host = environment.get("TOWN_CONTROL_HOST") or "127.0.0.1"
        if key is None and host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError(
                f"set TOWN_CONTROL_KEY to a long secret: it is required because other machines can connect to {host}"
            )
        passed = {name: environment[name] for name in PASSED_ON if environment.get(name)}
        passed |= {name: value for name, value in environment.items() if _OF_GIT.fullmatch(name)}
        try:
            named = named_variables(environment.get(NAMED_VARIABLE, "").split(","))
        except ValueError as error:
            raise ValueError(f"{NAMED_VARIABLE}: {error}") from None
        try:
            hosts = named_hosts(environment.get("TOWN_CONTROL_HOSTS", "").split(","))
        except ValueError as error:
            raise ValueError(f"TOWN_CONTROL_HOSTS: {error}") from None
        return cls(
            town_id=town_id,
            command=command,
            root=Path(environment.get("TOWN_CONTROL_ROOT") or "control-data").resolve(),
            instance_id=environment.get("TOWN_INSTANCE_ID") or ids.batch_id(),
            host=host,
            port=_port(environment, "TOWN_CONTROL_PORT", 8080),
            key=key,
            clock=clocks.from_text(environment.get(clocks.CLOCK_VARIABLE, "")),
            environment=passed | values_of(named, environment),
            named=named,
            users=_users(environment),
            hosts=hosts,
            eviction_seconds=_number(environment, "TOWN_EVICTION_SECONDS", 10),
        )


def _users(environment: Mapping[str, str]) -> range | None:
    """The users of agents. Raises ValueError, which names the variable.

    By default there are none if agents report into a directory, which only the server's user may write.
    """
    given, is_root = environment.get(_USERS_VARIABLE, "").strip(), os.geteuid() == 0
    if not given:
        reports_into_a_directory = not environment.get(API_VARIABLE) and environment.get(DATA_VARIABLE)
        return USERS if is_root and not reports_into_a_directory else None
    if given == "none":
        return None
    found = _RANGE.fullmatch(given)
    users = range(int(found[1]), int(found[2]) + 1) if found is not None else range(0)
    if len(users) < 2 or users[0] == 0:
        raise ValueError(
            f"{_USERS_VARIABLE}: {given!r} is not a range of at least two users other than root: give 20000-20255"
        )
    if not is_root:
        raise ValueError(
            f"{_USERS_VARIABLE}: only root can run agents as other users: run the server as root, or set none"
        )
    return users


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    """The value of a variable as a number of at least 0. Raises ValueError, which names the variable."""
    text = environment.get(name)
    try:
        number = float(text) if text else default
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise ValueError(f"{name}: {text!r} is not a number of at least 0")
    return number


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    """The value of a variable as a port. Raises ValueError, which names the variable."""
    number = _number(environment, name, default)
    if number != int(number) or number > _LAST_PORT:
        raise ValueError(f"{name}: {environment.get(name)!r} is not a port: give a whole number from 0 to {_LAST_PORT}")
    return int(number)


def _command(environment: Mapping[str, str]) -> tuple[str, ...]:
    """The program of agents. Raises ValueError, which names the variable."""
    agent, given = environment.get("TOWN_AGENT", ""), environment.get("TOWN_AGENT_COMMAND", "")
    if agent and given:
        raise ValueError("TOWN_AGENT and TOWN_AGENT_COMMAND both choose the program of agents: set one of them")
    if not agent:
        return _words(given)
    try:
        driver = driver_of(agent)
    except ValueError as error:
        raise ValueError(f"TOWN_AGENT: {error}; for another program, set TOWN_AGENT_COMMAND") from None
    return (sys.executable, "-m", DRIVERS, driver.name)


def _words(text: str) -> tuple[str, ...]:
    """The words of a command. Raises ValueError, which names the variable and does not show the command."""
    try:
        if not text.lstrip().startswith("["):
            return tuple(shlex.split(text))
        words = strict_json.foreign(text, limit=outside_files.LARGEST)
    except ValueError:
        problem = "is neither a command line whose quotes are closed nor a JSON list of words"
        raise ValueError(f"TOWN_AGENT_COMMAND {problem}: correct it") from None
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError("TOWN_AGENT_COMMAND: if it is JSON, it must be a list of strings")
    return tuple(words)
