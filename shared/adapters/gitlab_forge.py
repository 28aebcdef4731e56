"""Merge requests at GitLab, gitlab.com or self-hosted: REST v4 through urllib3, which boto3 brings anyway.

Four answers make a picture: the merge request (with its newest pipeline), its discussions page by page, its approvals.
Nothing is followed, waited for or tried again, and no answer is read beyond 8 MiB or its time.
"""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeVar
from urllib.parse import quote

import urllib3
from pydantic import BaseModel, TypeAdapter, ValidationError

from shared.adapters.clock import Budget
from shared.adapters.forge_hosts import Target
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.gitlab_answers import Approvals, Discussion, Merge, MergeRequest, feedback_of
from shared.domain.field_errors import first_error
from shared.ports.forge import Feedback, ForgeError, Merged, NotMerged, PullRequest
from shared.ports.secrets import Secret

TIMEOUT_SECONDS: Final = 5.0
TOGETHER_SECONDS: Final = 25
"""For all requests about one merge request: below the 30 s that an effect may take."""

PAGES_AT_MOST: Final = 10
_LARGEST: Final = 8 << 20
_DISCUSSIONS: Final = TypeAdapter(list[Discussion])

_M = TypeVar("_M", bound=BaseModel)


class GitLabMergeRequests:
    """The merge requests of GitLab."""

    def __init__(self, limits: ForgeLimits, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._limits = limits
        self._timeout = timeout_seconds

    def read(self, target: Target, token: Secret, *, want_feedback: bool) -> PullRequest | ForgeError:
        """How a merge request stands."""
        call = _Call(target, token, self._limits, self._timeout)
        request = call.ask(MergeRequest, "GET", "")
        if isinstance(request, ForgeError):
            return request
        if request.state_of_it != "open" or not want_feedback:
            return request.seen(None)
        feedback = _feedback(call, request)
        return feedback if isinstance(feedback, ForgeError) else request.seen(feedback)

    def merge(self, target: Target, token: Secret, *, head_sha: str | None) -> Merged | NotMerged | ForgeError:
        """Merge a merge request at exactly that head."""
        call = _Call(target, token, self._limits, self._timeout)
        answer = call.ask(Merge, "PUT", "/merge", {} if head_sha is None else {"sha": head_sha})
        if not isinstance(answer, ForgeError):
            return Merged(answer.merge_commit_sha or answer.squash_commit_sha or answer.sha or head_sha or "")
        if answer.http_status not in (405, 406, 409, 422):
            return answer
        request = call.ask(MergeRequest, "GET", "")
        if not isinstance(request, ForgeError) and request.state_of_it == "merged" and request.merge_sha:
            return Merged(request.merge_sha)
        return NotMerged(answer.message)


def _feedback(call: "_Call", request: MergeRequest) -> Feedback | ForgeError:
    discussions: list[Discussion] = []
    page = "1"
    for _ in range(PAGES_AT_MOST):
        answer = call.discussions(page)
        if isinstance(answer, ForgeError):
            return answer
        found, page = answer
        discussions += found
        if not page:
            break
    approvals = call.ask(Approvals, "GET", "/approvals")
    if isinstance(approvals, ForgeError):
        if approvals.http_status not in (403, 404):
            return approvals
        approvals = Approvals()  # not for this token, or not in this edition: then `not_approved` alone says so
    return feedback_of(request, discussions, approvals, unread=bool(page))


class _Call:
    """The requests about one merge request."""

    def __init__(self, target: Target, token: Secret, limits: ForgeLimits, timeout_seconds: float) -> None:
        project = quote(target.project, safe="")
        self._url = f"{target.at.api_url}/projects/{project}/merge_requests/{target.number}"
        self._host = target.at.host
        self._token = token
        self._limits = limits
        self._timeout = timeout_seconds
        self._budget = Budget(TOGETHER_SECONDS)

    def ask(self, shape: type[_M], verb: str, path: str, body: Any = None) -> _M | ForgeError:
        """One answer of that shape."""
        answer = self._json(verb, path, body)
        if isinstance(answer, ForgeError):
            return answer
        try:
            return shape.model_validate(answer[0])
        except ValidationError as error:
            return _unreadable(error)

    def discussions(self, page: str) -> tuple[list[Discussion], str] | ForgeError:
        """One page of discussions and the name of the next one, empty after the last."""
        answer = self._json("GET", f"/discussions?per_page=100&page={page}")
        if isinstance(answer, ForgeError):
            return answer
        following = answer[1].get("x-next-page", "").strip()
        try:
            return _DISCUSSIONS.validate_python(answer[0]), following if following.isdigit() else ""
        except ValidationError as error:
            return _unreadable(error)

    def _json(self, verb: str, path: str, body: Any = None) -> tuple[Any, Mapping[str, str]] | ForgeError:
        answer = self._send(verb, path, body)
        if isinstance(answer, ForgeError):
            return answer
        status, headers, text = answer
        if self._limits.used_up(headers):
            self._note(self._limits.reset(headers))
        try:
            said = json.loads(text)
        except ValueError:
            said = None
        if 300 <= status < 400:
            return ForgeError("invalid_response", "the API answered with a redirect, which is not followed")
        if status >= 400:
            return self._refused(status, headers, said)
        if said is None:
            return ForgeError("invalid_response", "the answer is no JSON")
        return said, headers

    def _send(self, verb: str, path: str, body: Any) -> tuple[int, dict[str, str], bytes] | ForgeError:
        if self._budget.left() == 0:
            return self._too_late()
        headers = {"PRIVATE-TOKEN": self._token.reveal(), "User-Agent": "town-reconciler", "Accept": "application/json"}
        try:
            with urllib3.PoolManager(retries=False, timeout=self._timeout) as pool:
                answer = pool.request(
                    verb, self._url + path, headers=headers, json=body, redirect=False, preload_content=False
                )
                try:
                    text = b""
                    while len(text) <= _LARGEST and (part := answer.read1(_LARGEST)):
                        text += part
                        if self._budget.left() == 0:
                            return self._too_late()
                    named = {name.lower(): value for name, value in answer.headers.items()}
                    status = answer.status
                finally:
                    answer.close()
        except urllib3.exceptions.HTTPError as error:
            return ForgeError("transient", f"no complete answer: {type(error).__name__}")
        if len(text) > _LARGEST:
            return ForgeError("invalid_response", "the answer is larger than 8 MiB")
        return status, named, text

    def _too_late(self) -> ForgeError:
        return ForgeError("transient", f"the forge took longer than {TOGETHER_SECONDS} s over one look")

    def _refused(self, status: int, headers: Mapping[str, str], said: Any) -> ForgeError:
        given = said.get("message", said.get("error", "")) if isinstance(said, dict) else ""
        message = str(given).replace(self._token.reveal(), "***")[:300] or f"HTTP {status}"
        until = self._limits.end_of(headers) if status in (403, 429) else None
        if until is not None:
            self._note(until)
            return ForgeError("rate_limited", "the token's limit is used up", http_status=429, retry_at=until)
        kind: Any = "transient" if status >= 500 or status == 429 else "http"
        return ForgeError(kind, message, http_status=status)

    def _note(self, until: datetime | None) -> None:
        if until is not None:
            self._limits.note(self._host, self._token, until)


def _unreadable(error: ValidationError) -> ForgeError:
    place = first_error(error).place or "no object"
    return ForgeError("invalid_response", f"the answer is not GitLab's: {place}")
