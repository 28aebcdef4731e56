"""Claude Code: `claude -p --output-format stream-json`, which reads its prompt from standard input.

It tells of every tool when it is called and when it has ended, of its own retries, and at the end what the turn has cost.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

from infra.agents.drivers import contract
from infra.agents.drivers.contract import Failure, Trouble
from infra.agents.drivers.failures import failure_of
from infra.agents.drivers.readings import about, inner, items, micros, number, text

_KEYS: Final = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
_CLOUDS: Final = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY")
_LOGIN: Final = ".credentials.json"
_SYSTEM_PROMPT: Final = "system-prompt.md"
_MCP: Final = "mcp.json"
_MOST_CALLS: Final = 1_000
_OFF: Final = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "CLAUDE_CODE_MAX_RETRIES": "3",
    "IS_SANDBOX": "1",
    "MCP_CONNECTION_NONBLOCKING": "0",
    "MCP_TIMEOUT": "60000",
}
"""Nothing is sent but what the model needs; retries are the session's. Without IS_SANDBOX, it refuses to work as root. It waits
for the town's tools before it asks the model.
"""

_OTHERS_TOOLS: Final = ("CronCreate", "ScheduleWakeup", "EnterWorktree", "ExitWorktree", "AskUserQuestion")
"""They would act after the turn, leave the branch of the order, or ask a person who is not there."""

_TROUBLES: Final = {
    "authentication_failed": Trouble.WRONG_KEY,
    "billing_error": Trouble.NO_CREDIT,
    "rate_limit": Trouble.RATE_LIMITED,
    "overloaded": Trouble.OVERLOADED,
    "server_error": Trouble.OVERLOADED,
    "model_not_found": Trouble.UNKNOWN_MODEL,
}


_SAID_MORE_PRECISELY: Final = frozenset({Trouble.NO_KEY, Trouble.BROKEN_STREAM, Trouble.UNREACHABLE})
"""What its words tell, while its `error` says that the key is wrong or that the server has failed."""


class Claude:
    """The driver of Claude Code."""

    name: Final = "claude"
    program: Final = "claude"
    install: Final = "npm install --global @anthropic-ai/claude-code"
    logins: Final[Mapping[str, str]] = {".claude/.credentials.json": _LOGIN}

    def missing_key(self, setting: contract.Access) -> str | None:
        """A key, a token, a login, or the credentials of a cloud."""
        has_key = any(setting.environment.get(name) for name in (*_KEYS, *_CLOUDS))
        if has_key or (setting.place / _LOGIN).exists():
            return None
        return "set ANTHROPIC_API_KEY with --agent-env ANTHROPIC_API_KEY, or use --agent-login claude"

    def start(self, program: str, prompt: str, setting: contract.Setting, *, session_id: str | None) -> contract.Start:
        """Write the configuration, and resume with `--resume`."""
        (setting.place / _SYSTEM_PROMPT).write_text(setting.order.system_prompt or "", encoding="utf-8")
        servers = {"town": {"command": setting.tools[0], "args": list(setting.tools[1:])}} if setting.tools else {}
        (setting.place / _MCP).write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
        command = [program, "-p", "--output-format", "stream-json", "--verbose", "--dangerously-skip-permissions"]
        command += ["--append-system-prompt-file", str(setting.place / _SYSTEM_PROMPT)]
        command += ["--strict-mcp-config", "--mcp-config", str(setting.place / _MCP)]
        command += ["--disallowedTools", ",".join(_OTHERS_TOOLS)]
        command += ["--model", setting.models.model] if setting.models.model else []
        command += ["--resume", session_id] if session_id else []
        environment = {"CLAUDE_CONFIG_DIR": str(setting.place), **_OFF}
        if setting.model_url:
            environment["ANTHROPIC_BASE_URL"] = setting.model_url.rstrip("/").removesuffix("/v1")
        if setting.models.small_model:
            environment["ANTHROPIC_DEFAULT_HAIKU_MODEL"] = setting.models.small_model
        return contract.Start(tuple(command), prompt, environment)

    def reader(self) -> contract.Reader:
        """A reader of one turn."""
        return _Reader()


class _Reader:
    """The events of `--output-format stream-json`."""

    def __init__(self) -> None:
        self._tools: dict[str, tuple[str, str]] = {}
        self._error = ""

    def event(self, line: Mapping[str, object]) -> Iterable[contract.Happening]:
        match line.get("type"), line.get("subtype"):
            case "system", "init":
                yield contract.SessionBegan(text(line.get("session_id")))
            case "system", "api_retry":
                yield contract.Retrying(_retry(line))
            case "system", "compact_boundary":
                yield contract.Compacted()
            case "assistant", _:
                yield from self._assistant(line)
            case "user", _:
                yield from self._results(line)
            case "result", _:
                yield from self._result(line)
            case kind, subtype:
                yield contract.SomethingElse(text(subtype) or text(kind))

    def complaint(self, line: str) -> Iterable[contract.Happening]:  # noqa: ARG002 - the contract's shape
        return ()

    def _assistant(self, line: Mapping[str, object]) -> Iterable[contract.Happening]:
        message = inner(line, "message")
        if message.get("model") == "<synthetic>":  # the program's own words about a failure; the result repeats them
            self._error = text(line.get("error"))
            yield contract.SomethingElse("message of the program")
            return
        for block in items(message.get("content")):
            if block.get("type") == "text":
                yield contract.Said(text(block.get("text")))
            elif block.get("type") == "tool_use":
                call_id, tool, shown = text(block.get("id")), text(block.get("name")), about(inner(block, "input"))
                if len(self._tools) < _MOST_CALLS:
                    self._tools[call_id] = (tool, shown)
                yield contract.ToolBegan(call_id, tool, shown)
            else:
                yield contract.SomethingElse(text(block.get("type")))

    def _results(self, line: Mapping[str, object]) -> Iterable[contract.Happening]:
        for block in items(inner(line, "message").get("content")):
            if block.get("type") == "tool_result":
                call_id, content = text(block.get("tool_use_id")), block.get("content")
                output = text(content) or "\n".join(text(part.get("text")) for part in items(content))
                tool, shown = self._tools.pop(call_id, ("tool", ""))
                yield contract.ToolEnded(call_id, tool, shown, output, failed=block.get("is_error") is True)

    def _result(self, line: Mapping[str, object]) -> Iterable[contract.Happening]:
        for model, used in inner(line, "modelUsage").items():
            yield _used(model, inner(used))
        if line.get("is_error") is not True and line.get("subtype") == "success":
            yield contract.TurnEnded()
            return
        said = text(line.get("result")) or text(line.get("subtype")) or "it failed without a reason"
        if line.get("stop_reason") == "refusal":
            yield contract.Failed(Failure(Trouble.REFUSED, said))
            return
        found = failure_of(said, status=number(line.get("api_error_status")) or None)
        by_words = found.trouble in _SAID_MORE_PRECISELY
        trouble = found.trouble if by_words else _TROUBLES.get(self._error, found.trouble)
        yield contract.Failed(Failure(trouble, found.said))


def _used(model: str, used: Mapping[str, object]) -> contract.Used:
    return contract.Used(
        input_tokens=number(used.get("inputTokens")) + number(used.get("cacheCreationInputTokens")),
        output_tokens=number(used.get("outputTokens")),
        cached_tokens=number(used.get("cacheReadInputTokens")),
        cost_micros=micros(used.get("costUSD")),
        model=model.removesuffix("[1m]"),
        of=contract.Span.TURN,
    )


def _retry(line: Mapping[str, object]) -> Failure:
    error = text(line.get("error"))
    delay = timedelta(milliseconds=min(number(line.get("retry_delay_ms")), 3_600_000))
    found = failure_of(error, status=number(line.get("error_status")) or None, retry_after=delay)
    return Failure(_TROUBLES.get(error, found.trouble), found.said, found.retry_after)
