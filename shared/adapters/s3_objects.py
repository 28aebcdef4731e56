"""An object store in an S3 bucket, or in any other store that speaks S3 and honours conditional writes.

The SDK repeats a request whose answer was lost, so our own success may be answered with 412. This module does not resolve
that: `shared.storage.commit` reads the head before it treats a failed condition as a lost race.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from shared.adapters import aws_sdk, s3_errors
from shared.adapters.aws_sdk import AnsweredDate, AwsClient, OnDemand, sdk_errors
from shared.domain.errors import ImageTooLarge, PreconditionFailed, Refused, StoreUnavailable
from shared.ports.object_store import Listing, ObjectVersion, PlainObjects, StoredObject

LARGEST_OBJECT: Final = (1 << 30) + (1 << 25)
"""The largest object that is downloaded, in bytes: an incompressible image of the largest allowed size, with headers and index."""

_TIME_KEY: Final = "probe/time"  # no town's; it exists only where answers do not say their time
_KEYS_PER_PAGE: Final = 1000
_CONNECT_SECONDS: Final = 2.0
_READ_SECONDS: Final = 10.0
_ATTEMPTS: Final = 3
_CONNECTIONS: Final = 16  # the number of calls that are made at the same time (shared.ports.steps)


class S3Objects:
    """The ObjectStore and VersionedObjects ports over one bucket.

    The SDK finds the credentials, and the region if none is given, in the role of the Lambda, the environment or the user's
    profile. `endpoint_url` is for stores that are not AWS. `kind_of` returns the value of the tag `kind` for a key: the
    bucket's lifecycle uses the tag if no prefix selects the objects. `waiting` returns the table that keeps inboxes and due
    markers, or None if they are objects of the bucket.
    """

    at_once: Final = _CONNECTIONS

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
        self._made = OnDemand(self._dated_client)
        self._date = AnsweredDate()

    @property
    def client(self) -> AwsClient:
        """The boto3 client, safe for threads, made at its first use."""
        return self._made()

    def _dated_client(self) -> AwsClient:
        made = _client(self._endpoint_url, self._region)
        made.meta.events.register("after-call.s3", self._date.hear)
        return made

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
            except sdk_errors() as error:
                if s3_errors.says_no_such_object(error):
                    return None
                raise

    def get_if_changed(self, key: str, etag: str) -> StoredObject | Literal["unchanged"] | None:
        """The object if its ETag differs from `etag`; `unchanged` if it does not; None if there is none."""
        with self._translated(f"get {key}"):
            try:
                return self._read(key, IfNoneMatch=etag)
            except sdk_errors() as error:
                if s3_errors.says_unchanged(error):
                    return "unchanged"
                if s3_errors.says_no_such_object(error):
                    return None
                raise

    def start_of(self, key: str, length: int) -> bytes | None:
        """The first `length` bytes of an object; None if there is none."""
        with self._translated(f"get {key}"):
            try:
                return self._read(key, Range=f"bytes=0-{length - 1}").body
            except sdk_errors() as error:
                if s3_errors.says_empty(error):
                    return b""
                if s3_errors.says_no_such_object(error):
                    return None
                raise

    def create(self, key: str, body: bytes) -> str:
        """Store a new object and return its ETag. Raises PreconditionFailed if the key exists, ConditionRace."""
        with self._translated(f"create {key}"):
            return self._write(key, body, IfNoneMatch="*")

    def replace(self, key: str, body: bytes, etag: str) -> str:
        """Replace the object that has this ETag. Raises PreconditionFailed if it has another or is gone; ConditionRace."""
        with self._translated(f"replace {key}"):
            try:
                return self._write(key, body, IfMatch=etag)
            except sdk_errors() as error:
                if s3_errors.says_no_such_object(error):
                    raise PreconditionFailed(f"replace {key}: it is gone") from error
                raise

    def put(self, key: str, body: bytes) -> str:
        """Store unconditionally."""
        with self._translated(f"put {key}"):
            return self._write(key, body)

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""
        with self._translated(f"delete {key}"):
            try:
                self.client.delete_object(Bucket=self._bucket, Key=key)
            except sdk_errors() as error:
                if not s3_errors.says_no_such_object(error):
                    raise

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        """At most `limit` keys that start with `prefix` and are greater than `after`, ascending."""
        found: list[str] = []
        sizes: list[int] = []
        times: list[datetime] = []
        more = True
        with self._translated(f"list {prefix}"):
            while more and len(found) < limit:
                page = self.client.list_objects_v2(
                    Bucket=self._bucket,
                    Prefix=prefix,
                    StartAfter=found[-1] if found else after,
                    # one more than wanted: SeaweedFS reports for every full page that more keys follow
                    MaxKeys=min(limit - len(found) + 1, _KEYS_PER_PAGE),
                )
                keys = [str(each["Key"]) for each in page.get("Contents", ())]
                more = bool(_said(page, "IsTruncated")) and bool(keys)
                found += keys
                sizes += [int(each["Size"]) for each in page.get("Contents", ())]
                times += [each["LastModified"].astimezone(UTC) for each in page.get("Contents", ())]
        more = more or len(found) > limit
        return Listing(tuple(found[:limit]), more=more, sizes=tuple(sizes[:limit]), times=tuple(times[:limit]))

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
                self.client.head_object(Bucket=self._bucket, Key=_TIME_KEY)
            except sdk_errors() as error:
                if self._date.now() is None and aws_sdk.status_of(error) != 404:
                    raise
            return self._date.now() or self._time_of_writing()

    def _time_of_writing(self) -> datetime:
        """Where no answer says the time: that of an object just written, as a listing shows it. A listing always has it."""
        self.client.put_object(Bucket=self._bucket, Key=_TIME_KEY, Body=b"")
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
                found = self.client.get_bucket_tagging(Bucket=self._bucket)["TagSet"]
            except sdk_errors() as error:
                if aws_sdk.code_of(error) == "NoSuchTagSet":
                    return {}
                raise
        return {str(each["Key"]): str(each["Value"]) for each in found}

    def versions(self, key: str) -> tuple[ObjectVersion, ...]:
        """Every state that the bucket still keeps, newest first. Without versioning, the current one."""
        with self._translated(f"versions {key}"):
            return tuple(self._versions(key))

    def get_version(self, key: str, version_id: str) -> StoredObject | None:
        """The object as it was; None if that version is not kept."""
        with self._translated(f"get version {version_id} of {key}"):
            try:
                return self._read(key, VersionId=version_id)
            except sdk_errors() as error:
                if s3_errors.says_no_such_version(error):
                    return None
                raise

    def delete_version(self, key: str, version_id: str) -> None:
        """Delete one past state; no error if it is gone. Raises Refused for the current one.

        Asks which state is current first: deleting that one would bring back the state before it.
        """
        with self._translated(f"delete version {version_id} of {key}"):
            current = self._current_version(key)
            if current is not None and version_id.startswith(
                current
            ):  # an answer that is cut short has the start of an id
                hint = "list the versions again; only those that were replaced may be deleted"
                raise Refused(
                    f"delete version {version_id} of {key}: it is current", status=409, path="version_id", hint=hint
                )
            try:
                self.client.delete_object(Bucket=self._bucket, Key=key, VersionId=version_id)
            except sdk_errors() as error:
                if not s3_errors.says_no_such_version(error):
                    raise

    def _read(self, key: str, **conditions: str) -> StoredObject:
        answer = self.client.get_object(Bucket=self._bucket, Key=key, **conditions)
        with answer["Body"] as content:
            size = int(_said(answer, "ContentLength"))
            if size > self._largest:
                raise ImageTooLarge(
                    f"get {key}: the object has {size} bytes, more than {self._largest}; it was not downloaded",
                    hint="delete what the town no longer needs, or split the town",
                )
            return StoredObject(content.read(), str(_said(answer, "ETag")))

    def _write(self, key: str, body: bytes, **conditions: str) -> str:
        kind = self._kind_of(key)
        tags = {} if kind is None else {"Tagging": f"kind={kind}"}
        answer = self.client.put_object(Bucket=self._bucket, Key=key, Body=body, **conditions, **tags)
        return str(_said(answer, "ETag"))

    def _versions(self, key: str) -> Iterator[ObjectVersion]:
        marker: dict[str, str] = {}
        while True:
            page = self.client.list_object_versions(Bucket=self._bucket, Prefix=key, **marker)
            for each in page.get("Versions", ()):
                if each["Key"] == key:
                    yield ObjectVersion(
                        version_id=str(each["VersionId"]),
                        etag=str(each["ETag"]),
                        at=each["LastModified"].astimezone(UTC),
                        size=int(each["Size"]),
                        current=bool(each["IsLatest"]),
                    )
            if not _said(page, "IsTruncated") or page["NextKeyMarker"] > key:
                return
            marker = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def _current_version(self, key: str) -> str | None:
        try:
            answer = self.client.head_object(Bucket=self._bucket, Key=key)
        except sdk_errors() as error:
            if s3_errors.says_no_such_object(error):
                return None
            raise
        if "VersionId" in answer:
            return str(answer["VersionId"])
        return next((version.version_id for version in self._versions(key) if version.current), None)

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except _failures() as error:
            where = f"bucket {self._bucket}"
            if self._endpoint_url:
                where += f" at {_without_userinfo(self._endpoint_url)}"
            unreadable = (
                type(error) is ValueError and self._made.made is not None
            )  # a line of an answer: a date that breaks off
            said = AnswerCutShort(str(error)) if unreadable else error
            raise s3_errors.translated(said, doing=doing, where=where, bucket=self._bucket) from error


class AnswerCutShort(Exception):
    """An answer lacks what every whole one says. To the SDK, headers that break off are complete, and no body is an empty one."""


def _failures() -> tuple[type[Exception], ...]:
    return AnswerCutShort, *sdk_errors()


def _said(answer: Mapping[str, Any], name: str) -> Any:
    if name not in answer:
        raise AnswerCutShort(f"it lacks {name}")
    return answer[name]


def _client(endpoint_url: str | None, region: str | None) -> AwsClient:
    # Other stores may not know the checksums that the SDK adds to each request since 2025. Heads and layers have their own.
    sparing: dict[str, object] = (
        {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
        if endpoint_url
        else {}
    )
    made = aws_sdk.client(
        "s3",
        connect_seconds=_CONNECT_SECONDS,
        read_seconds=_READ_SECONDS,
        attempts=_ATTEMPTS,
        endpoint_url=endpoint_url,
        region=region,
        max_pool_connections=_CONNECTIONS,
        tcp_keepalive=True,
        s3={"addressing_style": "path" if endpoint_url else "auto"},
        signature_version="s3v4",  # for presigned URLs too: buckets created since 2020 accept no older version
        **sparing,
    )
    from botocore.handlers import add_expect_header  # noqa: PLC0415 - the client has imported it

    # After `Expect: 100-continue`, SeaweedFS stores an empty object if the connection breaks before the body: even as a head.
    made.meta.events.unregister("before-call.s3", add_expect_header)
    return made


def _without_userinfo(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
