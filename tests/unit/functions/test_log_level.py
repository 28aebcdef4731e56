"""The level of the log: DEBUG adds each call of a service of AWS without its content, and no level leaves a line of ours out."""

import json
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from functions import log
from functions.settings import ErrorSettings
from shared.adapters import aws_sdk
from shared.adapters.s3_objects import S3Objects
from shared.domain.errors import TownError
from tests.contracts.deployments import SETTINGS, deployed
from tests.s3_stub import Answer, Request, stub_s3


@pytest.fixture(autouse=True)
def no_watcher_stays(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "local")
    yield
    aws_sdk._watchers.clear()


def lines(printed: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in printed.splitlines()]


def _instead(answer: Answer, _: Request, __: Callable[[Request], Answer]) -> Answer:
    return answer


def read(*faults: Answer) -> None:
    """Write an object with a telling key and a telling body, and read it from a service with these faults."""
    with stub_s3() as stub:
        objects = S3Objects("towns", endpoint_url=stub.url)
        objects.create("a-telling-key", b"a telling body")
        for fault in faults:
            stub.faults.append(partial(_instead, fault))
        objects.get("a-telling-key")


def test_debug_logs_each_call_and_nothing_of_its_content(capsys: pytest.CaptureFixture[str]) -> None:
    log.start("DEBUG")
    read()
    printed = capsys.readouterr().out
    assert [(line["event"], line["service"], line["operation"], line["status"]) for line in lines(printed)] == [
        ("sdk.called", "s3", "PutObject", 200),
        ("sdk.called", "s3", "GetObject", 200),
    ]
    assert "telling" not in printed


def test_a_call_that_fails_is_logged_too(capsys: pytest.CaptureFixture[str]) -> None:
    log.start("DEBUG")
    with pytest.raises(TownError):
        read(Answer(403, b"<Error><Code>AccessDenied</Code></Error>", {}))
    *_, line = lines(capsys.readouterr().out)
    assert (line["operation"], line["status"]) == ("GetObject", 403)


@pytest.mark.parametrize("level", ["INFO", "WARN"])
def test_without_debug_no_call_is_logged(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    log.start(level)
    read()
    assert capsys.readouterr().out == ""


def test_an_unknown_level_is_a_line_in_the_log_and_stops_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    log.start("LOUD")
    [line] = lines(capsys.readouterr().out)
    assert (line["event"], line["setting"]) == ("setting.ignored", "LOG_LEVEL")


def test_the_parameter_is_the_level_of_every_function_and_of_lambdas_own_lines() -> None:
    found = deployed(LogLevel="WARN")
    for function in SETTINGS:
        properties = found[function]["Properties"]
        told = properties["Environment"]["Variables"]
        assert ErrorSettings.from_environment({"LOG_LEVEL": told["LOG_LEVEL"]}).log_level == "WARN"
        assert properties["LoggingConfig"]["SystemLogLevel"] == "WARN"
    assert ErrorSettings.from_environment({}).log_level == ErrorSettings.from_environment({"LOG_LEVEL": " "}).log_level
