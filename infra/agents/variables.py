"""The environment variables of agents that requests may set: what the town sends, the language, and what the operator names.

Most variables that programs know can make them run something: PATH, PYTHONPATH, NODE_OPTIONS, BASH_ENV, GIT_SSH_COMMAND, LD_PRELOAD
and many that nobody has listed yet. So this is a list of what is allowed, not of what is refused.

The operator names more: in `TOWN_AGENT_ENV` of a control server, a comma-separated list, or with `--agent-env NAME` of townctl.
A named variable is passed on from the environment of the control server or of townctl to every agent, and requests may set it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from infra.agents.posting import API_VARIABLE, TOKEN_VARIABLE
from shared.adapters.start_request import GENERATION_VARIABLE, ORDER_VARIABLE

NAMED_VARIABLE: Final = "TOWN_AGENT_ENV"
"""Holds the names of the variables that the operator allows, separated by commas."""

DRIVERS: Final = "infra.agents.drivers"
"""The module that runs a coding agent by its name."""

MODEL_URL_VARIABLE: Final = "TOWN_AGENT_MODEL_URL"
"""Base URL of a model server, for the drivers of coding agents: for models that people host themselves, and for tests."""

TOOLS_VARIABLE: Final = "TOWN_AGENT_TOOLS"
"""`mcp` (the default): coding agents get the town's commands as tools too; `cli`: they only run `town-agent`."""

LOGIN_VARIABLE: Final = "TOWN_AGENT_LOGIN"
"""The home of a person whose login the driver's program uses (`--agent-login`)."""

DRIVER_VARIABLES: Final = (MODEL_URL_VARIABLE, TOOLS_VARIABLE)
"""What operators set for drivers; no secret. It is passed on to every agent."""

HEARTBEATS_VARIABLE: Final = "TOWN_HEARTBEATS"
OF_THE_CONTAINER: Final = "container"
"""The value that a control server gives its agents: it says itself that they live, so no driver sends heartbeats."""

_OF_THE_TOWN: Final = frozenset({API_VARIABLE, TOKEN_VARIABLE, GENERATION_VARIABLE, ORDER_VARIABLE})
_OF_THE_LANGUAGE: Final = frozenset(
    {"LANG", "LANGUAGE", "LC_ALL", "LC_COLLATE", "LC_CTYPE", "LC_MESSAGES", "LC_NUMERIC", "LC_TIME"}
)
_LANGUAGE: Final = re.compile(r"[A-Za-z0-9_.@:-]{0,128}")
"""A value without a slash. Programs look for their translations in a directory of this name."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_RESERVED: Final = re.compile(r"TOWN(?:CTL)?_.*")
"""The names that the control server and the runtime set themselves; some hold keys, others say what an agent is."""


def named_variables(names: Iterable[str]) -> frozenset[str]:
    """The names that an operator gave. Raises ValueError if one is not the name of a variable, or is one of the town's own."""
    found = frozenset(name.strip() for name in names if name.strip())
    for name in sorted(found):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of an environment variable: use letters, digits and _")
        if _RESERVED.fullmatch(name):
            raise ValueError(f"{name} is the town's own variable, which agents get in their start file: do not name it")
    return found


def values_of(names: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """The named variables that an environment has."""
    return {name: environment[name] for name in sorted(names) if name in environment}


def wrong_in_start(variables: Mapping[str, str], *, named: frozenset[str]) -> str | None:
    """The problem with the first variable of a start request that may not be set; None if all may be. Shows no value."""
    return _wrong(variables, _OF_THE_TOWN, named)


def wrong_in_configuration(variables: Mapping[str, str], *, named: frozenset[str]) -> str | None:
    """The same for variables of every later start, which say nothing about one agent."""
    return _wrong(variables, frozenset(), named)


def _wrong(variables: Mapping[str, str], of_the_town: frozenset[str], named: frozenset[str]) -> str | None:
    for name, value in variables.items():
        if name not in of_the_town | _OF_THE_LANGUAGE | named:
            shown = name if _NAME.fullmatch(name) else ascii(name[:100])
            return f"a request may not set {shown}; the operator of the control server allows names in {NAMED_VARIABLE}"
        if "\0" in value:
            return f"{name} contains the character U+0000"
        if name in _OF_THE_LANGUAGE - named and not _LANGUAGE.fullmatch(value):
            return f"{name} is not the name of a language"
    return None
