"""OpenAI's chat completions, which opencode and most self-hosted models speak."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from infra.devstack.model_server.answers import Answer, frame, in_parts
from infra.devstack.model_server.conversation import By, Conversation, OfferedTool, Said, text_of
from infra.devstack.model_server.scripts import Refuse, Say
from infra.devstack.model_server.tools import ToolCall

_BY: Mapping[str, By] = {"developer": "system", "system": "system", "assistant": "assistant", "tool": "tool"}


def read(body: Mapping[str, Any]) -> Conversation:
    """What a request says."""
    said = tuple(Said(_BY.get(each["role"], "user"), text_of(each.get("content"))) for each in body["messages"])
    tools = tuple(OfferedTool(each["function"]["name"]) for each in body.get("tools") or ())
    return Conversation(str(body["model"]), said, tools, streamed=body.get("stream") is True)


def whole(answer: Answer) -> dict[str, Any]:
    """An answer that is not streamed."""
    choice = {"index": 0, "message": _message(answer), "finish_reason": _finish(answer), "logprobs": None}
    return {**_head(answer, "chat.completion"), "choices": [choice], "usage": _usage(answer)}


def frames(answer: Answer) -> Iterator[bytes]:
    """A streamed answer. The usage comes last, in a chunk of its own, as with `stream_options.include_usage`."""
    yield _chunk(answer, {"role": "assistant", "content": ""})
    content = answer.content
    if isinstance(content, ToolCall):
        call = {"index": 0, "id": _call_id(answer), "type": "function"}
        yield _chunk(answer, {"tool_calls": [{**call, "function": {"name": content.name, "arguments": ""}}]})
        for part in in_parts(json.dumps(content.arguments)):
            yield _chunk(answer, {"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
    else:
        name = "refusal" if isinstance(content, Refuse) else "content"
        for part in in_parts(content.text):
            yield _chunk(answer, {name: part})
    yield _chunk(answer, {}, finish=_finish(answer))
    yield frame({**_head(answer, "chat.completion.chunk"), "choices": [], "usage": _usage(answer)})
    yield b"data: [DONE]\n\n"


def _chunk(answer: Answer, delta: Mapping[str, Any], *, finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return frame({**_head(answer, "chat.completion.chunk"), "choices": [choice]})


def _head(answer: Answer, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{answer.number}", "object": kind, "created": 1767225600, "model": answer.model}


def _message(answer: Answer) -> dict[str, Any]:
    content = answer.content
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if isinstance(content, Say):
        return {**message, "content": content.text}
    if isinstance(content, Refuse):
        return {**message, "refusal": content.text}
    function = {"name": content.name, "arguments": json.dumps(content.arguments)}
    return {**message, "tool_calls": [{"id": _call_id(answer), "type": "function", "function": function}]}


def _finish(answer: Answer) -> str:
    if isinstance(answer.content, Refuse):
        return "content_filter"
    return "tool_calls" if isinstance(answer.content, ToolCall) else "stop"


def _usage(answer: Answer) -> dict[str, Any]:
    used = answer.usage
    return {
        "prompt_tokens": used.input_tokens,
        "completion_tokens": used.output_tokens,
        "total_tokens": used.input_tokens + used.output_tokens,
        "prompt_tokens_details": {"cached_tokens": used.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _call_id(answer: Answer) -> str:
    return f"call_{answer.number}"
