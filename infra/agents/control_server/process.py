"""The control server as a process: from its environment to its end."""

import os
import signal
import threading
from collections.abc import Mapping
from types import FrameType
from typing import Final

from infra.agents.control_server.clean_start import is_harmless
from infra.agents.control_server.eviction import NONCE_VARIABLE
from infra.agents.control_server.log import say
from infra.agents.control_server.server import Running
from infra.agents.control_server.settings import ControlServerSettings
from infra.agents.control_server.single import NothingToDo, keep_own_token, request_at, run_one
from infra.agents.log_keeping import keeper_from
from infra.agents.posting import poster_from
from infra.buckets import BUCKET_VARIABLE
from shared.adapters.ecs_runtime import START_KEY_VARIABLE, START_URL_VARIABLE
from shared.adapters.local_users import require_way_to

_SDK: Final = "AWS_"


def run(environment: Mapping[str, str]) -> int:
    """Run the server. Returns 0 after an orderly shutdown, 1 if the agent could not be started, 2 if the settings are wrong."""
    try:
        settings = ControlServerSettings.from_environment(environment)
        if settings.users is not None:
            require_way_to(settings.root)
        own_token = {"TOWN_TOKEN_FILE": str(settings.root / "token"), **environment}
        poster = poster_from(own_token, town_id=settings.town_id, clock=settings.clock)
        keeper = keeper_from(own_token, town_id=settings.town_id, clock=settings.clock)
    except ValueError as error:
        say(str(error))
        return 2
    _keep_what_is_needed(environment, settings)
    ended = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's shape
        ended.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        running = Running(settings, poster, keeper=keeper)
    except (OSError, OverflowError) as error:
        say(f"it cannot start: {error}")
        return 2
    if running.made_key is not None:
        print(
            f'control server: it made a key for its callers: TOWN_CONTROL_KEY="$(cat {running.made_key})"', flush=True
        )
    print(settings.about_users, flush=True)
    print(f"control server of {settings.town_id} at {running.address}, instance {settings.instance_id}", flush=True)
    url, code = environment.get(START_URL_VARIABLE), 0
    if url is None:
        ended.wait()
    else:
        code = _one(running, settings, url, key=environment.get(START_KEY_VARIABLE, ""), ended=ended)
        if not ended.is_set():
            running.finish()
            return code
    for line in running.evict() if url is None else running.leave():
        print(line, flush=True)
    print("evicted", flush=True)
    return code


def _keep_what_is_needed(environment: Mapping[str, str], settings: ControlServerSettings) -> None:
    """Reduce this process's variables to what code reads later or may be passed on: no key and no token of the container. The
    SDK's credentials stay if the server posts into a bucket.
    """
    sdk = _SDK if environment.get(BUCKET_VARIABLE) else "\0"
    kept = {
        name: value
        for name, value in environment.items()
        if is_harmless(name) or name.startswith(sdk) or name == NONCE_VARIABLE
    }
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update(settings.environment)


def _one(running: Running, settings: ControlServerSettings, url: str, *, key: str, ended: threading.Event) -> int:
    try:
        request = keep_own_token(request_at(url), settings.root)
        return run_one(running, request, effect_id=key, ended=ended.is_set)
    except NothingToDo as error:
        say(str(error))
        return 1
