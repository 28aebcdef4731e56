"""The entry point of townctl: it answers `--version` and `--help` itself, because importing the parser takes time."""

import gc
import os
import shutil
import signal
import sys
from collections.abc import Sequence


def main() -> None:
    """Run townctl with the arguments of this process."""
    gc.disable()  # imports make many objects and no garbage; the command itself runs with the collector
    code = run(sys.argv[1:])
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # while Python ends, nothing handles a second Ctrl-C: it would print a traceback
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code."""
    first = arguments[0] if arguments else "--help"
    if first not in ("--help", "-h", "--version"):
        from infra.townctl import command_line

        return command_line.run(arguments)
    try:
        print(_version() if first == "--version" else _help(), flush=True)
    except BrokenPipeError:
        # The reader has closed the pipe. Python must not flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _version() -> str:
    from importlib.metadata import version

    return version("town-reconciler")


def _help() -> str:
    from infra.townctl.commands import overview

    return overview(shutil.get_terminal_size().columns)


if __name__ == "__main__":
    main()
