"""Runs a command that must not outlive whoever started it: `python -I -S leash.py COMMAND ...`, standard input a pipe.

The other end of the pipe is held by the starter and by nobody else. It closes when the starter says so, and also when
the starter is killed without a word; then the command is killed. If the command ends by itself, so does the leash, with
its exit code. Uses nothing but the standard library.
"""

import os
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    """Run the command until it ends or the pipe does."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def end_with_the_starter() -> None:
        while os.read(0, 4096):
            pass
        child.kill()

    threading.Thread(target=end_with_the_starter, daemon=True).start()
    return abs(child.wait())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
