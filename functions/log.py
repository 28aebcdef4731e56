"""The log of a function: its standard output, one line for each entry."""

import json
import sys
from dataclasses import asdict

from shared.adapters.aws_sdk import SdkCall, watch_calls
from shared.domain.errors import SettingsInvalid
from shared.domain.secret_texts import digest_of, masked, named, places_of


def write_line(line: str) -> None:
    """Write one line."""
    print(line, file=sys.stdout, flush=True)  # noqa: T201 - standard output is the log of a Lambda


def start(level: str) -> None:
    """Log what a level asks for. DEBUG adds the calls of services of AWS; all else is logged at every level.

    Call it when a handler is loaded. An unknown level is only a line in the log.
    """
    if level == "DEBUG":
        watch_calls(_sdk_called)
    elif level not in ("INFO", "WARN"):
        setting_ignored("LOG_LEVEL")


def _sdk_called(call: SdkCall) -> None:
    write_line(json.dumps({"event": "sdk.called", **asdict(call)}))


def setting_ignored(variable: str) -> None:
    """Log that a telemetry setting is invalid and ignored, because telemetry must never stop a function. No value is shown."""
    hint = "correct the parameter or the secret behind it, and deploy again"
    write_line(json.dumps({"event": "setting.ignored", "setting": variable, "hint": hint}))


def error_told(event: str, error: BaseException) -> None:
    """Log an error: its class, its place in the code and the digest of its text, which may quote what others wrote.

    Only the errors that name nothing but settings are logged with their text.
    """
    text = str(error)
    line: dict[str, object] = {"event": event, "error": named(type(error).__name__), "where": places_of(error)}
    line |= {"problem": masked(text)} if isinstance(error, SettingsInvalid) else {"error_sha256": digest_of(text)}
    write_line(json.dumps(line))
