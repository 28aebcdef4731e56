"""Under which name and with which arguments a program offers its shell and the tools of MCP servers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from infra.devstack.model_server.conversation import Conversation, OfferedTool
from infra.devstack.model_server.scripts import Call, Refuse, Reply, Say, Shell

_LONGEST_MS: Final = 600_000
"""How long a command may run: the most that Claude Code allows, in milliseconds."""

_POLL_MS: Final = 5_000
_LOOK: Final = "write_stdin"
_WAIT: Final = "WaitForMcpServers"
WAITS: Final = (_LOOK, _WAIT)
"""Tools that only wait: for a command that Codex has handed over, and for servers that Claude Code is still starting. A call of one
is not a turn of the script.
"""


def _described(command: str) -> dict[str, Any]:
    return {"command": command, "description": "Runs a command", "timeout": _LONGEST_MS}


_SHELLS: Final[Mapping[str, Callable[[str], dict[str, Any]]]] = {
    "bash": _described,  # opencode
    "Bash": _described,  # Claude Code
    "exec_command": lambda command: {"cmd": command, "yield_time_ms": _POLL_MS},  # Codex
    "shell_command": lambda command: {"command": command, "timeout_ms": _LONGEST_MS},  # Codex, for some models
}


class NotOffered(Exception):
    """The script calls a tool that the program does not offer; the text says which ones it offers."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the program understands it."""

    name: str
    arguments: dict[str, Any]
    namespace: str = ""


def next_content(reply: Reply, conversation: Conversation) -> ToolCall | Say | Refuse:
    """A reply with the names that this program has for its tools, or one more look at what still runs. Raises NotOffered."""
    if conversation.running is not None:
        return ToolCall(_LOOK, {"session_id": conversation.running, "chars": "", "yield_time_ms": _POLL_MS})
    if isinstance(reply, Shell):
        return _shell(reply.command, conversation.tools)
    return _of_a_server(reply, conversation.tools) if isinstance(reply, Call) else reply


def _shell(command: str, offered: Sequence[OfferedTool]) -> ToolCall:
    for tool in offered:
        if tool.name in _SHELLS:
            return ToolCall(tool.name, _SHELLS[tool.name](command))
    raise NotOffered(f"the script runs a command, and the program offers no shell but {_names(offered)}")


def _of_a_server(call: Call, offered: Sequence[OfferedTool]) -> ToolCall:
    found = [tool for tool in offered if tool.name == call.tool or tool.name.endswith(f"_{call.tool}")]
    if found:
        tool = min(found, key=lambda each: len(each.name))  # `town_waiting`, not `town_list_waiting`
        return ToolCall(tool.name, call.arguments, tool.namespace)
    if any(tool.name == _WAIT for tool in offered):
        return ToolCall(_WAIT, {})
    raise NotOffered(f"the script calls {call.tool}, and the program offers {_names(offered)}")


def _names(offered: Sequence[OfferedTool]) -> str:
    return ", ".join(f"{each.namespace}{each.name}" for each in offered) or "nothing"
