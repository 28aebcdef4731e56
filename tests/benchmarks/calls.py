"""What one request computes: table, queue and bucket by our adapters, and by the SDK beside them: `make bench-calls`.

A process of its own gives canned answers over kept connections, so only the CPU of the caller is counted. Each figure is the median
of several rounds in which both take turns. The first request of a new process is measured after its imports.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe, get_context
from multiprocessing.connection import Connection

import boto3
from rich.console import Console
from rich.table import Table

from infra.devstack.s3_servers import S3Server
from shared.adapters.s3_objects import S3Objects
from shared.adapters.sqs_queue import SqsQueue, body_of
from shared.adapters.table_objects import TableObjects
from shared.ports.queue import Wake
from shared.storage import keys
from shared.storage.large_batches import BODIES
from tests.raw_servers import Line, answer, raw_server
from tests.towns import T

_ROUNDS = 7
_CALLS = 100
_BODY = b"x" * 600
_KEY = "towns/t/inbox/1768046407000-b1.json"
_ITEM = {"s": {"S": _KEY}, "n": {"N": "600"}}
_ANSWERS = {
    b"GetItem": {"Item": {**_ITEM, "b": {"B": b64encode(_BODY).decode()}}},
    b"Query": {"Items": [_ITEM] * 3, "Count": 3},
    b"SendMessageBatch": {"Successful": [{"Id": "0", "MessageId": "m", "MD5OfMessageBody": "d"}], "Failed": []},
}
_TARGET = re.compile(rb"x-amz-target: \w+\.(\w+)", re.IGNORECASE)
_COLD = """
import sys, time
from shared.adapters.memory_objects import MemoryObjects
{imports}
began, used = time.perf_counter(), time.process_time()
{first}
print((time.perf_counter() - began) * 1000, (time.process_time() - used) * 1000)
"""
_COLD_TABLE = {
    "ours": {
        "imports": "from shared.adapters.table_objects import TableObjects",
        "first": "TableObjects('t', MemoryObjects(), spread='due/', large='x/', endpoint_url=sys.argv[1]).get('a/b')",
    },
    "the SDK's": {
        "imports": "import boto3",
        "first": "boto3.client('dynamodb', endpoint_url=sys.argv[1]).get_item(TableName='t', Key={'p': {'S': 'a/'}})",
    },
}


def _talk(line: Line) -> None:
    """Give the same answers for ever."""
    while request := line.request():
        target = _TARGET.search(request)
        if target is not None:
            body = json.dumps(_ANSWERS.get(target[1], {})).encode()
        else:
            body = _BODY if request.startswith(b"GET") else b""
        line.say(answer(body, 'ETag: "e"', "Content-Type: application/x-amz-json-1.0", keeps=True))


def _serve(told: Connection) -> None:
    with raw_server(_talk) as server:
        told.send(server.url)
        told.recv()


@contextmanager
def canned_server() -> Iterator[str]:
    """The URL of a server in a process of its own."""
    ours, theirs = Pipe()
    process = get_context("fork").Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    yield ours.recv()
    ours.send(None)
    process.join()


@dataclass(frozen=True, slots=True)
class Pair:
    """One request by us and by the SDK."""

    name: str
    ours: Callable[[], object]
    theirs: Callable[[], object]


def pairs(url: str) -> Iterator[Pair]:
    """The requests of a commit."""
    tables, sqs = (boto3.client(each, endpoint_url=url) for each in ("dynamodb", "sqs"))
    objects = S3Objects("towns", endpoint_url=url)
    waiting = TableObjects("waiting", objects, spread=keys.DUE, large=BODIES, endpoint_url=url)
    queue = SqsQueue(f"{url}/wakes.fifo", endpoint_url=url)
    place = {"p": {"S": "towns/t/inbox/"}, "s": {"S": _KEY}}
    wake = Wake("t", (T,), "t:1")
    entry = {"Id": "0", "MessageBody": body_of(wake), "MessageGroupId": "t", "MessageDeduplicationId": "t:1"}
    query = {
        "KeyConditionExpression": "p = :p AND begins_with(s, :s)",
        "ExpressionAttributeValues": {":p": place["p"], ":s": place["p"]},
        "ProjectionExpression": "s, n",
    }
    item = {**place, "n": {"N": "600"}, "b": {"B": _BODY}}
    yield Pair(
        "table: put",
        lambda: waiting.create(_KEY, _BODY),
        lambda: tables.put_item(TableName="waiting", Item=item, ConditionExpression="attribute_not_exists(p)"),
    )
    yield Pair(
        "table: get",
        lambda: waiting.get(_KEY),
        lambda: tables.get_item(TableName="waiting", Key=place, ConsistentRead=True),
    )
    yield Pair(
        "table: query",
        lambda: waiting.list("towns/t/inbox/", limit=9),
        lambda: tables.query(TableName="waiting", ConsistentRead=True, Limit=10, **query),
    )
    yield Pair(
        "table: delete",
        lambda: waiting.delete(_KEY),
        lambda: tables.delete_item(TableName="waiting", Key=place, ReturnValues="ALL_OLD"),
    )
    yield Pair(
        "queue: send",
        lambda: queue.send([wake]),
        lambda: sqs.send_message_batch(QueueUrl=f"{url}/wakes.fifo", Entries=[entry]),
    )
    yield Pair(
        "bucket: get",
        lambda: objects.get("head"),
        lambda: objects.client.get_object(Bucket="towns", Key="head").get("Body").read(),
    )
    yield Pair(
        "bucket: put",
        lambda: objects.put("head", _BODY),
        lambda: objects.client.put_object(Bucket="towns", Key="head", Body=_BODY),
    )


def cpu_ms(pair: Pair, *, rounds: int, calls: int) -> tuple[float, float]:
    """Milliseconds of a CPU that a call takes, ours and theirs."""
    taken: tuple[list[float], list[float]] = ([], [])
    for round_ in range(rounds + 1):  # the first one finds credentials and connections, and is not counted
        for call, into in zip((pair.ours, pair.theirs), taken, strict=True):
            used = time.process_time()
            for _ in range(calls):
                call()
            if round_ > 0:
                into.append((time.process_time() - used) / calls * 1000)
    return statistics.median(taken[0]), statistics.median(taken[1])


def cold_ms(name: str, url: str, *, times: int = 5) -> tuple[float, float]:
    """Milliseconds of the first request of a new process, and of the CPU in it. The least of some."""
    found = []
    for _ in range(times):
        done = subprocess.run(
            [sys.executable, "-c", _COLD.format(**_COLD_TABLE[name]), url],
            capture_output=True,
            text=True,
            check=True,
        )
        wall, cpu = (float(each) for each in done.stdout.split())
        found.append((wall, cpu))
    return min(found)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=_ROUNDS)
    parser.add_argument("--calls", type=int, default=_CALLS)
    given = parser.parse_args()
    shown = Table(title="CPU of one request, in milliseconds")
    for heading in ("request", "ours", "the SDK's", "ratio"):
        shown.add_column(heading, justify="left" if heading == "request" else "right")
    with canned_server() as url:
        os.environ.update(S3Server(url).environment)
        for pair in pairs(url):
            ours, theirs = cpu_ms(pair, rounds=given.rounds, calls=given.calls)
            shown.add_row(pair.name, f"{ours:.2f}", f"{theirs:.2f}", f"{theirs / ours:.1f}")
        cold = {name: cold_ms(name, url) for name in _COLD_TABLE}
    console = Console(width=110)
    console.print(f"load average of this machine now: {', '.join(f'{load:.1f}' for load in os.getloadavg())}")
    console.print(shown)
    held = "held" if cold["ours"][0] <= 60 else "NOT held"
    said = ", ".join(f"{name} {wall:.0f} ms ({cpu:.0f} ms of a CPU)" for name, (wall, cpu) in cold.items())
    console.print(f"the first request to the table of a new process, after its imports: {said}; bar 60 ms: {held}")


if __name__ == "__main__":
    main()
