"""Wakes in an SQS FIFO queue. The message group is the town, so the queue delivers the wakes of a town to one worker at a time.

The deduplication id is the wake's `repeat_key`, which SQS remembers for five minutes.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from shared.adapters import aws_http, aws_sdk
from shared.adapters.aws_http import Patience
from shared.adapters.aws_json import QUEUES, AwsJson
from shared.domain import strict_json
from shared.domain.errors import AccessDenied, QueueUnavailable, Refused
from shared.ports.queue import Delivery, Wake

MOST_MARKERS: Final = 100
"""The most due markers that one message carries; the dispatcher finds the others in a later pass."""

_PATIENCE: Final = Patience(connect_seconds=2, read_seconds=5, attempts=3)
_LARGEST_MESSAGE: Final = 1 << 20  # as in SQS
WAKES_PER_CALL: Final = 10
_DEDUPLICATION_ID: Final = re.compile(r"[A-Za-z0-9!-~]{1,128}", re.ASCII)
_SECOND: Final = "%Y%m%dT%H%M%SZ"
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "SignatureDoesNotMatch"})


class SqsQueue:
    """The Queue port over one FIFO queue. The SDK is imported only where `shared.adapters.aws_place` asks it."""

    def __init__(self, url: str, *, endpoint_url: str | None = None, region: str | None = None) -> None:
        self._url = url
        self._service = AwsJson(QUEUES, _PATIENCE, endpoint_url=endpoint_url, region=region)

    def send(self, wakes: Sequence[Wake]) -> tuple[Wake, ...]:
        """Send wakes, ten in a call; returns those that SQS did not accept. Raises QueueUnavailable, AccessDenied."""
        refused: list[Wake] = []
        for start in range(0, len(wakes), WAKES_PER_CALL):
            part = wakes[start : start + WAKES_PER_CALL]
            entries = [
                {
                    "Id": str(number),
                    "MessageBody": body_of(wake),
                    "MessageGroupId": wake.town_id,
                    "MessageDeduplicationId": deduplication_id(wake),
                }
                for number, wake in enumerate(part)
            ]
            answer = self._call("SendMessageBatch", entries)
            refused += [part[int(failed["Id"])] for failed in answer.get("Failed") or ()]
        return tuple(refused)

    def put_back(self, receipts: Mapping[str, timedelta]) -> None:
        """Change the visibility timeout of messages, ten in a call. Raises QueueUnavailable, AccessDenied.

        A receipt that SQS no longer knows is ignored: its message was delivered to another worker.
        """
        waits = list(receipts.items())
        for start in range(0, len(waits), WAKES_PER_CALL):
            entries = [
                {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": int(wait.total_seconds())}
                for number, (receipt, wait) in enumerate(waits[start : start + WAKES_PER_CALL])
            ]
            self._call("ChangeMessageVisibilityBatch", entries)

    def _call(self, operation: str, entries: Sequence[Mapping[str, object]]) -> Mapping[str, Any]:
        try:
            return self._service.call(operation, {"QueueUrl": self._url, "Entries": entries})
        except aws_http.FAILURES as error:
            code = aws_sdk.code_of(error)
            problem = f"{operation} to the queue of wakes: {code or type(error.__cause__ or error).__name__}"
            if code.rpartition(".")[2] in _DENIED:
                hint = "allow the role sqs:SendMessage, and a worker sqs:ChangeMessageVisibility, on this queue"
                raise AccessDenied(problem, hint=hint) from error
            hint = "nothing is lost: the dispatcher finds the due markers of these towns again"
            raise QueueUnavailable(problem, hint=hint) from error


def deduplication_id(wake: Wake) -> str:
    """The repeat key itself if SQS accepts it, else its digest."""
    if _DEDUPLICATION_ID.fullmatch(wake.repeat_key):
        return wake.repeat_key
    return hashlib.sha256(wake.repeat_key.encode()).hexdigest()


def body_of(wake: Wake) -> str:
    """The message body for a wake."""
    due = [at.astimezone(UTC).strftime(_SECOND) for at in wake.due[:MOST_MARKERS]]
    content = {"town_id": wake.town_id, "due": due, "repeat_key": wake.repeat_key, "watched": wake.watched}
    if wake.alone:
        content["alone"] = True
    return json.dumps(content, separators=(",", ":"))


def deliveries_of(records: Sequence[Mapping[str, Any]]) -> tuple[Delivery, ...]:
    """The messages that an event source hands to a Lambda."""
    return tuple(
        Delivery(
            message_id=str(record["messageId"]),
            receipt=str(record["receiptHandle"]),
            receives=int(record["attributes"]["ApproximateReceiveCount"]),
            wake=_wake_or_none(str(record["body"])),
        )
        for record in records
    )


def _wake_or_none(body: str) -> Wake | None:
    try:
        return wake_of(body)
    except Refused:
        return None


def wake_of(body: str) -> Wake:
    """The wake in a message body. Raises Refused."""
    try:
        read = strict_json.foreign(body, limit=_LARGEST_MESSAGE)
        town_id, due, key = read["town_id"], read["due"], read["repeat_key"]
        watched, alone = read.get("watched", False), read.get("alone", False)
        if not (
            isinstance(town_id, str)
            and isinstance(key, str)
            and isinstance(watched, bool)
            and isinstance(alone, bool)
            and isinstance(due, list)
            and len(due) <= MOST_MARKERS
        ):
            raise TypeError("a field of the wrong type")
        times = tuple(datetime.strptime(str(at), _SECOND).replace(tzinfo=UTC) for at in due)
    except (ValueError, KeyError, TypeError) as error:
        hint = "only functions/tick and functions/events write into this queue"
        raise Refused(
            f"the message is not a wake: {type(error).__name__}", status=400, path="body", hint=hint
        ) from error
    return Wake(town_id, times, key, watched, alone)
