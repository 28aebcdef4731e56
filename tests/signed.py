"""A directory of towns behind an API that checks signatures and access rules, as a deployment does; served in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from functions.access import Access
from functions.archive import app as archive
from functions.debug import app as debug
from functions.events import app as events
from functions.settings import AccessRule
from infra.devstack.gateway import REGION, Gateway, IamCaller, routes_of, serving
from infra.townctl import serve
from infra.townctl.context import Context
from tests.contracts.transformed import template
from tests.http_events import Context as Lambda

ANN: Final = IamCaller("AKIALOCALANN", "secret-of-ann", "arn:aws:sts::123456789012:assumed-role/Ops/ann")
KEY: Final = "k" * 48
_HANDLERS: Final = {"EventsFunction": events, "DebugFunction": debug, "ArchiveFunction": archive}


@contextmanager
def signed_api(data: Path, monkeypatch: pytest.MonkeyPatch, *rules: AccessRule) -> Iterator[str]:
    """The URL of the API, for calls of townctl in this process, which ann signs."""
    context = Context(named_data=data)
    serve.served_from(context, context.around(context.store()), keys=lambda: (KEY,))
    access = Access(rules, lambda _: None)
    for function in (events, debug, archive):
        there: Any = replace(function.deployment(), access=access)
        monkeypatch.setattr(function, "deployment", lambda there=there: there)

    def invoke(function: str, event: Any) -> Any:
        return _HANDLERS[function].lambda_handler(event, Lambda())

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ANN.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", ANN.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.delenv("TOWNCTL_TOKEN", raising=False)
    with serving(Gateway(routes_of(template()), invoke, (ANN,), authorizer="AuthorizerFunction"), port=0) as url:
        yield url
