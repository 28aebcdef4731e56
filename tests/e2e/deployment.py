"""Requests to the local cloud: signed ones of operators, and those of producers with their tokens."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.credentials import Credentials

from infra.devstack.gateway import REGION, IamCaller
from infra.townctl.api_client import ApiAnswer, signed, with_token
from shared.adapters import town_tokens
from shared.adapters.clock import Budget, wait_for
from shared.adapters.town_tokens import Claims
from tests.e2e.cloud import KEY, OPERATOR, LocalCloud
from tests.e2e.stalling_proxy import StallingProxy, When
from tests.patience import PATIENCE_SECONDS


def ask(cloud: LocalCloud, method: str, path: str, body: Any = None, *, caller: IamCaller = OPERATOR) -> ApiAnswer:
    credentials = Credentials(caller.access_key, caller.secret_key)
    return signed(method, cloud.url + path, body, credentials=credentials, region=REGION)


def token(
    scope: Any = "operator", town: str = "demo", *, key: str = KEY, ago: timedelta = timedelta(0), **more: Any
) -> str:
    return town_tokens.issue(Claims(town, scope, **more), [key], now=datetime.now(UTC) - ago)


def post(cloud: LocalCloud, *events: dict[str, Any], town: str = "demo", shown: str | None = "") -> ApiAnswer:
    """Post events, by default with an operator's token for that town."""
    url = f"{cloud.url}/api/towns/{town}/events"
    return with_token("POST", url, list(events), token=token(town=town) if shown == "" else shown)


def fact(event_type: str, event_id: str, payload: dict[str, Any] | None = None, **envelope: Any) -> dict[str, Any]:
    return {"event_id": event_id, "event_type": event_type, "payload": payload or {}, **envelope}


def found_town(cloud: LocalCloud, town: str = "demo", config: dict[str, Any] | None = None) -> None:
    answered = ask(cloud, "PUT", f"/api/towns/{town}", None if config is None else {"config": config})
    assert answered.status in (201, 409), answered


def work_until(cloud: LocalCloud, done: Callable[[], bool]) -> None:
    """Deliver wakes from the queue to the worker until `done` is true."""

    def worked() -> bool:
        while cloud.pump():
            pass
        return done()

    assert wait_for(worked, seconds=PATIENCE_SECONDS, every=1), "the expected state was not reached"


def lose_the_worker(cloud: LocalCloud, proxy: StallingProxy, when: When, *, method: str, path: str) -> None:
    """Deliver the waiting wakes, and kill the worker's environment before that request arrives or after it was carried out."""
    proxy.stall(when, method=method, path=path)
    lost: list[ConnectionError] = []

    patience = Budget(PATIENCE_SECONDS)

    def pump_until_it_stalls() -> None:
        try:
            while not proxy.stalled.is_set() and patience.left():
                cloud.pump()
        except ConnectionError as error:
            lost.append(error)

    pumping = threading.Thread(target=pump_until_it_stalls)
    pumping.start()
    assert proxy.stalled.wait(patience.left()), f"the worker never came to {path}"
    cloud.replace("WorkerFunction")
    pumping.join(PATIENCE_SECONDS)
    assert lost, "the worker answered although it was killed"
