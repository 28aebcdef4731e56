"""What the three programs print means the same to the engine. The streams were recorded from the programs, which asked a scripted
model; ids, paths and fields that no driver reads were taken out. A line that begins with `2> ` is error output.
"""

from pathlib import Path
from typing import TypeVar

import pytest

from infra.agents.drivers import contract
from infra.agents.drivers.contract import (
    Compacted,
    Failed,
    Retrying,
    Said,
    SessionBegan,
    ToolBegan,
    ToolEnded,
    Trouble,
    TurnEnded,
)
from infra.agents.drivers.failures import failure_of
from infra.agents.drivers.known import ALL, driver_of
from infra.agents.drivers.usage import Meter, Usage
from shared.domain import strict_json

Kind = TypeVar("Kind", bound=contract.Happening)
STREAMS = Path(__file__).parent / "streams"
RECORDED = tuple(path.stem for path in sorted(STREAMS.glob("*.jsonl")))
USED = Usage(120, 40, 80)
"""What two requests of the plain stream used: 100 tokens each, 40 of them from a cache, and 20 of output."""


def happenings(stream: str) -> list[contract.Happening]:
    """All that a recorded stream means."""
    reader = driver_of(stream.partition("-")[0]).reader()
    found: list[contract.Happening] = []
    for line in (STREAMS / f"{stream}.jsonl").read_text(encoding="utf-8").splitlines():
        if line.startswith("2> "):
            found += reader.complaint(line[3:])
        else:
            found += reader.event(strict_json.foreign(line, limit=1 << 20))
    return found


def of_kind(stream: str, kind: type[Kind]) -> list[Kind]:
    return [each for each in happenings(stream) if isinstance(each, kind)]


@pytest.mark.parametrize("name", [driver.name for driver in ALL])
def test_a_plain_turn_has_a_session_a_tool_an_answer_and_an_end(name: str) -> None:
    stream = f"{name}-plain"
    assert of_kind(stream, SessionBegan)[0].session_id
    [ended] = of_kind(stream, ToolEnded)
    assert (ended.output.strip(), ended.failed) == ("did", False)
    assert "echo hi > f" in ended.about
    assert of_kind(stream, Said)[-1] == Said("all done")
    assert len(of_kind(stream, TurnEnded)) == 1
    assert of_kind(stream, Failed) == []


@pytest.mark.parametrize("name", ["claude", "codex"])
def test_a_tool_is_seen_while_it_runs_if_the_program_tells_of_it(name: str) -> None:
    [began], [ended] = of_kind(f"{name}-plain", ToolBegan), of_kind(f"{name}-plain", ToolEnded)
    assert (began.call_id, began.tool) == (ended.call_id, ended.tool)


@pytest.mark.parametrize("name", [driver.name for driver in ALL])
def test_the_tokens_of_a_turn_are_counted_without_those_from_a_cache(name: str) -> None:
    meter = Meter()
    for used in of_kind(f"{name}-plain", contract.Used):
        meter.count(used, model="m")
    [total] = meter.totals().values()
    if name == "claude":
        assert total == Usage(200, 40, 80, cost_micros=2040)  # its server counts cached tokens beside the others
    else:
        assert total == USED


@pytest.mark.parametrize(
    ("stream", "trouble"),
    [
        ("claude-context_full", Trouble.CONTEXT_FULL),
        ("claude-no_credit", Trouble.NO_CREDIT),
        ("claude-refused", Trouble.REFUSED),
        ("claude-unknown_model", Trouble.UNKNOWN_MODEL),
        ("codex-broken_stream", Trouble.BROKEN_STREAM),
        ("codex-context_full", Trouble.CONTEXT_FULL),
        ("codex-no_credit", Trouble.NO_CREDIT),
        ("codex-overloaded", Trouble.OVERLOADED),
        ("codex-unknown_model", Trouble.UNKNOWN_MODEL),
        ("codex-wrong_key", Trouble.WRONG_KEY),
        ("opencode-refused", Trouble.REFUSED),
        ("opencode-unknown_model", Trouble.UNKNOWN_MODEL),
        ("opencode-wrong_key", Trouble.WRONG_KEY),
    ],
)
def test_failures_are_told_apart(stream: str, trouble: Trouble) -> None:
    assert of_kind(stream, Failed)[-1].failure.trouble is trouble


@pytest.mark.parametrize(
    "said",
    [
        "stream disconnected before completion: stream closed before response.completed",
        "stream disconnected before completion: Transport error: network error: error decoding response body",
        "AI_APICallError: Cannot connect to API: The socket connection was closed unexpectedly.",
        "API Error: Connection to the API was lost (ECONNRESET). This is usually temporary",
    ],
)
def test_an_answer_that_broke_off_is_not_taken_for_a_network_that_is_down(said: str) -> None:
    """The words of the three programs, when the scripted model closed the connection in the middle of its answer."""
    assert failure_of(said).trouble is Trouble.BROKEN_STREAM


@pytest.mark.parametrize(
    "said",
    ["stream disconnected before completion: error sending request for url", "Cannot connect to API: ECONNREFUSED"],
)
def test_a_server_that_cannot_be_reached_is_not_taken_for_an_answer_that_broke_off(said: str) -> None:
    assert failure_of(said).trouble is Trouble.UNREACHABLE


@pytest.mark.parametrize(
    ("stream", "trouble"),
    [
        ("claude-overloaded", Trouble.OVERLOADED),
        ("claude-rate_limited", Trouble.RATE_LIMITED),
        ("claude-wrong_key", Trouble.WRONG_KEY),
        ("codex-overloaded", Trouble.OVERLOADED),
        ("codex-rate_limited", Trouble.RATE_LIMITED),
        ("opencode-rate_limited", Trouble.RATE_LIMITED),
    ],
)
def test_the_tries_of_the_program_itself_are_seen(stream: str, trouble: Trouble) -> None:
    assert {each.failure.trouble for each in of_kind(stream, Retrying)} == {trouble}


def test_an_answer_after_a_rate_limit_ends_the_turn_well() -> None:
    for name in ("claude", "codex", "opencode"):
        assert of_kind(f"{name}-rate_limited", Said)[-1] == Said("all done")
        assert of_kind(f"{name}-rate_limited", Failed) == []


def test_opencode_hides_that_an_answer_broke_off_and_only_the_missing_reason_and_tokens_tell() -> None:
    """Its turn ends like any other, and so an agent "ended without a report" although its model was gone."""
    assert {each.failure.trouble for each in of_kind("opencode-broken_stream", Failed)} == {Trouble.BROKEN_STREAM}
    assert of_kind("opencode-broken_stream", Said)[-1] == Said("half of it")
    assert of_kind("opencode-broken_stream", TurnEnded) == []


def test_opencode_says_when_it_shortens_a_session_whose_context_is_full() -> None:
    assert of_kind("opencode-context_full", Compacted)


@pytest.mark.parametrize("name", [driver.name for driver in ALL])
@pytest.mark.parametrize(
    "line",
    [
        '{"type": 7}',
        "{}",
        '{"type": "assistant", "message": [1]}',
        '{"type": "user", "message": {"content": "text"}}',
        '{"type": "result"}',
        '{"type": "tool_use", "part": null}',
        '{"type": "step_finish", "part": {"tokens": {"input": -5, "output": "x", "cache": 3}, "cost": "free"}}',
        '{"type": "error", "error": "text"}',
        '{"type": "item.completed", "item": {"type": {}}}',
        '{"type": "turn.completed", "usage": {"input_tokens": 1e300}}',
        '{"type": "system", "subtype": "api_retry", "retry_delay_ms": "soon"}',
    ],
)
def test_an_event_of_another_version_is_no_error(name: str, line: str) -> None:
    list(driver_of(name).reader().event(strict_json.foreign(line, limit=1000)))


def test_the_recorded_streams_name_nothing_of_the_machine_on_which_they_were_made() -> None:
    for stream in RECORDED:
        text = (STREAMS / f"{stream}.jsonl").read_text(encoding="utf-8")
        assert "/tmp/" not in text, stream
        assert "/root" not in text, stream
        assert "/home" not in text, stream
