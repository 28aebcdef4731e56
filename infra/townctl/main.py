"""The entry of townctl: find the command, run it, show its answer or say what is wrong and what to do.

Exit codes: 0 done; 1 done, and something was found that a person should look at; 2 refused, nothing was done;
70 a bug of townctl itself (with a traceback, the only case); 130 interrupted.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Group, Parameter
from rich.text import Text

from infra.buckets import ENDPOINT_VARIABLE, REGION_VARIABLE, Bucket
from infra.demo.command import demo
from infra.townctl import (
    doctor,
    explain,
    forges,
    litestream_commands,
    loop,
    migration,
    over_api,
    past,
    posts,
    recordings,
    replays,
    serve,
    ticks,
    town_token,
    towns,
)
from infra.townctl.answers import BROKEN, INTERRUPTED, OK, REFUSED, Answer
from infra.townctl.desk import Desk, compact, screen
from shared.adapters.directory_objects import DirectoryObjects
from shared.domain.errors import Refused, TownError
from shared.ports.object_store import ObjectStore

_HELP = """\
Run towns on this machine, see what they do and why.

Towns are kept in a data directory or in an S3 bucket; nothing but ticks writes them. Try `townctl demo` first.
Exit codes: 0 done, 1 something was found, 2 refused.
"""

_EVERYWHERE = Group("With every command", sort_key=99)


def main() -> None:
    """Run townctl with the arguments of this process."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str], *, objects: Callable[[Path], ObjectStore] = DirectoryObjects) -> int:
    """Run one command and return the exit code. `objects` opens the object store of a data directory."""
    wants_json = "--json" in words
    try:
        return _run(words, objects)
    except CycloptsError as error:
        return _complain(
            "usage", str(error), hint="see `townctl --help`, or --help behind any command", as_json=wants_json
        )
    except TownError as error:
        place = error.path if isinstance(error, Refused) else ""
        return _complain(type(error).__name__, error.message, path=place, hint=error.hint, as_json=wants_json)
    except BrokenPipeError:
        # Whoever read us has seen enough. Nothing may be flushed into the closed pipe at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception:  # noqa: BLE001 - the last boundary: told apart from a finding by its exit code
        traceback.print_exc()
        print("townctl: this is a bug of townctl; please report it with the lines above", file=sys.stderr)
        return BROKEN


def _run(words: Sequence[str], objects: Callable[[Path], ObjectStore]) -> int:
    app = _app(objects)
    answer = app.meta(list(words), exit_on_error=False, print_error=False, result_action="return_value")
    if not isinstance(answer, Answer):
        return OK  # help or version were shown
    if "--json" in words:
        print(compact(answer.document))
    else:
        out = screen(sys.stdout)
        for part in answer.shown:
            # A line that is too long is the terminal's to break, so that a command can be copied from it.
            out.print(part, soft_wrap=isinstance(part, str | Text))
    sys.stdout.flush()
    return answer.code


def _app(objects: Callable[[Path], ObjectStore]) -> App:
    app = App(name="townctl", help=_HELP, version=_version, help_format="plaintext")
    for part in (towns.app, posts.app, explain.app, forges.app, litestream_commands.app):
        app.command(part)
    for command in (
        demo,
        loop.run,
        ticks.tick,
        ticks.dry_run,
        ticks.ticks,
        doctor.doctor,
        town_token.token,
        serve.serve,
    ):
        app.command(command)
    for about_the_past in (past.points, past.restore, past.flush, past.retention, recordings.record, replays.replay):
        app.command(about_the_past)
    app.command(migration.export)
    app.command(migration.import_, name="import")

    @app.meta.default
    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        data: Annotated[
            Path | None, Parameter(group=_EVERYWHERE, help="The data directory; else TOWNCTL_DATA, else ./town-data.")
        ] = None,
        bucket: Annotated[
            str | None,
            Parameter(
                group=_EVERYWHERE,
                help="Towns are in this S3 bucket; else TOWNCTL_BUCKET. Local agents stay in the data directory.",
            ),
        ] = None,
        endpoint: Annotated[
            str | None,
            Parameter(group=_EVERYWHERE, help="The bucket's endpoint, where it is not AWS; else TOWNCTL_ENDPOINT."),
        ] = None,
        region: Annotated[
            str | None, Parameter(group=_EVERYWHERE, help="The bucket's region; else TOWNCTL_REGION or the SDK's.")
        ] = None,
        api: Annotated[
            str | None,
            Parameter(
                group=_EVERYWHERE, help="The URL of a deployment's API, which is asked instead; else TOWNCTL_API."
            ),
        ] = None,
        json: Annotated[
            bool, Parameter(group=_EVERYWHERE, negative="", help="Print one JSON document instead of tables.")
        ] = False,
    ) -> Any:
        """Find the command and give it its desk."""
        command, bound, ignored = app.parse_args(tokens, exit_on_error=False, print_error=False)
        url = api or (os.environ.get(over_api.API_VARIABLE) if data is None and bucket is None else None)
        if url and command is not town_token.token and not bound.arguments.get("stack"):  # neither asks it
            if data is not None or bucket is not None:
                hint = "name one place: --api, --bucket or --data"
                raise Refused("towns are in one place", status=400, path="api", hint=hint)
            name = " ".join(app.parse_commands(tokens)[0])
            return over_api.answer(command, name, url, region, *bound.args, **bound.kwargs)
        named = _bucket(bucket, endpoint, region)
        desk = Desk(named_data=data, named_bucket=named, wants_json=json, objects=objects)
        more = {"desk": desk} if "desk" in ignored else {}
        return command(*bound.args, **bound.kwargs, **more)

    return app


def _bucket(name: str | None, endpoint_url: str | None, region: str | None) -> Bucket | None:
    """The bucket that the options name; what they leave out, the environment says. Raises Refused."""
    known = Bucket.from_environment(os.environ)
    name = name or (known.name if known is not None and (endpoint_url or region) else None)
    if name is None:
        if endpoint_url or region:
            hint = "name the bucket too: --bucket NAME"
            raise Refused("--endpoint and --region belong to a bucket", status=400, path="bucket", hint=hint)
        return None
    endpoint_url = endpoint_url or os.environ.get(ENDPOINT_VARIABLE) or None
    return Bucket(name, endpoint_url, region or os.environ.get(REGION_VARIABLE) or None)


def _version() -> str:
    from importlib.metadata import version

    return version("town-reconciler")


def _complain(kind: str, message: str, *, path: str = "", hint: str = "", as_json: bool) -> int:
    """One line what happened and one what to do, on standard error."""
    hint = hint or "correct it and try again; --help behind a command says what it takes"
    if as_json:
        shown = {"kind": kind, "message": message, "path": path, "hint": hint}
        print(compact({"error": shown}), file=sys.stderr)
    else:
        place = f"{path}: " if path and path not in message else ""
        lines = " ".join(f"{place}{message}".split())
        print(f"townctl: {lines}", file=sys.stderr)
        print(f"  hint: {hint}", file=sys.stderr)
    return REFUSED


if __name__ == "__main__":
    main()
