"""What a request to a model says, whatever its protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

By = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Said:
    """One entry of a conversation. An `assistant` entry is a whole turn of the model, of which the text may be empty."""

    by: By
    text: str


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """A tool that the program offers. `namespace` is the group in which Codex offers the tools of an MCP server."""

    name: str
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A request. `running` is the session of a shell command that has not ended; Codex hands it over after some seconds."""

    model: str
    said: tuple[Said, ...]
    tools: tuple[OfferedTool, ...] = ()
    streamed: bool = False
    running: int | None = None

    @property
    def turns(self) -> int:
        """How often the model has answered."""
        return sum(each.by == "assistant" for each in self.said)

    @property
    def results(self) -> tuple[str, ...]:
        """The output of every tool that was called, in order."""
        return tuple(each.text for each in self.said if each.by == "tool")


def text_of(content: Any) -> str:
    """The text in the content of a message, which is a string, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        return text_of(content.get("text") or content.get("content") or content.get("output") or "")
    return "\n".join(text_of(part) for part in content or ())
