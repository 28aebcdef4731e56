"""Wakes on their way into SQS: ten a call, one group for each town, and what SQS did not take is said."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from shared.adapters.sqs_queue import SqsQueue, wake_of
from shared.domain.errors import AccessDenied, QueueUnavailable, TownError
from shared.ports.queue import Wake
from tests.towns import T


class Client:
    """An SQS client that refuses the entries of some towns, or fails as it is told."""

    def __init__(self, *, refuses: frozenset[str] = frozenset(), fails: Exception | None = None) -> None:
        self._refuses = refuses
        self._fails = fails
        self.calls: list[list[str]] = []

    def send_message_batch(self, *, QueueUrl: str, Entries: list[dict[str, str]]) -> dict[str, Any]:  # noqa: N803
        assert QueueUrl == "https://queue.example/wakes.fifo"
        if self._fails is not None:
            raise self._fails
        self.calls.append([entry["MessageGroupId"] for entry in Entries])
        failed = [entry for entry in Entries if entry["MessageGroupId"] in self._refuses]
        return {"Failed": [{"Id": entry["Id"], "Code": "InternalError", "SenderFault": False} for entry in failed]}


def wakes(count: int) -> list[Wake]:
    return [Wake(f"town-{number:02d}", (T,), f"town-{number:02d}:r") for number in range(count)]


def over(client: Client) -> SqsQueue:
    queue = SqsQueue("https://queue.example/wakes.fifo")
    queue._client.made = client
    return queue


def test_ten_wakes_go_with_one_call() -> None:
    client = Client()
    assert over(client).send(wakes(23)) == ()
    assert [len(call) for call in client.calls] == [10, 10, 3]
    assert [town for call in client.calls for town in call] == [wake.town_id for wake in wakes(23)]


def test_what_sqs_does_not_take_is_handed_back() -> None:
    refused = over(Client(refuses=frozenset({"town-03", "town-12"}))).send(wakes(15))
    assert [wake.town_id for wake in refused] == ["town-03", "town-12"]


@pytest.mark.parametrize(
    ("raised", "ours"),
    [
        (ClientError({"Error": {"Code": "AccessDenied"}}, "SendMessageBatch"), AccessDenied),
        (ClientError({"Error": {"Code": "AWS.AccessDenied"}}, "SendMessageBatch"), AccessDenied),
        (ClientError({"Error": {"Code": "RequestThrottled"}}, "SendMessageBatch"), QueueUnavailable),
        (EndpointConnectionError(endpoint_url="https://queue.example"), QueueUnavailable),
    ],
    ids=str,
)
def test_a_queue_that_fails_says_so_in_our_words(raised: Exception, ours: type[TownError]) -> None:
    with pytest.raises(ours):
        over(Client(fails=raised)).send(wakes(1))


@pytest.fixture
def aws(as_owner: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        yield boto3.client("sqs")


def test_sqs_takes_what_is_sent_and_a_repeat_only_once(aws: Any) -> None:
    url = aws.create_queue(QueueName="wakes.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    queue = SqsQueue(url)
    one = Wake("one", (T, T + timedelta(seconds=5)), "one:r")
    assert queue.send([one]) == queue.send([one]) == ()
    [message] = aws.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])["Messages"]
    assert wake_of(message["Body"]) == one
    assert message["Attributes"]["MessageGroupId"] == "one"


def test_what_is_put_back_comes_again_after_its_while_and_its_group_waits_for_it(aws: Any) -> None:
    url = aws.create_queue(QueueName="wakes.fifo", Attributes={"FifoQueue": "true", "VisibilityTimeout": "240"})[
        "QueueUrl"
    ]
    queue = SqsQueue(url)
    queue.send([Wake("one", (T,), "one:r"), Wake("two", (T,), "two:r")])
    first, second = aws.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    queue.put_back({first["ReceiptHandle"]: timedelta(0), second["ReceiptHandle"]: timedelta(seconds=60)})

    [again] = aws.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert again["MessageId"] == first["MessageId"]


def test_a_worker_that_may_not_put_back_is_told_which_right_is_missing() -> None:
    class Denied:
        def change_message_visibility_batch(self, **_: object) -> None:
            raise ClientError({"Error": {"Code": "AccessDenied"}}, "ChangeMessageVisibilityBatch")

    queue = SqsQueue("https://queue.example/wakes.fifo")
    queue._client.made = Denied()
    with pytest.raises(AccessDenied) as refused:
        queue.put_back({"handle": timedelta(seconds=5)})
    assert "sqs:ChangeMessageVisibility" in refused.value.hint
