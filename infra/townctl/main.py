"""The entry point of townctl: find the command, run it, and print its answer or its error.

Exit codes: 0 done; 1 done, and something needs attention; 2 refused, nothing was done; 70 a bug in townctl (the only case
with a traceback); 130 interrupted.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

from cyclopts import App, CycloptsError, Group, Parameter
from rich.text import Text

from infra.buckets import ENDPOINT_VARIABLE, REGION_VARIABLE, Bucket
from infra.demo.command import demo
from infra.townctl import (
    doctor,
    events,
    explain,
    export_import,
    litestream_commands,
    loop,
    over_api,
    recordings,
    replays,
    restore_points,
    secret_commands,
    serve,
    ticks,
    town_token,
    towns,
    usage,
)
from infra.townctl.context import Context, compact, screen
from infra.townctl.output import BROKEN, INTERRUPTED, OK, REFUSED, Answer
from shared.adapters.directory_objects import DirectoryObjects
from shared.domain.errors import Refused, TownError, UnknownTown
from shared.ports.object_store import ObjectStore

_HELP: Final = """\
Run towns on this machine and see what they do and why.

Towns are kept in a data directory or in an S3 bucket, and only ticks change them. Try `townctl demo` first.
Exit codes: 0 done, 1 done and something needs attention, 2 refused.
"""

_GROUPS: Final = (towns.app, events.app, explain.app, secret_commands.app, litestream_commands.app)
_COMMANDS: Final = (
    demo,
    loop.run,
    ticks.tick,
    ticks.dry_run,
    ticks.ticks,
    doctor.doctor,
    town_token.token,
    serve.serve,
    restore_points.points,
    restore_points.restore,
    restore_points.flush,
    restore_points.retention,
    recordings.record,
    replays.replay,
    export_import.export,
)


@Parameter(name="*", group=Group("With every command", sort_key=99))
@dataclass(frozen=True, slots=True)
class Common:
    """The options of every command: where the towns are, and the form of the answer."""

    data: Annotated[Path | None, Parameter(help="The data directory; default: TOWNCTL_DATA, else ./town-data.")] = None
    bucket: Annotated[
        str | None,
        Parameter(
            help="The S3 bucket that holds the towns; default: TOWNCTL_BUCKET. Local agents stay in the data directory."
        ),
    ] = None
    endpoint: Annotated[
        str | None, Parameter(help="The endpoint of a bucket that is not at AWS; default: TOWNCTL_ENDPOINT.")
    ] = None
    region: Annotated[
        str | None, Parameter(help="The region of the bucket; default: TOWNCTL_REGION, else the SDK's.")
    ] = None
    api: Annotated[
        str | None, Parameter(help="The URL of a deployment's API to send the command to; default: TOWNCTL_API.")
    ] = None
    json: Annotated[bool, Parameter(negative="", help="Print one JSON document instead of tables.")] = False

    @property
    def api_url(self) -> str | None:
        """The API to ask: --api, else TOWNCTL_API unless a directory or a bucket was named. Raises Refused."""
        is_elsewhere = self.data is not None or self.bucket is not None
        if self.api and is_elsewhere:
            hint = "give only one of them; --api asks a deployment, --data and --bucket open the towns themselves"
            raise Refused("--api cannot be combined with --data or --bucket", status=400, path="api", hint=hint)
        return self.api or (None if is_elsewhere else os.environ.get(over_api.API_VARIABLE)) or None

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
        endpoint_url = self.endpoint or os.environ.get(ENDPOINT_VARIABLE) or None
        return Bucket(name, endpoint_url, self.region or os.environ.get(REGION_VARIABLE) or None)


def main() -> None:
    """Run townctl with the arguments of this process."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], *, objects: Callable[[Path], ObjectStore] = DirectoryObjects) -> int:
    """Run one command and return the exit code. `objects` opens the object store of a data directory."""
    wants_json = "--json" in arguments
    try:
        return _run(arguments, objects)
    except CycloptsError as error:
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
        traceback.print_exc()
        print("townctl: this is a bug in townctl; please report it with the lines above", file=sys.stderr)
        return BROKEN


def command_names() -> set[str]:
    """The first word of every command."""
    return {name for name in _app(DirectoryObjects) if not name.startswith("-")}


def _run(arguments: Sequence[str], objects: Callable[[Path], ObjectStore]) -> int:
    app = _app(objects)
    answer = app.meta(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")
    if not isinstance(answer, Answer):
        return OK  # help or version were shown
    if "--json" in arguments:
        print(compact(answer.document))
    else:
        out = screen(sys.stdout)
        for part in answer.shown:
            # The terminal breaks a line that is too long, so that a command can be copied from it.
            out.print(part, soft_wrap=isinstance(part, str | Text))
    sys.stdout.flush()
    return answer.code


def _app(objects: Callable[[Path], ObjectStore]) -> App:
    app = App(name="townctl", help=_HELP, version=_version, help_format="plaintext")
    for part in (*_GROUPS, *_COMMANDS):
        app.command(part)
    app.command(export_import.import_, name="import")

    @app.meta.default
    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)], common: Common | None = None
    ) -> Any:
        """Find the command, and run it at the place that the options name."""
        return _launch(app, tokens, common or Common(), objects)

    return app


def _launch(app: App, tokens: Sequence[str], common: Common, objects: Callable[[Path], ObjectStore]) -> Any:
    command, bound, ignored = app.parse_args(tokens, exit_on_error=False, print_error=False)
    name = " ".join(app.parse_commands(tokens)[0])
    try:
        url = common.api_url
        if url and command is not town_token.token and not bound.arguments.get("stack"):  # neither uses the API
            return over_api.answer(command, name, url, common.region, *bound.args, **bound.kwargs)
        context = Context(
            named_data=common.data, named_bucket=common.named_bucket, wants_json=common.json, open_directory=objects
        )
        try:
            return command(*bound.args, **bound.kwargs, **({"context": context} if "context" in ignored else {}))
        except UnknownTown as error:
            error.hint = context.where_towns_are()
            raise
    except TownError as error:
        error.hint = error.hint or f"correct it and try again; `townctl {name} --help` shows what the command takes"
        raise


def _version() -> str:
    from importlib.metadata import version

    return version("town-reconciler")


def _complain(kind: str, message: str, *, hint: str, as_json: bool, path: str = "", place: str = "") -> int:
    """Print on standard error one line that says what happened and one that says what to do."""
    if as_json:
        shown = {"kind": kind, "message": message, "path": path, "hint": hint}
        print(compact({"error": shown}), file=sys.stderr)
    else:
        where = f"{place}: " if path and path not in message else ""
        line = " ".join(f"{where}{message}".split())
        print(f"townctl: {line}", file=sys.stderr)
        print(f"  hint: {hint}", file=sys.stderr)
    return REFUSED


if __name__ == "__main__":
    main()
