"""A deployment's API, as townctl calls it: each answer is read back into its model, and each problem becomes an error.

Requests are signed with the credentials that the AWS SDK finds. Events are posted with the town token in TOWNCTL_TOKEN, if there
is one.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeVar

from infra.townctl import api_client
from infra.townctl.api_client import ApiAnswer
from shared.domain.errors import Refused, Retryable, StoreUnavailable, Terminal

T = TypeVar("T")

TOKEN_VARIABLE: Final = "TOWNCTL_TOKEN"  # noqa: S105 - a name
_URL: Final = re.compile(r"https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?")
_REGION: Final = re.compile(r"\.execute-api\.([a-z0-9-]+)\.amazonaws\.com")
_SHOWN: Final = 900
_DENIED: Final = (
    "your credentials or your token do not allow this request; docs/runbook/deploy.md lists the rights that it needs"
)
_NOT_AN_API: Final = "give the stack's output ApiUrl, or the URL that `townctl serve` prints"


def base_url(given: str) -> str:
    """The URL of an API without a slash at its end. Raises Refused."""
    if not _URL.fullmatch(given):
        hint = "give the stack's output ApiUrl, for example https://ID.execute-api.REGION.amazonaws.com"
        raise Refused(f"--api: not the URL of an API: {given[:80]!r}", status=400, path="api", hint=hint)
    return given.rstrip("/")


@dataclass(frozen=True)
class Api:
    """A deployment, identified by the URL of its API."""

    url: str
    region: str | None = None

    def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The document that answers a signed request. `townctl serve` has no IAM, so it gets an operator's token.

        Raises Refused, Retryable, Terminal.
        """
        if self.token is not None and self._is_local:
            return self._document(self._sent(method, path, body, token=self.token))
        return self._document(self._signed(method, path, body))

    def report(self, path: str, body: bytes, token: str) -> dict[str, Any]:
        """The document that answers events which are posted with this town token. Raises Refused, Retryable, Terminal."""
        return self._document(self._sent("POST", path, body, token=token))

    @property
    def token(self) -> str | None:
        """The town token in the environment."""
        return os.environ.get(TOKEN_VARIABLE) or None

    def read(self, shape: type[T], document: Mapping[str, Any]) -> T:
        """The model that a document contains. Raises Terminal if the document does not fit."""
        from pydantic import ValidationError

        from shared.domain.field_errors import first_error
        from shared.domain.shapes import read

        try:
            return read(shape, document)
        except ValidationError as error:
            first = first_error(error)
            problem = f"{self.url} sent an answer that this townctl cannot read: {first.place}: {first.message}"
            hint = "use the version of townctl that is deployed there; `townctl --version` shows yours"
            raise Terminal(problem, hint=hint) from error

    @property
    def region_named(self) -> str | None:
        """The region that was given, or else the one in the URL."""
        found = _REGION.search(self.url)
        return self.region or (found[1] if found else None)

    @cached_property
    def _is_local(self) -> bool:
        """Whether a `townctl serve` answers there: its root document says so."""
        said = self._sent("GET", "/", None, token=None)
        return isinstance(said.document, dict) and said.document.get("served") == "townctl"

    def _sent(self, method: str, path: str, body: Any, *, token: str | None) -> ApiAnswer:
        try:
            return api_client.with_token(method, self.url + path, body, token=token)
        except ConnectionError as error:
            raise self._unreachable(error) from error

    def _signed(self, method: str, path: str, body: Any) -> ApiAnswer:
        from botocore.session import Session

        session = Session()
        credentials = session.get_credentials()
        if credentials is None:
            hint = (
                "sign in with `aws sso login` or set AWS_PROFILE; "
                f"for a `townctl serve`, set {TOKEN_VARIABLE}=$(townctl token TOWN)"
            )
            problem = f"cannot sign requests to {self.url}: no AWS credentials were found"
            raise Refused(problem, status=401, path="api", hint=hint)
        region = self.region_named or session.get_config_variable("region") or "us-east-1"
        frozen = credentials.get_frozen_credentials()
        try:
            return api_client.signed(method, self.url + path, body, credentials=frozen, region=region)
        except ConnectionError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: ConnectionError) -> Retryable:
        hint = "check the URL and that the API is running, then try again"
        return Retryable(f"{self.url} sent no usable answer: {error}", hint=hint)

    def _document(self, said: ApiAnswer) -> dict[str, Any]:
        """The document of an answer. Raises the error that a problem document describes."""
        if not 200 <= said.status < 300:
            raise self._problem(said)
        if not isinstance(said.document, dict):
            raise self._not_an_api(said)
        return said.document

    def _problem(self, said: ApiAnswer) -> Exception:
        if not isinstance(said.document, dict) or said.status < 400:
            return self._not_an_api(said)
        document: Mapping[str, Any] = said.document
        detail = str(document.get("detail") or document.get("message") or f"status {said.status}")[:_SHOWN]
        hint = str(document.get("hint") or "")[:_SHOWN]
        if said.status in (502, 503, 504):
            return StoreUnavailable(detail, hint=hint or "try again in a few seconds")
        if said.status >= 500:
            return Terminal(f"{self.url} failed: {detail}", hint=hint)
        if said.status in (401, 403):
            hint = hint or _DENIED
        return Refused(detail, status=said.status, path=str(document.get("path") or "")[:_SHOWN], hint=hint)

    def _not_an_api(self, said: ApiAnswer) -> Refused:
        what = (
            "redirects elsewhere" if 300 <= said.status < 400 else f"does not answer as an API (status {said.status})"
        )
        return Refused(f"{self.url} {what}", status=400, path="api", hint=_NOT_AN_API)
