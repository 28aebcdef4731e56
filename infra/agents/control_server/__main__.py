"""`python -m infra.agents.control_server`: run until SIGTERM (the container is being evicted) or SIGINT. With TOWN_START_URL, run
only the agent whose start request is at that URL, and exit when it has ended.
"""

import sys

from infra.agents.control_server.clean_start import whole_environment


def main() -> int:
    """Run the server, whose environment nobody can see. Returns the exit code of `process.run`."""
    environment = whole_environment()
    from infra.agents.control_server.process import run  # after the restart, so that it is loaded once

    return run(environment)


if __name__ == "__main__":
    sys.exit(main())
