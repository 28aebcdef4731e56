"""What a handler imports before its first request: nothing that it does not need, told by names and not by a clock.

The HTTP client of the standard library is imported here and not by the first request: 30 ms, which a start has with a whole CPU.
What is slow is known: the SDK (a third of a second), Sentry, the HTTP client of forges, the command line. A name that appears
here is a cold start that every user pays.
"""

import subprocess
import sys

import pytest

from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.lengthy  # `make quick` leaves it out

HANDLERS = ("tick", "worker", "events", "archive", "debug", "authorizer", "credentials", "retention")
NOBODY_NEEDS = (
    "aws_lambda_powertools.event_handler",
    "boto3",
    "cyclopts",
    "graphql",
    "infra",
    "moto",
    "requests",
    "rich",
    "s3transfer",
    "sentry_sdk",
    "shared.adapters.http_exchange",
    "tests",
    "urllib3",
)
NO_FORGE_NEEDS = ("boto3", "cryptography", "jwt", "requests")
OF_WHO_TICKS = (
    "jwt",
    "cryptography",
    "shared.adapters.directory_objects",
    "shared.adapters.local_processes",
    "shared.questions.dry_run",
    "shared.questions.status",
    "shared.replay.faithful",
    "shared.replay.what_if.run",
)
NOT_NEEDED = {
    "tick": OF_WHO_TICKS,
    "worker": OF_WHO_TICKS,
    "events": (
        "jwt",
        "cryptography",
        "shared.adapters.directory_objects",
        "shared.images.first_image",  # nothing that opens an image: the head says what a heartbeat's answer needs
        "shared.images.restoring",
        "shared.images.summary",
        "shared.runner.dispatch",
        "shared.engine.tick",
        "shared.runner.founding",
        "shared.runner.warm_images",
        "shared.runner.worker",
        "shared.rules",
        "shared.storage.restore",
    ),
    "archive": (
        "jwt",
        "cryptography",
        "functions.events",
        "shared.adapters.directory_objects",
        "shared.adapters.sqs_queue",
        "shared.engine.tick",
        "shared.questions.status",
        "shared.replay",
        "shared.rules",
        "shared.runner.worker",
    ),
    "debug": (
        "jwt",
        "cryptography",
        "functions.events",
        "shared.adapters.sqs_queue",
        "shared.questions.dry_run",
        "shared.runner.founding",
        "shared.replay",
        "shared.runner.worker",
    ),
    "credentials": (
        "jwt",
        "cryptography",
        "shared.adapters.directory_objects",
        "shared.adapters.sqs_queue",
        "shared.engine.tick",
        "shared.runner.worker",
        "shared.rules",
    ),
    "authorizer": ("aws_lambda_powertools", "shared.engine", "shared.town", "shared.storage", "shared.events"),
    "retention": (
        "jwt",
        "cryptography",
        "shared.adapters.directory_objects",
        "shared.engine.tick",
        "shared.runner.worker",
        "shared.events",
        "shared.rules",
    ),
}
MOST_MODULES = {
    "tick": 552,
    "worker": 552,
    "events": 559,
    "debug": 389,
    "archive": 495,
    "authorizer": 330,
    "credentials": 489,
    "retention": 504,
}
"""Modules in all, the interpreter's own among them: a little below, and a new library shows here at once."""


def modules_of(name: str) -> set[str]:
    code = f"import {name}, sys; print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS
    )
    return set(done.stdout.split())


def found_in(loaded: set[str], unwanted: tuple[str, ...]) -> set[str]:
    return {name for name in unwanted if name in loaded or any(each.startswith(f"{name}.") for each in loaded)}


@pytest.mark.parametrize("handler", HANDLERS)
def test_a_handler_imports_nothing_that_it_does_not_need(handler: str) -> None:
    loaded = modules_of(f"functions.{handler}.app")
    assert found_in(loaded, (*NOBODY_NEEDS, *NOT_NEEDED[handler])) == set()
    assert len(loaded) <= MOST_MODULES[handler]


def test_the_first_look_at_a_pull_request_imports_one_http_client() -> None:
    loaded = modules_of("shared.adapters.forges")
    assert "urllib3" in loaded
    assert found_in(loaded, NO_FORGE_NEEDS) == set()
