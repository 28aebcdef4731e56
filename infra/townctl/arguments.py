"""Files, JSON values and times that the user gives: they are read strictly, and an error names the option.

`what` is the name of the option or argument, such as `config`; an error shows it as the user typed it, `--config`.
"""

import contextlib
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, cast

from cyclopts import Parameter

from shared.adapters import outside_files
from shared.domain import strict_json
from shared.domain.errors import Refused
from shared.intake.asked_time import time_in

if TYPE_CHECKING:
    from shared.replay.time_window import Window

_FILE_SIZE: Final = 16 << 20
_FILE_DEPTH: Final = 64

_SHOWN: Final = 40
_SPAN: Final = r"(\d{1,9})\s*(s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?|w|weeks?)(?![a-z])"
_ONE_SPAN: Final = re.compile(_SPAN, re.IGNORECASE)
_AGO: Final = re.compile(rf"(?:{_SPAN}\s*)+(?:ago)?", re.IGNORECASE)
_UNITS: Final[Mapping[str, timedelta]] = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}

_EXAMPLES: Final = {"overrides": '{"config": {"max_polecats_per_rig": 1}}', "config": '{"merge_strategy": "direct"}'}
_EXAMPLE: Final = '{"title": "text"}'

LARGEST_MIB: Final = 64
_MOST_MIB: Final = 1024

Largest = Annotated[
    int,
    Parameter(
        help="The largest size, in MiB, of the file, as it is and unpacked. A larger one is refused, because a small file from "
        "elsewhere may become very large; raise it only for a file that you trust."
    ),
]

Force = Annotated[bool, Parameter(negative="", help="Replace the file if it exists.")]

TownName = Annotated[
    str, Parameter(help="The town's id: 1 to 64 lower-case letters, digits and hyphens; no hyphen at the start.")
]
BeadId = Annotated[str, Parameter(help="The bead's id, a prefix that no other bead has, or its title.")]
AgentId = Annotated[str, Parameter(help="The agent's id, a prefix that no other agent has, or the agent's name.")]


def bytes_of_largest(mib: int) -> int:
    """The size that --largest allows, in bytes. Raises Refused."""
    if not 1 <= mib <= _MOST_MIB:
        hint = f"leave --largest out for {LARGEST_MIB} MiB"
        raise Refused(f"--largest must be 1 to {_MOST_MIB} (MiB), not {mib}", status=400, path="largest", hint=hint)
    return mib << 20


def content_of(name: str, *, what: str, at_most: int = _FILE_SIZE, raised_by: str | None = None) -> bytes:
    """The bytes of a file that the user named; `-` is standard input. `raised_by` is the option that allows a larger one.

    Raises Refused.
    """
    try:
        if name == "-":
            return _at_most(sys.stdin.buffer, what, at_most, raised_by)
        with Path(name).open("rb") as file:
            return _at_most(file, what, at_most, raised_by)
    except OSError as error:
        hint = "give the path of a readable file, or - for standard input"
        raise Refused(f"cannot read {name}: {error.strerror or error}", status=400, path=what, hint=hint) from error


def json_of(body: bytes, *, what: str) -> Any:
    """One JSON value, parsed strictly. Raises Refused, which says where the JSON is wrong."""
    try:
        return strict_json.parse(body, limit=_FILE_SIZE, depth=_FILE_DEPTH)
    except Refused as problem:
        raise Refused(
            f"--{what} is not valid JSON: {problem.message.removeprefix('not JSON: ')}",
            status=problem.status,
            path=problem.path or what,
            hint=_json_hint(what) if "the body" in problem.hint else problem.hint,  # a command line has no body
        ) from None


def _json_hint(what: str) -> str:
    example = _EXAMPLES.get(what, _EXAMPLE)
    return f"give one JSON value, for example {example}; `python -m json.tool` shows where a file is wrong"


def json_or_file(given: str, *, what: str) -> Any:
    """The JSON that an option has as text, or in the file that it names; `-` is standard input. Raises Refused."""
    if given.lstrip().startswith(("{", "[")) and not Path(given).exists():
        return json_of(given.encode(errors="replace"), what=what)
    return json_of(content_of(given, what=what), what=what)


def time_of(text: str | None, *, what: str) -> datetime | None:
    """A time that the user wrote in full. Raises Refused."""
    return None if text is None else time_in(text, what, name=f"--{what}")


def is_ago(text: str) -> bool:
    """Whether a time is written as how long ago it is."""
    return _AGO.fullmatch(text.strip()) is not None


def past_time_of(text: str, *, what: str, now: Callable[[], datetime]) -> datetime:
    """A time that the user wrote in full, or as how long ago it is by the town's clock: `1h`, `30 min ago`. Raises Refused."""
    if is_ago(text):
        spans = [(int(count), unit[0].lower()) for count, unit in _ONE_SPAN.findall(text)]
        try:
            return now() - sum((count * _UNITS[unit] for count, unit in spans), timedelta())
        except OverflowError:
            problem = f"--{what} is before the year 1: {text[:_SHOWN]!r}"
            raise Refused(problem, status=400, path=what, hint="write a shorter time") from None
    try:
        return time_in(text, what, name=f"--{what}")
    except Refused as problem:
        problem.hint = f"{problem.hint}; or write how long ago it is, such as 1h, '30 min ago' or '2 days ago'"
        raise


def window_asked(from_: str, to: str | None, *, now: Callable[[], datetime]) -> "Window":
    """The window that --from and --to name, up to the present without --to. Raises Refused."""
    from shared.replay.time_window import window_of

    start = past_time_of(from_, what="from", now=now)
    end = now() if to is None else past_time_of(to, what="to", now=now)
    return window_of(start, end, now=now())


def require_limit(limit: int, at_most: int) -> None:
    """Check --limit. Raises Refused."""
    if not 1 <= limit <= at_most:
        hint = "leave --limit out for the default"
        raise Refused(f"--limit must be 1 to {at_most}, not {limit}", status=400, path="limit", hint=hint)


def require_new(to: Path, *, force: bool, what: str) -> None:
    """Refuse to replace a file, unless --force was given. Raises Refused."""
    if to.exists() and not force:
        hint = "choose another name, or add --force to replace the file"
        raise Refused(f"{to} exists, and nothing was written", status=409, path=what, hint=hint)


def write_whole(to: Path, body: bytes, *, what: str) -> None:
    """Write a file atomically. Raises Refused."""
    with writing_whole(to, what=what) as file:
        file.write(body)


@contextlib.contextmanager
def writing_whole(to: Path, *, what: str) -> Iterator[BinaryIO]:
    """A file to write to, which has its name when the block has ended without an error; else it is removed. Raises Refused."""
    part: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=to.resolve().parent, prefix=f".{to.name}.", delete=False) as file:
            part = Path(file.name)
            yield cast(BinaryIO, file)
        part.replace(to)
    except OSError as error:
        hint = "give the path of a file in a writable directory"
        raise Refused(f"cannot write {to}: {error.strerror or error}", status=400, path=what, hint=hint) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)  # it is gone already if it has got its name


def _at_most(file: BinaryIO, what: str, size: int, raised_by: str | None) -> bytes:
    body = outside_files.at_most(file, size + 1)
    if len(body) > size:
        allow = f"if you trust the file, allow more with --{raised_by} MIB"
        hint = "give a smaller file" if raised_by is None else allow
        largest = f"{size >> 20} MiB" if size >= 1 << 20 else f"{size >> 10} KiB"
        raise Refused(f"the content is larger than {largest}", status=413, path=what, hint=hint)
    return body
