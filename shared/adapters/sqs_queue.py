"""Wakes in an SQS FIFO queue: the message group is the town, so a town is never run by two workers because of it.

The deduplication id is the wake's `repeat_key`: SQS forgets it after five minutes.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Final

from shared.domain.errors import AccessDenied, QueueUnavailable, Refused
from shared.ports.queue import Delivery, Wake

MOST_MARKERS: Final = 100
"""How many due markers one message carries; what is left over is found by the next look."""

_PER_CALL: Final = 10
_DEDUPLICATION_ID: Final = re.compile(r"[A-Za-z0-9!-~]{1,128}", re.ASCII)
_SECOND: Final = "%Y%m%dT%H%M%SZ"
_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "InvalidClientTokenId", "SignatureDoesNotMatch"})


class SqsQueue:
    """The Queue port over one FIFO queue. boto3 is imported at the first send."""

    def __init__(self, url: str, *, endpoint_url: str | None = None, region: str | None = None) -> None:
        self._url = url
        self._endpoint_url = endpoint_url
        self._region = region
        self._made: Any = None
        self._making = Lock()

    def send(self, wakes: Sequence[Wake]) -> tuple[Wake, ...]:
        """Hand them over, ten a call; returns those that SQS did not take. Raises QueueUnavailable, AccessDenied."""
        refused: list[Wake] = []
        for start in range(0, len(wakes), _PER_CALL):
            part = wakes[start : start + _PER_CALL]
            entries = [
                {
                    "Id": str(number),
                    "MessageBody": body_of(wake),
                    "MessageGroupId": wake.town_id,
                    "MessageDeduplicationId": deduplication_id(wake),
                }
                for number, wake in enumerate(part)
            ]
            answer = self._call("send_message_batch", entries)
            refused += [part[int(failed["Id"])] for failed in answer.get("Failed", ())]
        return tuple(refused)

    def put_back(self, receipts: Mapping[str, timedelta]) -> None:
        """Let messages be seen again after a while, ten a call. Raises QueueUnavailable, AccessDenied.

        One that SQS does not find any more has been given to somebody else already.
        """
        waits = list(receipts.items())
        for start in range(0, len(waits), _PER_CALL):
            entries = [
                {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": int(wait.total_seconds())}
                for number, (receipt, wait) in enumerate(waits[start : start + _PER_CALL])
            ]
            self._call("change_message_visibility_batch", entries)

    def _call(self, operation: str, entries: list[dict[str, Any]]) -> Any:
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - slow; only at the first call

        doing = f"{operation} to the queue of wakes"
        try:
            return getattr(self._client(), operation)(QueueUrl=self._url, Entries=entries)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code.rpartition(".")[2] in _DENIED:
                hint = "the role needs sqs:SendMessage, a worker's sqs:ChangeMessageVisibility, on this queue"
                raise AccessDenied(f"{doing}: {code}", hint=hint) from error
            raise QueueUnavailable(f"{doing}: {code}", hint="due markers bring the towns back") from error
        except BotoCoreError as error:
            problem = f"{doing}: {type(error).__name__}"
            raise QueueUnavailable(problem, hint="due markers bring the towns back") from error

    def _client(self) -> Any:
        with self._making:
            if self._made is None:
                import boto3  # noqa: PLC0415 - slow; only whoever sends needs it
                from botocore.config import Config  # noqa: PLC0415

                settings = Config(
                    connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
                )
                session = boto3.session.Session()
                self._made = session.client(
                    "sqs", endpoint_url=self._endpoint_url, region_name=self._region, config=settings
                )
            return self._made


def deduplication_id(wake: Wake) -> str:
    """The repeat key itself where SQS takes it, else its digest."""
    if _DEDUPLICATION_ID.fullmatch(wake.repeat_key):
        return wake.repeat_key
    return hashlib.sha256(wake.repeat_key.encode()).hexdigest()


def body_of(wake: Wake) -> str:
    """A wake as the body of a message."""
    due = [at.astimezone(UTC).strftime(_SECOND) for at in wake.due[:MOST_MARKERS]]
    content = {"town_id": wake.town_id, "due": due, "repeat_key": wake.repeat_key, "watched": wake.watched}
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
    """The wake that a message stands for. Raises Refused."""
    try:
        read = json.loads(body)
        town_id, due, key, watched = read["town_id"], read["due"], read["repeat_key"], read.get("watched", False)
        if not (
            isinstance(town_id, str)
            and isinstance(key, str)
            and isinstance(watched, bool)
            and isinstance(due, list)
            and len(due) <= MOST_MARKERS
        ):
            raise TypeError("a field of the wrong type")
        times = tuple(datetime.strptime(str(at), _SECOND).replace(tzinfo=UTC) for at in due)
    except (ValueError, KeyError, TypeError) as error:
        hint = "only functions/tick and functions/events write into this queue"
        raise Refused(f"no wake: {type(error).__name__}", status=400, path="body", hint=hint) from error
    return Wake(town_id, times, key, watched)
