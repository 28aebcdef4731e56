"""The whole stack on this machine, without Docker and without AWS: emulated functions, a gateway, a store, a queue, Sentry.

What it cannot show: whether IAM allows what the template says, whether the schedule delivers, whether CloudWatch takes
the metrics. Everything else is the code, the bundle and the runtime client that run in Lambda.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from infra.local.emulator import ROOT, Emulator, emulated
from infra.local.fake_sentry import FakeSentry, fake_sentry
from infra.local.gateway import REGION, Caller, Gateway, routes_of, serving
from infra.local.s3_servers import S3Server, moto_server, seaweedfs
from infra.local.stalling_proxy import StallingProxy, stalling_proxy

BUCKET: Final = "towns"
SECRET: Final = "town-tokens"  # noqa: S105 - its name
KEY: Final = "local-key-of-town-tokens-0123456789-0123456789"
OPERATOR: Final = Caller(
    "AKIALOCALOPERATOR", "operator-secret", "arn:aws:sts::123456789012:assumed-role/Operator/local"
)
STRANGER: Final = Caller(
    "AKIALOCALSTRANGER", "stranger-secret", "arn:aws:sts::123456789012:assumed-role/Stranger/local"
)
RULES: Final = [{"callers": ["*:assumed-role/Operator/*"], "towns": ["demo*"], "verbs": ["read", "debug", "write"]}]
_FUNCTIONS: Final = ("TickFunction", "WorkerFunction", "EventsFunction", "DebugFunction", "AuthorizerFunction")


@dataclass
class LocalCloud:
    """The running stack."""

    url: str
    store: S3Server
    services: S3Server
    sentry: FakeSentry
    proxy: StallingProxy
    queue_url: str
    emulators: dict[str, Emulator]
    starters: dict[str, Any]
    home: Path
    lost: list[Emulator] = field(default_factory=list)

    def invoke(self, function: str, event: Any) -> Any:
        """Call a function."""
        return self.emulators[function].invoke(event)

    def tick(self, *, at: datetime | None = None) -> Any:
        """The schedule calls the dispatcher for this moment."""
        when = (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self.invoke("TickFunction", {"scheduled_time": when, "execution_id": "local", "attempt": "1"})

    def pump(self) -> int:
        """Carry one batch of wakes from the queue to the worker; how many it had."""
        client = self.sqs()
        batch = client.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10, AttributeNames=["All"])
        messages = batch.get("Messages", [])
        if not messages:
            return 0
        records = [
            {"messageId": each["MessageId"], "body": each["Body"], "attributes": each.get("Attributes", {})}
            for each in messages
        ]
        answered = self.invoke("WorkerFunction", {"Records": records})
        again = {failure["itemIdentifier"] for failure in answered["batchItemFailures"]}
        for each in messages:
            if each["MessageId"] not in again:
                client.delete_message(QueueUrl=self.queue_url, ReceiptHandle=each["ReceiptHandle"])
        return len(messages)

    def sqs(self) -> Any:
        """A client of the queue's service."""
        return _session().client("sqs", endpoint_url=self.services.endpoint_url)

    def replace(self, function: str) -> None:
        """Kill an environment, whatever it is doing; the next call finds a new one."""
        self.emulators[function].kill()
        self.lost.append(self.emulators[function])
        self.emulators[function] = self.starters[function]()

    def lines(self) -> list[dict[str, Any]]:
        """Every JSON line that any environment has written."""
        return [line for each in (*self.lost, *self.emulators.values()) for line in each.lines()]


@contextmanager
def local_cloud(home: Path) -> Iterator[LocalCloud]:
    """Start everything below `home`; it all ends with the block. Raises Refused if something was not built."""
    template = json.loads((ROOT / "build/template.json").read_text(encoding="utf-8"))
    with ExitStack() as running:
        store = running.enter_context(seaweedfs(home / "store"))
        services = running.enter_context(moto_server(home / "services"))
        sentry = running.enter_context(fake_sentry())
        proxy = running.enter_context(stalling_proxy(store.endpoint_url))
        store.make_bucket(BUCKET)
        queue_url = _services_set_up(services)
        environment = {
            **store.environment,
            "STAGE": "local",
            "RELEASE": "local",
            "SENTRY_DSN": sentry.dsn,
            "TOWN_BUCKET": BUCKET,
            "STORE_ENDPOINT": proxy.url,
            "QUEUE_URL": queue_url,
            "QUEUE_ENDPOINT": services.endpoint_url,
            "ACCESS_RULES": json.dumps(RULES),
            "TOKEN_SECRET": SECRET,
            "SECRETS_ENDPOINT": services.endpoint_url,
        }

        def starter(function: str) -> Any:
            properties = template["Resources"][function]["Properties"]
            told = set(properties["Environment"]["Variables"]) | {
                "STORE_ENDPOINT",
                "QUEUE_ENDPOINT",
                "SECRETS_ENDPOINT",
            }
            given = {
                name: value
                for name, value in environment.items()
                if name in told or name.startswith(("AWS", "NO_", "no_"))
            }

            def start(timeout: int = properties["Timeout"]) -> Emulator:
                return running.enter_context(
                    emulated(function, properties["Handler"], given, home=home / "functions", timeout=timeout)
                )

            return start

        starters = {function: starter(function) for function in _FUNCTIONS}
        emulators = {function: start() for function, start in starters.items()}
        cloud = LocalCloud("", store, services, sentry, proxy, queue_url, emulators, starters, home)
        gateway = Gateway(routes_of(template), cloud.invoke, (OPERATOR, STRANGER), authorizer="AuthorizerFunction")
        cloud.url = running.enter_context(serving(gateway))
        yield cloud


def _services_set_up(services: S3Server) -> str:
    """The secret and the queue; the queue's URL."""
    session = _session()
    session.client("secretsmanager", endpoint_url=services.endpoint_url).create_secret(Name=SECRET, SecretString=KEY)
    attributes = {"FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"}
    queue = session.client("sqs", endpoint_url=services.endpoint_url).create_queue(
        QueueName="wakes.fifo", Attributes=attributes
    )
    return str(queue["QueueUrl"])


def _session() -> Any:
    import boto3

    named = {"aws_access_key_id": "local", "aws_secret_access_key": "local"}
    return boto3.session.Session(**named, region_name=REGION)
