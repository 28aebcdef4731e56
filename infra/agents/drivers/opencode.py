"""opencode: `opencode run --format json`, which reads its prompt from standard input.

Its events tell of a tool only when it has ended, so a tool that runs shows as silence. Its own retries appear only in its log,
which it prints as error output.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

from infra.agents.drivers import contract
from infra.agents.drivers.failures import failure_of, retry_after_in
from infra.agents.drivers.readings import about, inner, micros, number, one_line, text

_PROVIDER: Final = "town"
_KEYS: Final = (
    *("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY", "GEMINI_API_KEY", "GOOGLE_GENERATIVE_AI_API_KEY"),
    *("GROQ_API_KEY", "MISTRAL_API_KEY", "DEEPSEEK_API_KEY", "XAI_API_KEY", "OPENCODE_API_KEY", "AWS_ACCESS_KEY_ID"),
)
_OWN_KEY: Final = "OPENAI_API_KEY"
_LOGGED_ERROR: Final = re.compile(
    r"level=ERROR .*message=\"?stream error.*?error\.error=\"(?P<said>(?:[^\"\\]|\\.)*)\""
)
_OFF: Final = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    "OPENCODE_DISABLE_CLAUDE_CODE": "1",
    "OPENCODE_DISABLE_TERMINAL_TITLE": "1",
}
_SYSTEM_PROMPT: Final = "system-prompt.md"
_NO_REASON: Final = frozenset({"", "unknown", "other"})


class Opencode:
    """The driver of opencode."""

    name: Final = "opencode"
    program: Final = "opencode"
    install: Final = "npm install --global opencode-ai"
    logins: Final[Mapping[str, str]] = {".local/share/opencode/auth.json": "data/opencode/auth.json"}

    def missing_key(self, setting: contract.Access) -> str | None:
        """A key of any provider will do: which one the model needs, only opencode knows."""
        has_key = any(setting.environment.get(name) for name in _KEYS)
        if setting.model_url or has_key or (setting.place / "data/opencode/auth.json").exists():
            return None
        return "set the key of your model's provider, for example with --agent-env ANTHROPIC_API_KEY, or --agent-login opencode"

    def start(self, program: str, prompt: str, setting: contract.Setting, *, session_id: str | None) -> contract.Start:
        """Write the configuration, and resume with `--session`."""
        config = setting.place / "opencode.json"
        (setting.place / _SYSTEM_PROMPT).write_text(setting.order.system_prompt or "", encoding="utf-8")
        config.write_text(json.dumps(_configuration(setting)), encoding="utf-8")
        own = {name: str(setting.place / name.lower()) for name in ("config", "data", "state", "cache")}
        environment = {f"XDG_{name.upper()}_HOME": path for name, path in own.items()} | _OFF
        environment["OPENCODE_CONFIG"] = str(config)
        if setting.model_url:
            environment["OPENCODE_DISABLE_MODELS_FETCH"] = "1"
        resume = ("--session", session_id) if session_id else ()
        command = (program, "run", "--format", "json", "--print-logs", "--log-level", "ERROR", *resume)
        return contract.Start(command, prompt, environment)

    def reader(self) -> contract.Reader:
        """A reader of one turn."""
        return _Reader()


class _Reader:
    """The events of `run --format json` and the log."""

    def __init__(self) -> None:
        self._session_id = ""

    def event(self, line: Mapping[str, object]) -> Iterable[contract.Happening]:
        session_id, part = text(line.get("sessionID")), inner(line, "part")
        if session_id and session_id != self._session_id:
            self._session_id = session_id
            yield contract.SessionBegan(session_id)
        match line.get("type"):
            case "text" if part.get("synthetic") is True:
                compacted = inner(part, "metadata").get("compaction_continue") is True
                yield contract.Compacted() if compacted else contract.SomethingElse("synthetic text")
            case "text":
                yield contract.Said(text(part.get("text")))
            case "tool_use":
                yield _tool(part)
            case "step_finish":
                yield _used(part)
                yield from _end_of(part)
            case "error":
                yield contract.Failed(_failure(inner(line, "error")))
            case kind:
                yield contract.SomethingElse(text(kind))

    def complaint(self, line: str) -> Iterable[contract.Happening]:
        found = _LOGGED_ERROR.search(line)
        if found is not None:
            yield contract.Retrying(failure_of(found["said"]))


def _tool(part: Mapping[str, object]) -> contract.ToolEnded:
    state = inner(part, "state")
    failed = state.get("status") == "error"
    output = text(state.get("error")) if failed else text(state.get("output"))
    return contract.ToolEnded(
        text(part.get("callID")), text(part.get("tool")), about(inner(state, "input")), output, failed=failed
    )


def _end_of(part: Mapping[str, object]) -> Iterable[contract.Happening]:
    """What the end of a step means: after tool calls, another step follows. An answer that broke off ends like any other, but
    for its reason, and without a count of tokens.
    """
    reason = text(part.get("reason"))
    if reason == "content-filter":
        yield contract.Failed(
            contract.Failure(contract.Trouble.REFUSED, "the provider's content filter stopped the answer")
        )
    elif reason in _NO_REASON and not number(inner(part, "tokens").get("output")):
        yield contract.Failed(
            contract.Failure(contract.Trouble.BROKEN_STREAM, "an answer of the model ended without a reason")
        )
    elif reason != "tool-calls":
        yield contract.TurnEnded()


def _used(part: Mapping[str, object]) -> contract.Used:
    tokens = inner(part, "tokens")
    cache = inner(tokens, "cache")
    cost = micros(part.get("cost"))
    return contract.Used(
        input_tokens=number(tokens.get("input")) + number(cache.get("write")),
        output_tokens=number(tokens.get("output")) + number(tokens.get("reasoning")),
        cached_tokens=number(cache.get("read")),
        cost_micros=cost or None,  # 0 is what it says of a model whose price it does not know
    )


def _failure(error: Mapping[str, object]) -> contract.Failure:
    data = inner(error, "data")
    said = f"{text(error.get('name'))}: {text(data.get('message')) or one_line(str(data))}"
    status = number(data.get("statusCode")) or None
    return failure_of(
        said, status=status, retry_after=retry_after_in(inner(data, "responseHeaders").get("retry-after"))
    )


def _configuration(setting: contract.Setting) -> dict[str, object]:
    """The program's configuration: everything is allowed, because nobody is there to be asked."""
    models = setting.models
    found: dict[str, object] = {
        "permission": {"*": "allow", "question": "deny"},
        "share": "disabled",
        "autoupdate": False,
        "instructions": [str(setting.place / _SYSTEM_PROMPT)],
    }
    prefix = ""
    if setting.model_url:
        prefix = f"{_PROVIDER}/"
        names = {name for name in (models.model or "default", models.small_model) if name}
        key = f"{{env:{_OWN_KEY}}}" if setting.environment.get(_OWN_KEY) else "none"
        found["provider"] = {
            _PROVIDER: {
                "npm": "@ai-sdk/openai-compatible",
                "options": {"baseURL": _with_version(setting.model_url), "apiKey": key},
                "models": {name: {"name": name} for name in sorted(names)},
            }
        }
    model = models.model or ("default" if setting.model_url else None)
    if model:
        found["model"] = f"{prefix}{model}"
    if models.small_model:
        found["small_model"] = f"{prefix}{models.small_model}"
    if setting.tools:
        found["mcp"] = {"town": {"type": "local", "command": list(setting.tools), "enabled": True}}
    return found


def _with_version(url: str) -> str:
    base = url.rstrip("/")
    return base if base.endswith("/v1") else f"{base}/v1"
