"""The command line: find the command, run it, and print its answer or its error.

Exit codes: 0 done; 1 done, and something needs attention; 2 refused, nothing was done; 70 a bug in townctl (the only case
with a traceback); 130 interrupted.
"""

import contextlib
import gc
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, CycloptsError, Group, MissingArgumentError, Parameter
from rich.text import Text

from infra.buckets import Bucket
from infra.townctl import commands, people
from infra.townctl.context import Context, OpenDirectory
from infra.townctl.output import BROKEN, INTERRUPTED, OK, REFUSED, Answer, compact, lines, plain, screen
from infra.townctl.place import Place
from shared.domain.errors import ArchivedTown, Refused, TownError, UnknownTown

API_VARIABLE: Final = "TOWNCTL_API"


def _option(name: str, *, negative: str | None = None) -> Parameter:
    return Parameter(help=commands.OPTIONS[name], negative=negative)


@Parameter(name="*", group=Group("With every command", sort_key=99))
@dataclass(frozen=True, slots=True)
class Common:
    """The options of every command: where the towns are, and the form of the answer."""

    data: Annotated[str | None, _option("data")] = None
    bucket: Annotated[str | None, _option("bucket")] = None
    endpoint: Annotated[str | None, _option("endpoint")] = None
    region: Annotated[str | None, _option("region")] = None
    api: Annotated[str | None, _option("api")] = None
    utc: Annotated[bool, _option("utc", negative="")] = False
    json: Annotated[bool, _option("json", negative="")] = False

    def __post_init__(self) -> None:
        """Refuse an empty text, which a shell passes for a variable that is not set."""
        for name in ("data", "bucket", "endpoint", "region", "api"):
            if getattr(self, name) == "":
                hint = f"give a value, or leave --{name} out"
                raise Refused(f"--{name} is empty", status=400, path=name, hint=hint)

    @property
    def directory(self) -> Path | None:
        """The data directory that --data names."""
        return None if self.data is None else Path(self.data)

    @property
    def api_url(self) -> str | None:
        """The API to ask: --api, else TOWNCTL_API unless a directory or a bucket was named. Raises Refused."""
        is_elsewhere = self.data is not None or self.bucket is not None
        if self.api and is_elsewhere:
            hint = "give only one of them; --api asks a deployment, --data and --bucket open the towns themselves"
            raise Refused("--api cannot be combined with --data or --bucket", status=400, path="api", hint=hint)
        return self.api or (None if is_elsewhere else os.environ.get(API_VARIABLE)) or None

    @property
    def named_bucket(self) -> Bucket | None:
        """The bucket that the options name, completed from the environment. Raises Refused."""
        known = Bucket.from_environment(os.environ)
        name = self.bucket or (known.name if known is not None and (self.endpoint or self.region) else None)
        if name is None:
            if self.endpoint or self.region:
                hint = "name the bucket too: --bucket NAME"
                problem = "--endpoint and --region describe a bucket, and no bucket is named"
                raise Refused(problem, status=400, path="bucket", hint=hint)
            return None
        return Bucket(name, self.endpoint, self.region).completed_from(os.environ)


def run(arguments: Sequence[str], *, objects: OpenDirectory | None = None) -> int:
    """Run one command and return the exit code. `objects` opens the object store of a data directory."""
    wants_json = "--json" in arguments
    try:
        return _run(arguments, objects)
    except CycloptsError as error:
        from infra.townctl import usage

        message, hint = usage.mistake(error)
        return _complain("usage", message, hint=hint, as_json=wants_json)
    except TownError as error:
        path = error.path if isinstance(error, Refused) else ""
        is_option = any(word.partition("=")[0] == f"--{path}" for word in arguments)
        place = f"--{path}" if is_option else path
        return _complain(
            type(error).__name__, error.message, path=path, place=place, hint=error.hint, as_json=wants_json
        )
    except BrokenPipeError:
        # The reader has closed the pipe. Python must not flush into it at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:  # noqa: BLE001 - the last boundary: the exit code marks a bug, not a finding
        from shared.domain.secret_texts import masked

        print("\n".join(plain(masked(line)) for line in traceback.format_exc().splitlines()), file=sys.stderr)
        print("townctl: this is a bug in townctl; please report it with the lines above", file=sys.stderr)
        return BROKEN


def parser(words: Sequence[str] = (), objects: OpenDirectory | None = None) -> App:
    """The parser of all commands. Only the command that these words may name gets its full help; every other gets one sentence."""
    app = App(name="townctl", help=commands.HELP, version_flags=[], help_format="plaintext")
    above = {"": app}
    for name, about in commands.GROUPS.items():
        above[name] = App(name=name, help=about)
        app.command(above[name])
    for command in commands.COMMANDS:
        group, _, name = command.name.rpartition(" ")
        may_be_it = set(command.name.split()) <= set(words)
        above[group].command(f"infra.{command.path}", name=name, help=None if may_be_it else command.about)

    @app.meta.default
    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)], common: Common | None = None
    ) -> Any:
        """Find the command, and run it at the place that the options name."""
        return _launch(app, tokens, common or Common(), objects)

    return app


def _run(arguments: Sequence[str], objects: OpenDirectory | None) -> int:
    people.ABSOLUTE.set("--utc" in arguments)
    app = parser(arguments, objects)
    answer = app.meta(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    if not isinstance(answer, Answer):
        return OK  # help or version were shown
    if "--json" in arguments:
        print(compact(answer.document))
    else:
        out = screen(sys.stdout)
        for part in answer.shown:
            # The terminal breaks a line that is too long, so that a command can be copied from it.
            if isinstance(part, Text):
                part.plain = lines(part.plain)
            out.print(lines(part) if isinstance(part, str) else part, soft_wrap=isinstance(part, str | Text))
    sys.stdout.flush()
    return answer.code


def _launch(app: App, tokens: Sequence[str], common: Common, objects: OpenDirectory | None) -> Any:
    name = " ".join(app.parse_commands(tokens)[0])
    try:
        context = Context(
            named_data=common.directory,
            named_bucket=common.named_bucket,
            wants_json=common.json,
            open_directory=objects,
        )
        command, bound, ignored = _parsed(app, tokens, partial(_place, common, context))
        gc.enable()
        its = {"context": context} if "context" in ignored else {}
        if "place" in ignored:
            place = _place(common, context)
            with _advised(place.hint):
                return command(*bound.args, **bound.kwargs, place=place, **its)
        if common.api_url and not bound.arguments.get("stack"):  # a stack is not asked through the API
            commands.refuse_api(name)
        with _advised(context.where_towns_are()):
            return command(*bound.args, **bound.kwargs, **its)
    except TownError as error:
        error.hint = error.hint or f"correct it and try again; `townctl {name} --help` shows what the command takes"
        raise
    except UnicodeEncodeError as error:
        raise _not_text(tokens) or error from error


def _parsed(app: App, tokens: Sequence[str], place: Callable[[], Place]) -> Any:
    """The command with its arguments; of a command about one bead or agent, the town may be left out. Raises Refused."""
    try:
        return app.parse_args(tokens, exit_on_error=False, print_error=False)
    except MissingArgumentError:
        from infra.townctl import left_out

        words, _, arguments = app.parse_commands(tokens)
        name = " ".join(words)
        completed = left_out.with_the_town(place(), name, arguments) if name in left_out.ABOUT_ONE else None
        if completed is None:
            raise
        return app.parse_args([*words, *completed], exit_on_error=False, print_error=False)


def _not_text(tokens: Sequence[str]) -> Refused | None:
    """The error of the first argument that is not text: the shell has passed bytes that are not UTF-8."""
    for word in tokens:
        if any("\ud800" <= character <= "\udfff" for character in word):
            return Refused(f"not UTF-8 text: {word!r}", status=400, hint="write ids and texts in UTF-8")
    return None


def _place(common: Common, context: Context) -> Place:
    """The place that the options name."""
    if common.api_url is None:
        from infra.townctl.stored_towns import StoredTowns

        return StoredTowns(context)
    from infra.townctl.api import Api, base_url
    from infra.townctl.api_towns import ApiTowns

    return ApiTowns(Api(base_url(common.api_url), common.region))


@contextlib.contextmanager
def _advised(hint: str) -> Iterator[None]:
    """Add this hint to the error of a town that does not exist."""
    try:
        yield
    except ArchivedTown:
        raise
    except UnknownTown as error:
        error.hint = hint
        raise


def _complain(kind: str, message: str, *, hint: str, as_json: bool, path: str = "", place: str = "") -> int:
    """Print on standard error one line that says what happened and one that says what to do, both without secrets."""
    from shared.domain.secret_texts import masked

    message, hint = masked(message), masked(hint)
    if as_json:
        shown = {"kind": kind, "message": message, "path": path, "hint": hint}
        print(compact({"error": shown}), file=sys.stderr)
    else:
        subject = path.removesuffix("_id").removesuffix("Id")  # a message about a bead need not begin with beadId
        where = f"{place}: " if path and subject not in message else ""
        line = " ".join(f"{where}{message}".split())
        print(f"townctl: {plain(line)}", file=sys.stderr)
        print(f"  hint: {plain(hint)}", file=sys.stderr)
    return REFUSED
