"""Anthropic's messages, which Claude Code speaks."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from infra.devstack.model_server.answers import Answer, frame, in_parts
from infra.devstack.model_server.conversation import Conversation, OfferedTool, Said, text_of
from infra.devstack.model_server.scripts import Refuse
from infra.devstack.model_server.tools import WAITS, ToolCall


def read(body: Mapping[str, Any]) -> Conversation:
    """What a request says. A message of the user contains the results of tools, and often a prompt beside them.

    The model has no turn while it waits for a server that is still starting.
    """
    said = [Said("system", text_of(body.get("system")))]
    for message in body["messages"]:
        if message["role"] == "assistant":
            is_turn = not any(_is_wait(block) for block in message["content"])
            said += [Said("assistant", text_of(message["content"]))] if is_turn else []
        else:
            said += _of_the_user(message["content"])
    tools = tuple(OfferedTool(each["name"]) for each in body.get("tools") or ())
    return Conversation(str(body["model"]), tuple(said), tools, streamed=body.get("stream") is True)


def whole(answer: Answer) -> dict[str, Any]:
    """An answer that is not streamed."""
    return {**_message(answer), "content": [_block(answer)], "stop_reason": _stop(answer), "usage": _usage(answer)}


def frames(answer: Answer) -> Iterator[bytes]:
    """A streamed answer."""
    usage = {**_usage(answer), "output_tokens": 1}
    yield _event("message_start", message={**_message(answer), "usage": usage})
    content = answer.content
    if isinstance(content, ToolCall):
        yield _event("content_block_start", index=0, content_block={**_block(answer), "input": {}})
        for part in in_parts(json.dumps(content.arguments)):
            yield _event("content_block_delta", index=0, delta={"type": "input_json_delta", "partial_json": part})
    else:
        yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        for part in in_parts(content.text):
            yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": part})
    yield _event("content_block_stop", index=0)
    yield _event("message_delta", delta={"stop_reason": _stop(answer), "stop_sequence": None}, usage=_usage(answer))
    yield _event("message_stop")


def _is_wait(block: Any) -> bool:
    return isinstance(block, Mapping) and block.get("type") == "tool_use" and block.get("name") in WAITS


def _of_the_user(content: Any) -> Iterator[Said]:
    if isinstance(content, str):
        yield Said("user", content)
        return
    for block in content:
        is_result = block.get("type") == "tool_result"
        yield Said("tool" if is_result else "user", text_of(block))


def _event(kind: str, **fields: Any) -> bytes:
    return frame({"type": kind, **fields}, event=kind)


def _message(answer: Answer) -> dict[str, Any]:
    return {
        "id": f"msg_{answer.number}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _block(answer: Answer) -> dict[str, Any]:
    content = answer.content
    if isinstance(content, ToolCall):
        return {"type": "tool_use", "id": f"toolu_{answer.number}", "name": content.name, "input": content.arguments}
    return {"type": "text", "text": content.text}


def _stop(answer: Answer) -> str:
    if isinstance(answer.content, Refuse):
        return "refusal"
    return "tool_use" if isinstance(answer.content, ToolCall) else "end_turn"


def _usage(answer: Answer) -> dict[str, Any]:
    used = answer.usage
    return {
        "input_tokens": used.input_tokens - used.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": used.cached_tokens,
        "output_tokens": used.output_tokens,
    }
