"""The scripted model server over HTTP, in its three protocols: what programs read, and what goes wrong on demand."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from infra.devstack.model_server.scripts import Failure, Refuse, Reply, Say, Script, Shell, Step, Trouble, Usage
from infra.devstack.model_server.server import KEY, ModelServer
from shared.adapters.clock import wait_for
from tests.patience import PATIENCE_SECONDS

USAGE = Usage(input_tokens=1000, output_tokens=50, cached_tokens=400)
TEXT = "Grüße, ready"


@dataclass(frozen=True)
class Speaker:
    """One protocol, spoken as a program does."""

    path: str
    request: Mapping[str, Any]
    key_header: str = "authorization"

    def ask(self, url: str, *, stream: bool = False, key: str = KEY, **changed: Any) -> httpx.Response:
        value = key if self.key_header == "x-api-key" else f"Bearer {key}"
        body = {**self.request, "stream": stream, **changed}
        return httpx.post(url + self.path, json=body, headers={self.key_header: value}, timeout=PATIENCE_SECONDS)


SHELL_CHAT = {"type": "function", "function": {"name": "bash", "parameters": {}}}
CHAT = Speaker(
    "/v1/chat/completions",
    {"model": "m1", "messages": [{"role": "user", "content": "Please greet"}], "tools": [SHELL_CHAT]},
)
MESSAGES = Speaker(
    "/v1/messages",
    {
        "model": "m1",
        "max_tokens": 100,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Please greet"}]}],
        "tools": [{"name": "Bash", "input_schema": {}}],
    },
    key_header="x-api-key",
)
RESPONSES = Speaker(
    "/v1/responses",
    {
        "model": "m1",
        "input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Please greet"}]}],
        "tools": [{"type": "function", "name": "exec_command"}],
    },
)
every_protocol = pytest.mark.parametrize("speaker", [CHAT, MESSAGES, RESPONSES], ids=["chat", "messages", "responses"])


@contextmanager
def a_model(*steps: Step, **named: Any) -> Iterator[ModelServer]:
    model = ModelServer([Script("greet", ("Please greet",), steps)], **named)
    with model.serving():
        yield model


def events_of(response: httpx.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def spoken(response: httpx.Response) -> str:
    """The text or the arguments of a tool in a streamed answer, put together from its parts."""
    found = []
    for event in events_of(response):
        for choice in event.get("choices", ()):
            call = choice["delta"].get("tool_calls", [{"function": {"arguments": ""}}])[0]
            found.append(
                choice["delta"].get("content") or choice["delta"].get("refusal") or call["function"]["arguments"]
            )
        delta = event.get("delta", "")
        found.append(delta if isinstance(delta, str) else delta.get("text", delta.get("partial_json", "")))
    return "".join(found)


@every_protocol
@pytest.mark.parametrize("reply", [Say(TEXT), Refuse(TEXT)], ids=["said", "refused"])
def test_a_streamed_text_comes_in_parts(speaker: Speaker, reply: Reply) -> None:
    with a_model(Step(reply)) as model:
        assert spoken(speaker.ask(model.url, stream=True)) == TEXT


@every_protocol
def test_a_streamed_command_comes_in_parts(speaker: Speaker) -> None:
    with a_model(Step(Shell("make all"))) as model:
        arguments = json.loads(spoken(speaker.ask(model.url, stream=True)))
    assert "make all" in arguments.values()


def test_the_whole_answers_have_the_shape_of_their_protocol() -> None:
    with a_model(Step(Shell("make all"), usage=USAGE)) as model:
        chat, messages, responses = (each.ask(model.url).json() for each in (CHAT, MESSAGES, RESPONSES))
    assert chat["choices"][0]["finish_reason"] == "tool_calls"
    assert json.loads(chat["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"])["command"] == "make all"
    assert messages["stop_reason"] == "tool_use"
    assert messages["content"][0]["input"]["command"] == "make all"
    assert responses["status"] == "completed"
    assert json.loads(responses["output"][0]["arguments"])["cmd"] == "make all"


def test_the_tokens_are_counted_as_each_provider_counts_them() -> None:
    """Anthropic counts what came from its cache beside the input, OpenAI counts it as a part of it."""
    with a_model(Step(Say(TEXT), usage=USAGE)) as model:
        chat, messages, responses = (each.ask(model.url).json()["usage"] for each in (CHAT, MESSAGES, RESPONSES))
        streamed = events_of(CHAT.ask(model.url, stream=True))[-1]["usage"]
    assert (chat["prompt_tokens"], chat["prompt_tokens_details"]["cached_tokens"]) == (1000, 400)
    assert (messages["input_tokens"], messages["cache_read_input_tokens"]) == (600, 400)
    assert (responses["input_tokens"], responses["input_tokens_details"]["cached_tokens"]) == (1000, 400)
    assert streamed == chat
    assert (chat["completion_tokens"], messages["output_tokens"], responses["output_tokens"]) == (50, 50, 50)


@every_protocol
def test_a_result_of_a_tool_leads_to_the_next_step(speaker: Speaker) -> None:
    then: dict[str, Any] = {
        CHAT.path: {
            "messages": [
                *CHAT.request.get("messages", ()),
                {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}]},
                {"role": "tool", "tool_call_id": "c1", "content": "made it"},
            ]
        },
        MESSAGES.path: {
            "messages": [
                *MESSAGES.request.get("messages", ()),
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "Bash", "input": {}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "made it"}]},
            ]
        },
        RESPONSES.path: {
            "input": [
                *RESPONSES.request.get("input", ()),
                {"type": "reasoning", "summary": []},
                {"type": "function_call", "call_id": "c1", "name": "exec_command", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "c1", "output": "made it"},
            ]
        },
    }[speaker.path]
    with a_model(Step(Shell("make")), Step(Say(TEXT))) as model:
        assert TEXT in repr(speaker.ask(model.url, **then).json())
        [asked] = model.asked_of("greet")
    assert (asked.turn, asked.conversation.results) == (1, ("made it",))


def test_waiting_is_no_turn() -> None:
    """Claude Code waits for a server that starts; Codex looks again at a command that runs."""
    waited = [
        *MESSAGES.request["messages"],
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "WaitForMcpServers", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "ready"}]},
    ]
    running = [
        *RESPONSES.request["input"],
        {"type": "function_call", "call_id": "c1", "name": "exec_command", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "Process running with session ID 7"},
    ]
    looked = [
        *running,
        {"type": "function_call", "call_id": "c2", "name": "write_stdin", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c2", "output": "Process exited with code 0"},
    ]
    with a_model(Step(Shell("make")), Step(Say(TEXT))) as model:
        assert MESSAGES.ask(model.url, messages=waited).json()["stop_reason"] == "tool_use"
        assert RESPONSES.ask(model.url, input=running).json()["output"][0]["name"] == "write_stdin"
        assert RESPONSES.ask(model.url, input=looked).json()["output"][0]["type"] == "message"


STATUSES = {
    Failure.RATE_LIMITED: (429, 429),
    Failure.OVERLOADED: (503, 529),
    Failure.SERVER_ERROR: (500, 500),
    Failure.CONTEXT_TOO_LONG: (400, 400),
    Failure.NO_CREDIT: (429, 400),
    Failure.WRONG_KEY: (401, 401),
    Failure.UNKNOWN_MODEL: (404, 404),
}


@every_protocol
@pytest.mark.parametrize("failure", STATUSES)
def test_a_failure_is_said_as_the_provider_says_it_and_then_ends(speaker: Speaker, failure: Failure) -> None:
    of_openai, of_anthropic = STATUSES[failure]
    trouble = Trouble(failure, times=2, retry_after_seconds=7)
    with a_model(Step(Say(TEXT), trouble=trouble)) as model:
        first, second, third = (speaker.ask(model.url) for _ in range(3))
    assert first.status_code == second.status_code == (of_anthropic if speaker is MESSAGES else of_openai)
    assert first.headers["retry-after"] == "7"
    assert first.json()["error"]["message"]
    assert third.status_code == 200


def test_every_failure_has_its_status() -> None:
    assert set(STATUSES) == set(Failure) - {Failure.BROKEN_STREAM}


def test_a_conversation_that_is_too_long_ends_a_stream_of_responses() -> None:
    with a_model(Step(Say(TEXT), trouble=Trouble(Failure.CONTEXT_TOO_LONG))) as model:
        last = events_of(RESPONSES.ask(model.url, stream=True))[-1]
    assert (last["type"], last["response"]["error"]["code"]) == ("response.failed", "context_length_exceeded")


@every_protocol
def test_a_stream_breaks_off_once(speaker: Speaker) -> None:
    with a_model(Step(Say(TEXT), trouble=Trouble(Failure.BROKEN_STREAM))) as model:
        with pytest.raises(httpx.RemoteProtocolError):
            speaker.ask(model.url, stream=True)
        assert spoken(speaker.ask(model.url, stream=True)) == TEXT


@every_protocol
def test_an_answer_that_is_not_streamed_breaks_off_too(speaker: Speaker) -> None:
    """Claude Code asks without a stream when one broke off."""
    with a_model(Step(Say(TEXT), trouble=Trouble(Failure.BROKEN_STREAM))) as model:
        with pytest.raises(httpx.RemoteProtocolError):
            speaker.ask(model.url)
        assert TEXT in repr(speaker.ask(model.url).json())


@every_protocol
def test_a_failure_may_last_until_it_is_released(speaker: Speaker) -> None:
    with a_model(Step(Say(TEXT), trouble=Trouble(Failure.RATE_LIMITED, until="calm"))) as model:
        assert [speaker.ask(model.url).status_code for _ in range(5)] == [429] * 5
        model.release("calm")
        assert speaker.ask(model.url).status_code == 200


@every_protocol
def test_a_slow_stream_is_whole(speaker: Speaker) -> None:
    with a_model(Step(Say(TEXT), pause_seconds=0.02)) as model:
        assert spoken(speaker.ask(model.url, stream=True)) == TEXT


def test_a_step_waits_until_it_is_released() -> None:
    with a_model(Step(Say(TEXT), waits_for="the test")) as model:
        with ThreadPoolExecutor() as threads:
            answer = threads.submit(CHAT.ask, model.url)
            assert wait_for(lambda: model.is_waited_for("the test"), seconds=PATIENCE_SECONDS)
            assert not answer.done()
            model.release("the test")
            assert answer.result().status_code == 200
        assert not model.is_waited_for("the test")


@every_protocol
def test_a_wrong_key_and_an_unknown_model_are_refused_whatever_the_script_says(speaker: Speaker) -> None:
    with a_model(Step(Say(TEXT)), models=("m1",)) as model:
        assert speaker.ask(model.url, key="another").status_code == 401
        assert speaker.ask(model.url, model="m2").status_code == 404
        assert speaker.ask(model.url).status_code == 200


@every_protocol
def test_no_key_is_kept_and_what_a_model_may_not_see_is_found(speaker: Speaker) -> None:
    with a_model(Step(Say(TEXT))) as model:
        speaker.ask(model.url)
        speaker.ask(model.url, key="another-secret-key")
        speaker.ask(model.url, metadata={"note": "canary-1"})
    kept = repr(model.asked)
    assert KEY not in kept
    assert "another-secret-key" not in kept
    assert model.requests_with("canary-1") == ["greet"]
    assert model.requests_with("canary-2") == []


def test_a_prompt_without_a_script_is_an_error_that_ends_the_program() -> None:
    other = [{"role": "user", "content": "Hello"}]
    with a_model(Step(Say(TEXT))) as model:
        refused = CHAT.ask(model.url, messages=other)
    assert refused.status_code == 400
    assert "no script" in refused.json()["error"]


def test_programs_look_for_a_server_and_count_tokens_before_they_ask() -> None:
    with a_model(Step(Say(TEXT))) as model:
        assert httpx.head(model.url).status_code == 200
        counted = httpx.post(model.url + "/v1/messages/count_tokens", json=dict(MESSAGES.request)).json()
        assert httpx.get(model.url + "/v1/unknown").status_code == 404
        assert httpx.post(model.url + "/v1/chat/completions", content=b"{").status_code == 400
    assert counted["input_tokens"] > 0
