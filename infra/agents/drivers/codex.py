"""Codex: `codex exec --json -`, which reads its prompt from standard input.

It tells of every command when it begins and when it has ended, of its own retries in words, and at the end which tokens the
session has used.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Final

from infra.agents.drivers import contract
from infra.agents.drivers.failures import failure_of
from infra.agents.drivers.readings import about, inner, number, one_line, text

_PROVIDER: Final = "town"
_KEY: Final = "OPENAI_API_KEY"
_OWN_KEY: Final = "CODEX_API_KEY"
_LOGIN: Final = "auth.json"
_RETRY: Final = "Reconnecting..."
_SECRETS: Final = (_KEY, _OWN_KEY)
_TOOL_VARIABLES: Final = ("TOWN_", "TOWNCTL_", "GIT_", "HTTP", "http", "NO_PROXY", "no_proxy", "SSL_", "PYTHON", "AWS_")


class Codex:
    """The driver of Codex."""

    name: Final = "codex"
    program: Final = "codex"
    install: Final = "npm install --global @openai/codex"
    logins: Final[Mapping[str, str]] = {".codex/auth.json": _LOGIN}

    def missing_key(self, setting: contract.Access) -> str | None:
        """A key or a login. A model server of one's own may need none."""
        has_key = any(setting.environment.get(name) for name in _SECRETS)
        if setting.model_url or has_key or (setting.place / _LOGIN).exists():
            return None
        return "set OPENAI_API_KEY with --agent-env OPENAI_API_KEY, or use --agent-login codex"

    def start(self, program: str, prompt: str, setting: contract.Setting, *, session_id: str | None) -> contract.Start:
        """Write the configuration, and resume with `exec resume`."""
        (setting.place / "config.toml").write_text(_configuration(setting), encoding="utf-8")
        command = [program, "exec", *(["resume", session_id] if session_id else []), "--json", "--skip-git-repo-check"]
        command += ["--dangerously-bypass-approvals-and-sandbox", "-"]
        return contract.Start(tuple(command), prompt, {"CODEX_HOME": str(setting.place)})

    def reader(self) -> contract.Reader:
        """A reader of one turn."""
        return _Reader()


class _Reader:
    """The events of `exec --json`."""

    def __init__(self) -> None:
        self._error = ""

    def event(self, line: Mapping[str, object]) -> Iterable[contract.Happening]:
        match line.get("type"):
            case "thread.started":
                yield contract.SessionBegan(text(line.get("thread_id")))
            case "item.started":
                yield from _began(inner(line, "item"))
            case "item.completed":
                yield from _ended(inner(line, "item"))
            case "turn.completed":
                yield _used(inner(line, "usage"))
                yield contract.TurnEnded()
            case "error":
                said = text(line.get("message"))
                failure = failure_of(said)
                yield contract.Retrying(failure) if said.startswith(_RETRY) else contract.SomethingElse("error")
            case "turn.failed":
                yield contract.Failed(failure_of(text(inner(line, "error").get("message"))))
            case kind:
                yield contract.SomethingElse(text(kind))

    def complaint(self, line: str) -> Iterable[contract.Happening]:  # noqa: ARG002 - the contract's shape
        return ()


def _began(item: Mapping[str, object]) -> Iterable[contract.Happening]:
    kind = text(item.get("type"))
    if kind in ("command_execution", "mcp_tool_call", "web_search", "file_change"):
        yield contract.ToolBegan(text(item.get("id")), _tool(item), _about(item))
    else:
        yield contract.SomethingElse(kind)


def _ended(item: Mapping[str, object]) -> Iterable[contract.Happening]:
    match item.get("type"):
        case "agent_message":
            yield contract.Said(text(item.get("text")))
        case "command_execution" | "mcp_tool_call" | "web_search" | "file_change":
            output = text(item.get("aggregated_output")) or _output(item)
            failed = item.get("status") == "failed"
            yield contract.ToolEnded(text(item.get("id")), _tool(item), _about(item), output, failed=failed)
        case "error":  # a warning; errors that end a turn come as turn.failed
            yield contract.SomethingElse("warning")
        case kind:
            yield contract.SomethingElse(text(kind))


def _tool(item: Mapping[str, object]) -> str:
    return text(item.get("tool")) or {"command_execution": "shell"}.get(text(item.get("type")), text(item.get("type")))


def _about(item: Mapping[str, object]) -> str:
    if item.get("type") == "file_change":
        return one_line(json.dumps(item.get("changes")))
    return about(inner(item, "arguments") or item)


def _output(item: Mapping[str, object]) -> str:
    """The answer of a tool server."""
    error = text(inner(item, "error").get("message"))
    found = inner(item, "result").get("content")
    return error or ("" if found is None else json.dumps(found, ensure_ascii=False))


def _used(usage: Mapping[str, object]) -> contract.Used:
    cached = number(usage.get("cached_input_tokens"))
    return contract.Used(
        input_tokens=max(0, number(usage.get("input_tokens")) - cached),
        output_tokens=number(usage.get("output_tokens")),
        cached_tokens=cached,
        of=contract.Span.SESSION,
    )


def _configuration(setting: contract.Setting) -> str:
    """The program's configuration as TOML. It names variables that hold keys, and no key."""
    lines = [
        'approval_policy = "never"',
        'sandbox_mode = "danger-full-access"',
        "check_for_update_on_startup = false",
        "allow_login_shell = false",  # /etc/profile would take town-agent off PATH
        f"developer_instructions = {_quoted(setting.order.system_prompt or '')}",
    ]
    if setting.models.model:
        lines.append(f"model = {_quoted(setting.models.model)}")
    key = _OWN_KEY if setting.environment.get(_OWN_KEY) else _KEY
    is_logged_in = (setting.place / _LOGIN).exists() and not setting.environment.get(key)
    if setting.model_url or not is_logged_in:
        lines.append(f"model_provider = {_quoted(_PROVIDER)}")
    lines += ["[analytics]", "enabled = false", "[otel]", 'exporter = "none"']
    # A snapshot is a file with every variable of the program, its keys too, and stays if the program is killed.
    lines += ["[features]", "shell_snapshot = false"]
    lines += ["[shell_environment_policy]", 'inherit = "all"', "ignore_default_excludes = true"]
    lines.append(f"exclude = {json.dumps(list(_SECRETS))}")
    if setting.model_url or not is_logged_in:
        url = setting.model_url.rstrip("/").removesuffix("/v1") if setting.model_url else "https://api.openai.com"
        lines += [f"[model_providers.{_PROVIDER}]", 'name = "Town"', f"base_url = {_quoted(url + '/v1')}"]
        lines += ['wire_api = "responses"', "request_max_retries = 1", "stream_max_retries = 3"]
        lines += [f"env_key = {_quoted(key)}"] if setting.environment.get(key) else []
    if setting.tools:
        handed = sorted(name for name in setting.environment if name.startswith(_TOOL_VARIABLES))
        lines += ["[mcp_servers.town]", f"command = {_quoted(setting.tools[0])}"]
        lines += [f"args = {json.dumps(list(setting.tools[1:]))}", f"env_vars = {json.dumps(handed)}"]
        lines += ["required = true", "startup_timeout_sec = 60"]
    return "\n".join(lines) + "\n"


def _quoted(said: str) -> str:
    """A TOML string. JSON's escapes are TOML's, but for DEL, which JSON leaves as it is, and pairs of surrogates."""
    return json.dumps(said, ensure_ascii=False).replace("\x7f", "\\u007f")
