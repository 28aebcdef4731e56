"""What waits, in a DynamoDB table: one item for each batch of an inbox and each due marker.

    p (partition)           s (sort key)                                    n       b           o
    towns/demo/inbox/       towns/demo/inbox/1768046407000-b1.json          bytes   the batch   or where a large one is
    due/2                   due/20260110T120000Z/demo                       0       empty

All reads and queries are strongly consistent, and every item is written with one request. So the order of writes and reads in
`shared.storage.waiting_room` holds here as it does in a bucket. The due index has several partitions, because one partition takes
1,000 writes a second.

Each write of an item costs a unit for each KB, and so does its deletion. A body of more than LARGEST_ITEM bytes is therefore an
object of its own in the bucket, which only its item names: it is written before the item and deleted after it. Its name is new for
each attempt, so no attempt deletes the body of another. If a process dies in between, a body is left over that nothing reads;
`shared.storage.retention` deletes it.
"""

import hashlib
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Any, Final

from shared.adapters import aws_http, table_errors
from shared.adapters.aws_http import Patience
from shared.adapters.aws_json import TABLES, AwsJson
from shared.adapters.aws_transport import NoWholeAnswer
from shared.domain.errors import PreconditionFailed
from shared.ports.object_store import Listing, PlainObjects, StoredObject
from shared.ports.steps import AT_ONCE

LARGEST_ITEM: Final = 16 << 10
SHARDS: Final = 4
"""A table has its markers where this number puts them. 5,000 busy towns write and delete about 350 markers a second."""

_CONNECT_SECONDS: Final = 2.0
_READ_SECONDS: Final = 10.0
_ATTEMPTS: Final = 3
_LARGEST_PAGE: Final = 1000

_Listed = tuple[str, int, bytes | None]
"""Key, size and body of an item; None for a body that was not asked for, or that is not in the item."""

_Item = Mapping[str, Mapping[str, str]]
"""Each attribute with its type: S for a text, N for a number, B for bytes in base64."""


class TableObjects:
    """The PlainObjects port over one table. `bodies` keeps what is too large for an item, below the prefix `large`.

    The folder of a key is its partition. The keys below the prefix `spread` have SHARDS partitions, by their last parts.
    """

    at_once: Final = AT_ONCE

    def __init__(
        self,
        table: str,
        bodies: PlainObjects,
        *,
        spread: str,
        large: str,
        endpoint_url: str | None = None,
        region: str | None = None,
    ) -> None:
        self._table = table
        self._bodies = bodies
        self._spread = spread
        self._large = large
        self._endpoint_url = endpoint_url
        patience = Patience(_CONNECT_SECONDS, _READ_SECONDS, _ATTEMPTS)
        self._service = AwsJson(TABLES, patience, endpoint_url=endpoint_url, region=region)

    def get(self, key: str) -> StoredObject | None:
        """The object, or None if there is none."""
        body = self._read(key, self._whole)
        return None if body is None else StoredObject(body, _etag(body))

    def start_of(self, key: str, length: int) -> bytes | None:
        """The first `length` bytes of an object; None if there is none."""
        body = self._read(key, lambda place: self._bodies.start_of(place, length))
        return None if body is None else body[:length]

    def create(self, key: str, body: bytes) -> str:
        """Store a new object and return its ETag. Raises PreconditionFailed if the key exists."""
        item = self._item(key, body)
        try:
            with self._translated(f"create {key}"):
                self._ask("PutItem", Item=item, ConditionExpression="attribute_not_exists(p)")
        except PreconditionFailed:
            place = _place_of(item)
            if place is not None and place != _place_of(self._found(key) or {}):
                self._bodies.delete(place)  # no item names it, and none will
            raise
        return _etag(body)

    def put(self, key: str, body: bytes) -> str:
        """Store unconditionally."""
        item = self._item(key, body)
        with self._translated(f"put {key}"):
            answer = self._ask("PutItem", Item=item, ReturnValues="ALL_OLD")
        self._forget(answer.get("Attributes", {}))
        return _etag(body)

    def delete(self, key: str) -> None:
        """Remove the object; no error if there is none."""
        with self._translated(f"delete {key}"):
            answer = self._ask("DeleteItem", Key=self._key(key), ReturnValues="ALL_OLD")
        self._forget(answer.get("Attributes", {}))

    def list(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        """At most `limit` keys that start with `prefix` and are greater than `after`, ascending. Their times are not known."""
        return self._listed(prefix, "s, n", after=after, limit=limit)

    def list_with_bodies(self, prefix: str, *, after: str = "", limit: int = 1000) -> Listing:
        """As `list`, with the bodies of items. A query that does not return them costs as much."""
        return self._listed(prefix, "s, n, b", after=after, limit=limit)

    def _listed(self, prefix: str, attributes: str, *, after: str, limit: int) -> Listing:
        partitions = self._partitions_below(prefix)
        page = min(limit // len(partitions) + 1, _LARGEST_PAGE)
        with self._translated(f"list {prefix}"):
            each = (self._below(one, prefix, attributes, after=after, page=page) for one in partitions)
            found = list(islice(merge(*each, key=itemgetter(0)), limit + 1))
        return Listing(
            tuple(key for key, _, _ in found[:limit]),
            more=len(found) > limit,
            sizes=tuple(size for _, size, _ in found[:limit]),
            bodies=tuple(body for _, _, body in found[:limit]),
        )

    def _below(self, partition: str, prefix: str, attributes: str, *, after: str, page: int) -> Iterator[_Listed]:
        """The items of one partition, ascending. A page is read when it is needed."""
        is_within = after >= prefix
        place: dict[str, _Item] = {}
        while True:
            answer = self._ask(
                "Query",
                ConsistentRead=True,
                KeyConditionExpression="p = :p AND s > :s" if is_within else "p = :p AND begins_with(s, :s)",
                ExpressionAttributeValues={":p": {"S": partition}, ":s": {"S": after if is_within else prefix}},
                ProjectionExpression=attributes,
                Limit=page,
                **place,
            )
            for item in _said(answer, "Items"):
                key = str(_said(item, "s")["S"])
                if not key.startswith(prefix):
                    return
                yield key, int(_said(item, "n")["N"]), _body_of(item) if "b" in item else None
            if not answer.get("LastEvaluatedKey"):
                return
            place = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _read(self, key: str, large: Callable[[str], bytes | None]) -> bytes | None:
        item = self._found(key)
        while item is not None:
            place = _place_of(item)
            if place is None:
                with self._translated(f"get {key}"):
                    return _body_of(item)
            body = large(place)
            if body is not None:
                return body
            again = self._found(key)
            if again is not None and _place_of(again) == place:
                return b""  # somebody removed the body. Nothing can be read from no bytes, and that is reported
            item = again
        return None

    def _whole(self, place: str) -> bytes | None:
        found = self._bodies.get(place)
        return None if found is None else found.body

    def _found(self, key: str) -> _Item | None:
        with self._translated(f"get {key}"):
            answer = self._ask("GetItem", Key=self._key(key), ConsistentRead=True)
            found: _Item | None = answer.get("Item")
            return found

    def _item(self, key: str, body: bytes) -> _Item:
        item = {**self._key(key), "n": {"N": str(len(body))}}
        if len(body) <= LARGEST_ITEM:
            return {**item, "b": {"B": b64encode(body).decode()}}
        place = f"{self._large}{key}.{uuid.uuid4().hex}"
        self._bodies.create(place, body)
        return {**item, "o": {"S": place}}

    def _forget(self, item: _Item) -> None:
        """Delete the large body of the item that was replaced or deleted."""
        place = _place_of(item)
        if place is not None:
            self._bodies.delete(place)

    def _key(self, key: str) -> _Item:
        return {"p": {"S": self._partition_of(key)}, "s": {"S": key}}

    def _partition_of(self, key: str) -> str:
        folder, _, name = key.rpartition("/")
        shard = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) % SHARDS
        return f"{self._spread}{shard}" if key.startswith(self._spread) else f"{folder}/"

    def _partitions_below(self, prefix: str) -> tuple[str, ...]:
        if prefix.startswith(self._spread):
            return tuple(f"{self._spread}{shard}" for shard in range(SHARDS))
        return (self._partition_of(prefix),)

    def _ask(self, operation: str, **given: object) -> Mapping[str, Any]:
        return self._service.call(operation, {"TableName": self._table, **given})

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except aws_http.FAILURES as error:
            where = f"table {self._table}"
            if self._endpoint_url:
                where += f" at {aws_http.without_userinfo(self._endpoint_url)}"
            raise table_errors.translated(error, doing=doing, where=where, table=self._table) from error


def _said(answer: Mapping[str, Any], name: str) -> Any:
    if name not in answer:
        raise NoWholeAnswer(f"it lacks {name}")
    return answer[name]


def _place_of(item: _Item) -> str | None:
    """Where the body of an item is, if it is too large for the item."""
    return str(item["o"]["S"]) if "o" in item else None


def _body_of(item: _Item) -> bytes:
    try:
        return b64decode(item.get("b", {}).get("B", ""))
    except ValueError as error:
        raise NoWholeAnswer("a body that is not in base64") from error


def _etag(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
