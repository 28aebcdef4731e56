"""Wakes on their way into SQS: ten a call, one group for each town, and what SQS did not take is said."""

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import boto3
import pytest
from moto import mock_aws

from shared.adapters import aws_http
from shared.adapters.sqs_queue import SqsQueue, wake_of
from shared.domain.errors import AccessDenied, QueueUnavailable, TownError
from shared.ports.queue import Wake
from tests.raw_servers import answer, answering
from tests.towns import T

URL = "https://queue.example/wakes.fifo"


def wakes(count: int) -> list[Wake]:
    return [Wake(f"town-{number:02d}", (T,), f"town-{number:02d}:r") for number in range(count)]


def refusing(*numbers: int) -> bytes:
    """The answer of a queue that does not take some entries of a batch."""
    failed = [{"Id": str(number), "Code": "InternalError", "SenderFault": False} for number in numbers]
    return answer(json.dumps({"Successful": [], "Failed": failed}).encode(), keeps=True)


def refusal(code: str, status: int = 400) -> bytes:
    """The answer of a service that refuses a whole call."""
    return answer(json.dumps({"__type": f"com.amazonaws.sqs#{code}", "message": "no"}).encode(), status=status)


def test_ten_wakes_go_with_one_call(as_owner: None) -> None:
    with answering(*[refusing()] * 3) as server:
        assert SqsQueue(URL, endpoint_url=server.url).send(wakes(23)) == ()
        sent = [json.loads(request.partition(b"\r\n\r\n")[2]) for request in server.heard]
        assert all(b"x-amz-target: AmazonSQS.SendMessageBatch\r\n" in request for request in server.heard)
        assert len(server.lines) == 1
    assert {each["QueueUrl"] for each in sent} == {URL}
    assert [len(each["Entries"]) for each in sent] == [10, 10, 3]
    groups = [entry["MessageGroupId"] for each in sent for entry in each["Entries"]]
    assert groups == [wake.town_id for wake in wakes(23)]


def test_what_sqs_does_not_take_is_handed_back(as_owner: None) -> None:
    with answering(refusing(3), refusing(2)) as server:
        refused = SqsQueue(URL, endpoint_url=server.url).send(wakes(15))
    assert [wake.town_id for wake in refused] == ["town-03", "town-12"]


@pytest.mark.parametrize(
    ("answers", "ours", "said"),
    [
        ([refusal("AccessDeniedException")], AccessDenied, "SendMessageBatch to the queue of wakes: AccessDenied"),
        ([refusal("AWS.AccessDenied")], AccessDenied, "AccessDenied"),
        ([refusal("QueueDoesNotExist")], QueueUnavailable, "QueueDoesNotExist"),
        ([refusal("RequestThrottled")] * 3, QueueUnavailable, "RequestThrottled"),
        ([answer(b"{")] * 3, QueueUnavailable, "NoWholeAnswer"),
        ([b"HTTP/1.1 200 OK"], QueueUnavailable, "SendMessageBatch to the queue of wakes"),
    ],
)
def test_a_queue_that_fails_says_so_in_our_words(
    as_owner: None, monkeypatch: pytest.MonkeyPatch, answers: list[bytes], ours: type[TownError], said: str
) -> None:
    monkeypatch.setattr(aws_http, "_PAUSE_OF_A_THROTTLE_SECONDS", 0.0)
    with answering(*answers) as server, pytest.raises(ours, match=said):
        SqsQueue(URL, endpoint_url=server.url).send(wakes(1))


def test_a_queue_that_nobody_reaches_says_so(as_owner: None) -> None:
    with answering() as gone:
        queue = SqsQueue(URL, endpoint_url=gone.url)
    with pytest.raises(QueueUnavailable, match="ConnectionRefusedError"):
        queue.send(wakes(1))


def test_too_many_requests_at_a_moment_are_sent_again(as_owner: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws_http, "_PAUSE_OF_A_THROTTLE_SECONDS", 0.0)
    with answering(refusal("RequestThrottled"), refusal("ServiceUnavailable", 503), refusing()) as server:
        assert SqsQueue(URL, endpoint_url=server.url).send(wakes(1)) == ()
        assert len(server.heard) == 3


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


def test_a_worker_that_may_not_put_back_is_told_which_right_is_missing(as_owner: None) -> None:
    with answering(refusal("AccessDeniedException")) as server, pytest.raises(AccessDenied) as refused:
        SqsQueue(URL, endpoint_url=server.url).put_back({"handle": timedelta(seconds=5)})
    assert "sqs:ChangeMessageVisibility" in refused.value.hint
