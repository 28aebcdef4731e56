"""`python -m infra.agents.drivers NAME`: work on the start order of this process with that agent."""

import os
import sys

from infra.agents.drivers.known import driver_of, names
from infra.agents.drivers.process import run


def main() -> int:
    """Returns the exit code of `process.run`; 2 if no known agent is named."""
    if len(sys.argv) != 2:
        print(f"usage: python -m infra.agents.drivers NAME; NAME is one of {names()}", file=sys.stderr)
        return 2
    try:
        driver = driver_of(sys.argv[1])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    return run(driver, dict(os.environ))


if __name__ == "__main__":
    sys.exit(main())
