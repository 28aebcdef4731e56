"""Runs a command that must not outlive the process that started it: `python -I -S leash.py COMMAND ...`, with a pipe as stdin.

Only the starter holds the other end of the pipe, so the pipe closes when the starter closes it or is killed. Then the leash
kills the command. If the command ends by itself, the leash exits with its exit code. It uses only the standard library.
"""

import os
import subprocess
import sys
import threading


def main(command: list[str]) -> int:
    """Run the command until it ends or the pipe closes."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def end_with_the_starter() -> None:
        while os.read(0, 4096):
            pass
        child.kill()

    threading.Thread(target=end_with_the_starter, daemon=True).start()
    return abs(child.wait())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
