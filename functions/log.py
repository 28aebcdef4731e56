"""The log of a function: its standard output, one line for each entry."""

import json
import sys

from shared.domain.errors import TownError


def write_line(line: str) -> None:
    """Write one line."""
    print(line, file=sys.stdout, flush=True)  # noqa: T201 - standard output is the log of a Lambda


def setting_ignored(variable: str) -> None:
    """Log that a telemetry setting is invalid and ignored, because telemetry must never stop a function. No value is shown."""
    hint = "correct the parameter or the secret behind it, and deploy again"
    write_line(json.dumps({"event": "setting.ignored", "setting": variable, "hint": hint}))


def request_broken(error: TownError) -> None:
    """Log why a request was answered with status 500."""
    line = {"event": "request.broken", "error": type(error).__name__, "problem": error.message, "hint": error.hint}
    write_line(json.dumps(line))
