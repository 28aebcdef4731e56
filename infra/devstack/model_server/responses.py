"""OpenAI's responses, which Codex speaks."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from infra.devstack.model_server.answers import Answer, frame, in_parts
from infra.devstack.model_server.conversation import By, Conversation, OfferedTool, Said, text_of
from infra.devstack.model_server.scripts import Refuse
from infra.devstack.model_server.tools import WAITS, ToolCall

_BY: Final[Mapping[str, By]] = {"developer": "system", "system": "system", "assistant": "assistant"}
_RUNNING: Final = re.compile(r"Process running with session ID (\d+)")


def read(body: Mapping[str, Any]) -> Conversation:
    """What a request says. A look at a command that still runs is not a turn of the model, and neither is its reasoning."""
    given = body["input"]
    items = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given
    said = [Said("system", str(body.get("instructions") or ""))]
    looks = {item.get("call_id") for item in items if item.get("name") in WAITS}
    for item in items:
        entry = _entry(item)
        if entry is None:
            continue
        if item.get("call_id") in looks:  # one command, whose output comes in several parts
            entry = Said("tool", f"{said.pop().text}\n{entry.text}")
        said.append(entry)
    tools = tuple(_tools(body.get("tools") or ()))
    return Conversation(str(body["model"]), tuple(said), tools, body.get("stream") is True, _running(items))


def _entry(item: Mapping[str, Any]) -> Said | None:
    kind = item.get("type", "message")
    if kind == "message":
        return Said(_BY.get(item["role"], "user"), text_of(item.get("content")))
    if kind == "function_call_output":
        return Said("tool", text_of(item.get("output")))
    return Said("assistant", "") if kind == "function_call" and item.get("name") not in WAITS else None


def _running(items: Sequence[Mapping[str, Any]]) -> int | None:
    """The session of the command that still runs, if the newest result says so."""
    newest = items[-1] if items else {}
    if newest.get("type") != "function_call_output":
        return None
    found = _RUNNING.search(text_of(newest.get("output")))
    return None if found is None else int(found[1])


def whole(answer: Answer) -> dict[str, Any]:
    """An answer that is not streamed."""
    return _response(answer, "completed", output=[_item(answer)])


def frames(answer: Answer) -> Iterator[bytes]:
    """A streamed answer."""
    item, content = _item(answer), answer.content
    yield _event("response.created", response=_response(answer, "in_progress"))
    if isinstance(content, ToolCall):
        yield _event(
            "response.output_item.added", output_index=0, item={**item, "arguments": "", "status": "in_progress"}
        )
        for part in in_parts(item["arguments"]):
            yield _event("response.function_call_arguments.delta", item_id=item["id"], output_index=0, delta=part)
    else:
        kind = "refusal" if isinstance(content, Refuse) else "output_text"
        yield _event(
            "response.output_item.added", output_index=0, item={**item, "content": [], "status": "in_progress"}
        )
        for part in in_parts(content.text):
            yield _event(f"response.{kind}.delta", item_id=item["id"], output_index=0, content_index=0, delta=part)
    yield _event("response.output_item.done", output_index=0, item=item)
    yield _event("response.completed", response=whole(answer))


def failed_frames(number: int, model: str, code: str, message: str) -> Iterator[bytes]:
    """A stream that ends with an error, which is how this protocol says that a conversation is too long."""
    head = {"id": f"resp_{number}", "object": "response", "model": model, "output": []}
    yield _event("response.created", response={**head, "status": "in_progress"})
    yield _event("response.failed", response={**head, "status": "failed", "error": {"code": code, "message": message}})


def _tools(given: Sequence[Mapping[str, Any]]) -> Iterator[OfferedTool]:
    for tool in given:
        if tool.get("type") == "namespace":
            yield from (OfferedTool(each["name"], tool["name"]) for each in tool.get("tools", ()))
        else:
            yield OfferedTool(str(tool.get("name") or tool.get("type")))


def _event(kind: str, **fields: Any) -> bytes:
    return frame({"type": kind, **fields}, event=kind)


def _response(answer: Answer, status: str, *, output: Sequence[Any] = ()) -> dict[str, Any]:
    shown = {"id": f"resp_{answer.number}", "object": "response", "created_at": 1767225600, "status": status}
    used = answer.usage
    usage = {
        "input_tokens": used.input_tokens,
        "input_tokens_details": {"cached_tokens": used.cached_tokens},
        "output_tokens": used.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": used.input_tokens + used.output_tokens,
    }
    return {**shown, "model": answer.model, "output": list(output), "usage": usage if output else None, "error": None}


def _item(answer: Answer) -> dict[str, Any]:
    content = answer.content
    if isinstance(content, ToolCall):
        call = {"type": "function_call", "id": f"fc_{answer.number}", "call_id": f"call_{answer.number}"}
        group = {"namespace": content.namespace} if content.namespace else {}
        return {
            **call,
            **group,
            "name": content.name,
            "arguments": json.dumps(content.arguments),
            "status": "completed",
        }
    part: dict[str, Any] = {"type": "output_text", "text": content.text, "annotations": []}
    if isinstance(content, Refuse):
        part = {"type": "refusal", "refusal": content.text}
    return {
        "type": "message",
        "id": f"msg_{answer.number}",
        "role": "assistant",
        "status": "completed",
        "content": [part],
    }
