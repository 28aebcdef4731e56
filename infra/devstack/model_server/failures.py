"""How the two families of protocols say what went wrong. Statuses, types and texts are those of the providers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from infra.devstack.model_server.scripts import Failure, Trouble


@dataclass(frozen=True, slots=True)
class ErrorAnswer:
    """An answer that is an error."""

    status: int
    body: dict[str, Any]
    headers: Mapping[str, str]


_OPENAI: Final[Mapping[Failure, tuple[int, str, str, str]]] = {
    Failure.RATE_LIMITED: (
        429,
        "tokens",
        "rate_limit_exceeded",
        "Rate limit reached for {model} on tokens per min (TPM).",
    ),
    Failure.OVERLOADED: (
        503,
        "server_error",
        "server_is_overloaded",
        "Our servers are currently overloaded. Please try again later.",
    ),
    Failure.SERVER_ERROR: (
        500,
        "server_error",
        "server_error",
        "The server had an error while processing your request.",
    ),
    Failure.CONTEXT_TOO_LONG: (
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "This model's maximum context length is 128000 tokens. However, your messages resulted in 208310 tokens.",
    ),
    Failure.NO_CREDIT: (
        429,
        "insufficient_quota",
        "insufficient_quota",
        "You exceeded your current quota, please check your plan and billing details.",
    ),
    Failure.WRONG_KEY: (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    Failure.UNKNOWN_MODEL: (
        404,
        "invalid_request_error",
        "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
}
"""Status, type, code and message."""

_ANTHROPIC: Final[Mapping[Failure, tuple[int, str, str]]] = {
    Failure.RATE_LIMITED: (429, "rate_limit_error", "This request would exceed your organization's rate limit."),
    Failure.OVERLOADED: (529, "overloaded_error", "Overloaded"),
    Failure.SERVER_ERROR: (500, "api_error", "Internal server error"),
    Failure.CONTEXT_TOO_LONG: (400, "invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"),
    Failure.NO_CREDIT: (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API."),
    Failure.WRONG_KEY: (401, "authentication_error", "invalid x-api-key"),
    Failure.UNKNOWN_MODEL: (404, "not_found_error", "model: {model}"),
}
"""Status, type and message."""


def of_openai(trouble: Trouble, model: str) -> ErrorAnswer:
    """An error of chat completions or responses."""
    status, kind, code, message = _OPENAI[trouble.failure]
    error = {"message": message.format(model=model), "type": kind, "param": None, "code": code}
    return ErrorAnswer(status, {"error": error}, _headers(trouble))


def of_anthropic(trouble: Trouble, model: str) -> ErrorAnswer:
    """An error of messages."""
    status, kind, message = _ANTHROPIC[trouble.failure]
    error = {"type": kind, "message": message.format(model=model)}
    return ErrorAnswer(status, {"type": "error", "error": error}, _headers(trouble))


def _headers(trouble: Trouble) -> dict[str, str]:
    wait = trouble.retry_after_seconds
    return {} if wait is None else {"Retry-After": f"{wait:g}"}
