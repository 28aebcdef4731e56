"""An object store in an S3 bucket, or in any other store that speaks S3 and honours conditional writes.

Its requests are signed and sent without the SDK, which needs 0.8 to 2 ms of a CPU for each and a third of a second to be imported.
The SDK only finds credentials and endpoints that the environment does not say, and is there for tools.

A request whose answer was lost is sent again, so our own success may be answered with 412. This module does not resolve that:
`shared.storage.commit` reads the head before it treats a failed condition as a lost race.

A body is signed with its SHA-256, so no store takes a damaged one. At AWS the same digest is also sent as the object's checksum,
which buckets with a lock ask for; other stores may not know that header.
"""

import os
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from typing import Final, Literal

from shared.adapters import aws_http, aws_sdk, s3_answers, s3_errors, s3_place
from shared.adapters.aws_http import AwsHttp, AwsRequest, Patience, RefusedRequest
from shared.adapters.aws_sdk import AnsweredDate, AwsClient, OnDemand
from shared.adapters.aws_transport import AnswerTooLarge, HttpAnswer, NoWholeAnswer
from shared.domain.errors import ImageTooLarge, PreconditionFailed, Refused, StoreUnavailable
from shared.ports.object_store import Listing, ObjectVersion, PlainObjects, StoredObject
from shared.ports.steps import AT_ONCE

LARGEST_OBJECT: Final = (1 << 30) + (1 << 25)
"""The largest object that is downloaded, in bytes: an incompressible image of the largest allowed size, with headers and index."""

_TIME_KEY: Final = "probe/time"  # no town's; it exists only where answers do not say their time
_KEYS_PER_PAGE: Final = 1000
_CONNECT_SECONDS: Final = 2.0
_READ_SECONDS: Final = 10.0
_ATTEMPTS: Final = 3


class S3Objects:
    """The ObjectStore and VersionedObjects ports over one bucket.

    Credentials, and the region if none is given, are those of the Lambda's role, of the environment or of the user's profile:
    all that the SDK knows. `endpoint_url` is for stores that are not AWS. `kind_of` returns the value of the tag `kind` for a
    key: the bucket's lifecycle uses the tag if no prefix selects the objects. `waiting` returns the table that keeps inboxes and
    due markers, or None if they are objects of the bucket.
    """

    at_once: Final = AT_ONCE

    def __init__(
        self,
        bucket: str,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        largest: int = LARGEST_OBJECT,
        kind_of: Callable[[str], str | None] = lambda _: None,
        waiting: Callable[["S3Objects"], PlainObjects | None] = lambda _: None,
    ) -> None:
        self._bucket = bucket
        self._kind_of = kind_of
        self._find_waiting = waiting
        self._waiting: PlainObjects | None = None
        self._endpoint_url = endpoint_url
        self._region = region
        self._largest = largest
        self._session = OnDemand(aws_sdk.session)
        self._made = OnDemand(self._new_client)
        self._way = OnDemand(self._new_way)
        self._date = AnsweredDate()

    @property
    def client(self) -> AwsClient:
        """A boto3 client of the bucket for tools, safe for threads, made at its first use."""
        return self._made()

    @property
    def waiting(self) -> PlainObjects:
        """Where inboxes and due markers are kept; found out when it is first asked."""
        if self._waiting is None:
            self._waiting = self._find_waiting(self) or self
        return self._waiting

    def get(self, key: str) -> StoredObject | None:
        """The object, or None if there is none. Raises ImageTooLarge instead of downloading one that is too large."""
        with self._translated(f"get {key}"):
            try:
                return self._read(key)
            except RefusedRequest as refusal:
                if s3_errors.says_no_such_object(refusal):
                    return None
                raise

    def get_if_changed(self, key: str, etag: str) -> StoredObject | Literal["unchanged"] | None:
        """The object if its ETag differs from `etag`; `unchanged` if it does not; None if there is none."""
        with self._translated(f"get {key}"):
            try:
                return self._read(key, {"if-none-match": etag})
            except RefusedRequest as refusal:
                if s3_errors.says_unchanged(refusal):
                    return "unchanged"
                if s3_errors.says_no_such_object(refusal):
                    return None
                raise

    def start_of(self, key: str, length: int) -> bytes | None:
        """The first `length` bytes of an object; None if there is none."""
        with self._translated(f"get {key}"):
            try:
                return self._read(key, {"range": f"bytes=0-{length - 1}"}).body
            except RefusedRequest as refusal:
                if s3_errors.says_empty(refusal):
                    return b""
                if s3_errors.says_no_such_object(refusal):
                    return None
                raise

    def create(self, key: str, body: bytes) -> str:
        """Store a new object and return its ETag. Raises PreconditionFailed if the key exists, ConditionRace."""
        with self._translated(f"create {key}"):
            return self._write(key, body, {"if-none-match": "*"})

    def replace(self, key: str, body: bytes, etag: str) -> str:
        """Replace the object that has this ETag. Raises PreconditionFailed if it has another or is gone; ConditionRace."""
        with self._translated(f"replace {key}"):
            try:
                return self._write(key, body, {"if-match": etag})
            except RefusedRequest as refusal:
                if s3_errors.says_no_such_object(refusal):
                    raise PreconditionFailed(f"replace {key}: it is gone") from refusal
                raise

    def put(self, key: str, body: bytes) -> str:
        """Store unconditionally."""
        with self._translated(f"put {key}"):
            return self._write(key, body)

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""
        with self._translated(f"delete {key}"):
            try:
                self._send("DeleteObject", "DELETE", key)
            except RefusedRequest as refusal:
                if not s3_errors.says_no_such_object(refusal):
                    raise

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        """At most `limit` keys that start with `prefix` and are greater than `after`, ascending."""
        keys: list[str] = []
        sizes: list[int] = []
        times: list[datetime] = []
        more = True
        with self._translated(f"list {prefix}"):
            while more and len(keys) < limit:
                # one more than wanted: SeaweedFS reports for every full page that more keys follow
                page = self._page(prefix, after=keys[-1] if keys else after, most=limit - len(keys) + 1)
                more = page.more and bool(page.keys)
                keys += page.keys
                sizes += page.sizes
                times += page.times
        more = more or len(keys) > limit
        return Listing(tuple(keys[:limit]), more=more, sizes=tuple(sizes[:limit]), times=tuple(times[:limit]))

    def list_with_bodies(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        """As `list`: S3 lists no bodies."""
        return self.list(prefix, after=after, limit=limit)

    def time(self) -> datetime:
        """The present time by the store's clock: that of an answer of the last seconds, or of a request made for it.

        Every answer of S3 says its time, refusals included, so this needs no permission of its own. Where a proxy removes that
        line, an object is written and its time of writing is read.
        """
        heard = self._date.now()
        if heard is not None:
            return heard
        with self._translated("ask for the time"):
            try:
                self._send("HeadObject", "HEAD", _TIME_KEY)
            except RefusedRequest as refusal:
                if self._date.now() is None and aws_sdk.status_of(refusal) != 404:
                    raise
            return self._date.now() or self._time_of_writing()

    def _time_of_writing(self) -> datetime:
        """Where no answer says the time: that of an object just written, as a listing shows it. A listing always has it."""
        self._send("PutObject", "PUT", _TIME_KEY)
        times = self.list(_TIME_KEY, limit=1).times
        if not times:
            raise StoreUnavailable(
                f"ask for the time: the bucket does not list {_TIME_KEY}, which was just written",
                hint="a store must list an object at once when it is written; `townctl doctor` checks what else it must do",
            )
        return times[0]

    def tags(self) -> dict[str, str]:
        """The tags of the bucket itself."""
        with self._translated("read the tags"):
            try:
                return s3_answers.tags_in(self._send("GetBucketTagging", "GET", query={"tagging": ""}))
            except RefusedRequest as refusal:
                if aws_sdk.code_of(refusal) == "NoSuchTagSet":
                    return {}
                raise

    def versions(self, key: str) -> tuple[ObjectVersion, ...]:
        """Every state that the bucket still keeps, newest first. Without versioning, the current one."""
        with self._translated(f"versions {key}"):
            return tuple(self._versions(key))

    def get_version(self, key: str, version_id: str) -> StoredObject | None:
        """The object as it was; None if that version is not kept."""
        with self._translated(f"get version {version_id} of {key}"):
            try:
                return self._read(key, query={"versionId": version_id})
            except RefusedRequest as refusal:
                if s3_errors.says_no_such_version(refusal):
                    return None
                raise

    def delete_version(self, key: str, version_id: str) -> None:
        """Delete one past state; no error if it is gone. Raises Refused for the current one.

        Asks which state is current first: deleting that one would bring back the state before it.
        """
        with self._translated(f"delete version {version_id} of {key}"):
            if version_id == self._current_version(key):
                hint = "list the versions again; only those that were replaced may be deleted"
                raise Refused(
                    f"delete version {version_id} of {key}: it is current", status=409, path="version_id", hint=hint
                )
            try:
                self._send("DeleteObject", "DELETE", key, query={"versionId": version_id})
            except RefusedRequest as refusal:
                if not s3_errors.says_no_such_version(refusal):
                    raise

    def _read(
        self, key: str, conditions: Mapping[str, str] | None = None, *, query: Mapping[str, str] | None = None
    ) -> StoredObject:
        answer = self._send("GetObject", "GET", key, query=query, headers=conditions)
        _said(answer, "content-length")  # without it, a body that breaks off looks like a whole one
        return StoredObject(answer.body, _said(answer, "etag"))

    def _write(self, key: str, body: bytes, conditions: Mapping[str, str] | None = None) -> str:
        headers = dict(conditions or {})
        kind = self._kind_of(key)
        if kind is not None:
            headers["x-amz-tagging"] = f"kind={kind}"
        if self._http().place.is_aws:
            headers["x-amz-checksum-sha256"] = b64encode(sha256(body).digest()).decode()
        return _said(self._send("PutObject", "PUT", key, headers=headers, body=body), "etag")

    def _page(self, prefix: str, *, after: str, most: int) -> Listing:
        """One page of a listing. Keys may contain what XML cannot, so they are asked for percent-encoded."""
        query = {
            "list-type": "2",
            "prefix": prefix,
            "max-keys": str(min(most, _KEYS_PER_PAGE)),
            "encoding-type": "url",
            "start-after": after,
        }
        return s3_answers.page_in(self._send("ListObjectsV2", "GET", query=query))

    def _versions(self, key: str) -> Iterator[ObjectVersion]:
        marker: Mapping[str, str] = {}
        while True:
            query = {"versions": "", "prefix": key, "encoding-type": "url", **marker}
            page = s3_answers.versions_in(self._send("ListObjectVersions", "GET", query=query))
            yield from (version for name, version in page.versions if name == key)
            if page.next is None or page.next["key-marker"] > key:
                return
            marker = page.next

    def _current_version(self, key: str) -> str | None:
        try:
            answer = self._send("HeadObject", "HEAD", key)
        except RefusedRequest as refusal:
            if s3_errors.says_no_such_object(refusal):
                return None
            raise
        said = answer.headers.get("x-amz-version-id")
        return said or next((version.version_id for version in self._versions(key) if version.current), None)

    def _send(
        self,
        operation: str,
        method: str,
        key: str | None = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> HttpAnswer:
        path = "" if key is None else f"/{key}"
        request = AwsRequest(operation, method, path, query or {}, headers or {}, body)
        try:
            return self._http().send(request)
        except RefusedRequest as refusal:
            region, place = s3_errors.region_of(refusal), self._http().place
            if not place.is_aws or region in (None, place.scope.region):
                raise
            self._region, self._way = region, OnDemand(self._new_way)
            self._made = OnDemand(self._new_client)
            return self._http().send(request)  # a bucket of AWS that is in another region than the settings say

    def _http(self) -> AwsHttp:
        way: AwsHttp = self._way()
        return way

    def _new_way(self) -> AwsHttp:
        """How requests reach the bucket. Raises SdkFailed."""
        place = s3_place.in_environment(
            self._bucket, endpoint_url=self._endpoint_url, region=self._region, environment=os.environ
        ) or s3_place.found_by_sdk(self._bucket, lambda: self.client, self._session)
        return AwsHttp(
            place, self._patience(), largest=self._largest, refusal_of=s3_answers.refusal_in, hear=self._date.hear
        )

    def _new_client(self) -> AwsClient:
        return s3_place.client(self._session(), self._patience(), self._endpoint_url, self._region)

    def _patience(self) -> Patience:
        return Patience(_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS)

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except AnswerTooLarge as error:
            raise ImageTooLarge(
                f"{doing}: the object has {error.size} bytes, more than {self._largest}; it was not downloaded",
                hint="delete what the town no longer needs, or split the town",
            ) from error
        except aws_http.FAILURES as error:
            where = f"bucket {self._bucket}"
            if self._endpoint_url:
                where += f" at {aws_http.without_userinfo(self._endpoint_url)}"
            raise s3_errors.translated(error, doing=doing, where=where, bucket=self._bucket) from error


def _said(answer: HttpAnswer, name: str) -> str:
    if name not in answer.headers:
        raise NoWholeAnswer(f"it lacks {name}")
    return answer.headers[name]
