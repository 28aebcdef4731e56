"""`python -m infra.agents.control_server`: run until SIGTERM (the container is being evicted) or SIGINT. With TOWN_START_URL, run
only the agent whose start request is at that URL, and exit when it has ended.
"""

import os
import signal
import sys
import threading
from types import FrameType

from infra.agents.control_server.log import say
from infra.agents.control_server.server import Running
from infra.agents.control_server.settings import ControlServerSettings
from infra.agents.control_server.single import NothingToDo, keep_own_token, request_at, run_one
from infra.agents.posting import poster_from
from shared.adapters.ecs_runtime import START_KEY_VARIABLE, START_URL_VARIABLE


def main() -> int:
    """Run the server. Returns 0 after an orderly shutdown, 1 if the agent could not be started, 2 if the settings are wrong."""
    try:
        settings = ControlServerSettings.from_environment(os.environ)
        own_token = {"TOWN_TOKEN_FILE": str(settings.root / "token"), **os.environ}
        poster = poster_from(own_token, town_id=settings.town_id, clock=settings.clock)
    except ValueError as error:
        say(str(error))
        return 2
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's shape
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        running = Running(settings, poster)
    except (OSError, OverflowError) as error:
        say(f"it cannot start: {error}")
        return 2
    if running.made_key is not None:
        print(
            f'control server: it made a key for its callers: TOWN_CONTROL_KEY="$(cat {running.made_key})"', flush=True
        )
    print(f"control server of {settings.town_id} at {running.address}, instance {settings.instance_id}", flush=True)
    url, code = os.environ.get(START_URL_VARIABLE), 0
    if url is None:
        ended.wait()
    else:
        code = _one(running, settings, url, ended)
        if not ended.is_set():
            running.finish()
            return code
    for line in running.evict() if url is None else running.leave():
        print(line, flush=True)
    print("evicted", flush=True)
    return code


def _one(running: Running, settings: ControlServerSettings, url: str, ended: threading.Event) -> int:
    try:
        request = keep_own_token(request_at(url), settings.root)
        return run_one(running, request, effect_id=os.environ.get(START_KEY_VARIABLE, ""), ended=ended.is_set)
    except NothingToDo as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
