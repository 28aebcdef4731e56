"""The whole stack on one machine, without Docker and without AWS: emulated functions, a gateway, a store, a queue, a fake
Sentry, and control servers with real agents.

It runs the code, the bundle and the runtime client that run in Lambda. It cannot show whether IAM grants what the template
says, whether the schedule delivers, or whether CloudWatch accepts the metrics.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from infra.buckets import Bucket
from infra.devstack import container as containers
from infra.devstack.container import Container
from infra.devstack.emulator import ROOT, Emulator, emulated
from infra.devstack.gateway import REGION, Gateway, IamCaller, routes_of, serving
from infra.devstack.s3_servers import S3Server, moto_server, seaweedfs
from infra.devstack.waiting_tables import make_table
from shared.adapters import control_keys
from shared.adapters.s3_objects import S3Objects
from tests.e2e.control_server_router import ControlServerRouter
from tests.e2e.fake_sentry import FakeSentry, fake_sentry
from tests.e2e.stalling_proxy import StallingProxy, stalling_proxy

BUCKET: Final = "towns"
TABLE: Final = "waiting"
SECRET: Final = "town-tokens"
KEY: Final = "local-key-of-town-tokens-0123456789-0123456789"
SECRETS: Final = "local"
CONTROL_SECRET: Final = "local-secret-of-control-servers"
OPERATOR: Final = IamCaller(
    "AKIALOCALOPERATOR", "operator-secret", "arn:aws:sts::123456789012:assumed-role/Operator/local"
)
STRANGER: Final = IamCaller(
    "AKIALOCALSTRANGER", "stranger-secret", "arn:aws:sts::123456789012:assumed-role/Stranger/local"
)
RULES: Final = [
    {"callers": ["*:assumed-role/Operator/*"], "towns": ["demo*"], "verbs": ["read", "debug", "write", "delete"]}
]
_PAUSE_SECONDS: Final = 0.2
_BLOCKED_SECONDS: Final = 20
"""The queue's visibility timeout: how long the wake of a lost worker blocks its town. In the template it exceeds the worker's
timeout; a shorter one only means that a wake may be delivered twice, which is harmless.
"""

FUNCTIONS: Final = (
    "TickFunction",
    "WorkerFunction",
    "EventsFunction",
    "RedriveFunction",
    "ArchiveFunction",
    "DebugFunction",
    "AuthorizerFunction",
    "CredentialsFunction",
    "RetentionFunction",
)


@dataclass
class LocalCloud:
    """The running stack. `proxy` is in front of the store, `door` in front of the towns' control servers."""

    store: S3Server
    services: S3Server
    sentry: FakeSentry
    proxy: StallingProxy
    door: StallingProxy
    towns: ControlServerRouter
    queue_url: str
    sqs: Any
    home: Path
    url: str = ""
    emulators: dict[str, Emulator] = field(default_factory=dict)
    starters: dict[str, Callable[..., Emulator]] = field(default_factory=dict)
    lost: list[Emulator] = field(default_factory=list)

    @property
    def objects(self) -> S3Objects:
        """The towns in the store, and what waits for them in the table."""
        bucket = Bucket(BUCKET, self.store.endpoint_url, table=TABLE, table_endpoint=self.services.endpoint_url)
        return bucket.objects()

    def invoke(self, function: str, event: Any) -> Any:
        """Invoke a function."""
        return self.emulators[function].invoke(event)

    def tick(self, *, at: datetime | None = None) -> Any:
        """Invoke the dispatcher for this moment, as the schedule does."""
        when = (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
        return self.invoke("TickFunction", {"scheduled_time": when, "execution_id": "local", "attempt": "1"})

    def pump(self) -> int:
        """Deliver one batch of wakes from the queue to the worker. Returns its size."""
        batch = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=10, AttributeNames=["All"])
        messages = batch.get("Messages", [])
        if not messages:
            return 0
        records = [
            {
                "messageId": each["MessageId"],
                "receiptHandle": each["ReceiptHandle"],
                "body": each["Body"],
                "attributes": each.get("Attributes", {}),
            }
            for each in messages
        ]
        answered = self.invoke("WorkerFunction", {"Records": records})
        again = {failure["itemIdentifier"] for failure in answered["batchItemFailures"]}
        for each in messages:
            if each["MessageId"] not in again:
                self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=each["ReceiptHandle"])
        return len(messages)

    @contextmanager
    def by_itself(self) -> Iterator[None]:
        """Invoke the dispatcher and deliver wakes as long as the block runs. A minute without work ends at once, and the next
        one begins; the end of the block interrupts the current one.
        """
        ended = threading.Event()

        def again_and_again(call: Callable[[], object]) -> None:
            while not ended.wait(_PAUSE_SECONDS):
                with suppress(ConnectionError):  # the environment was killed and replaced
                    call()

        threads = [threading.Thread(target=again_and_again, args=(call,)) for call in (self.tick, self.pump)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            self.replace("TickFunction")
            for thread in threads:
                thread.join()

    def open_container(self, town: str, *, command: str, environment: Mapping[str, str]) -> Container:
        """Start a control server for a town. It reports to the gateway, with tokens that the functions issue.

        Its agents run as this user, because others may not be able to reach this machine's Python or pytest's directories.
        tests/security/evil_town.py gives them users of their own.
        """
        opened = containers.start(
            town,
            self.home / "containers" / town,
            instance_id=f"container-of-{town}",
            key=control_keys.derived(CONTROL_SECRET, town),
            command=command,
            environment={"TOWN_API": self.url, "TOWN_AGENT_UIDS": "none", **environment},
        )
        self.towns.containers[town] = opened
        return opened

    def replace(self, function: str) -> None:
        """Kill an environment, whatever it is doing, and start a new one."""
        self.emulators[function].kill()
        self.lost.append(self.emulators[function])
        self.emulators[function] = self.starters[function]()

    def lines(self) -> list[dict[str, Any]]:
        """Every JSON line that any environment has logged."""
        return [line for each in (*self.lost, *self.emulators.values()) for line in each.lines()]


@contextmanager
def local_cloud(home: Path) -> Iterator[LocalCloud]:
    """Start everything, with its files below `home`; it ends with the block. Raises Refused if something was not built."""
    template = json.loads((ROOT / "build/template.json").read_text(encoding="utf-8"))
    with ExitStack() as running:
        store = running.enter_context(seaweedfs(home / "store"))
        services = running.enter_context(moto_server(home / "services"))
        sentry = running.enter_context(fake_sentry())
        towns = ControlServerRouter()
        proxy = running.enter_context(stalling_proxy(store.endpoint_url))
        door = running.enter_context(stalling_proxy(running.enter_context(serving(towns))))
        store.make_bucket(BUCKET)
        sqs, queue_url = _services_set_up(services)
        cloud = LocalCloud(store, services, sentry, proxy, door, towns, queue_url, sqs, home)
        gateway = Gateway(routes_of(template), cloud.invoke, (OPERATOR, STRANGER), authorizer="AuthorizerFunction")
        cloud.url = running.enter_context(serving(gateway))
        environment = _environment(cloud)
        for function in FUNCTIONS:
            cloud.starters[function] = _starter(function, template, environment, home / "functions", running)
            cloud.emulators[function] = cloud.starters[function]()
        with closing(towns):  # before the gateway ends, so that the control servers can still post their last events
            yield cloud


def _environment(cloud: LocalCloud) -> dict[str, str]:
    """The settings of all functions; each function gets those that the template gives it."""
    return {
        **cloud.store.environment,
        "STAGE": "local",
        "SENTRY_DSN": cloud.sentry.dsn,
        "TOWN_BUCKET": BUCKET,
        "STORE_ENDPOINT": cloud.proxy.url,
        "WAITING_TABLE": TABLE,
        "TABLE_ENDPOINT": cloud.services.endpoint_url,
        "QUEUE_URL": cloud.queue_url,
        "QUEUE_ENDPOINT": cloud.services.endpoint_url,
        "ACCESS_RULES": json.dumps(RULES),
        "TOKEN_SECRET": SECRET,
        "SECRETS_ENDPOINT": cloud.services.endpoint_url,
        "SECRETS_PREFIX": SECRETS,
        "CONTROL_SERVER": f"{cloud.door.url}/{{town}}",
        "AGENTS_API": cloud.url,
    }


def _starter(
    function: str, template: Any, environment: Mapping[str, str], home: Path, running: ExitStack
) -> Callable[..., Emulator]:
    """A function that starts environments of a Lambda function, which all end with the stack."""
    properties = template["Resources"][function]["Properties"]
    told = properties["Environment"]["Variables"]
    given = {
        name: value for name, value in environment.items() if name in told or name.startswith(("AWS", "NO_", "no_"))
    }

    def start(timeout: int = properties["Timeout"]) -> Emulator:
        return running.enter_context(emulated(function, properties["Handler"], given, home=home, timeout=timeout))

    return start


def _services_set_up(services: S3Server) -> tuple[Any, str]:
    """Create the secrets, the table and the queue. Returns the queue's client and URL."""
    import boto3

    session = boto3.session.Session("local", "local", region_name=REGION)
    secrets = session.client("secretsmanager", endpoint_url=services.endpoint_url)
    secrets.create_secret(Name=SECRET, SecretString=KEY)
    secrets.create_secret(Name=f"{SECRETS}/{control_keys.PLATFORM}", SecretString=CONTROL_SECRET)
    make_table(session.client("dynamodb", endpoint_url=services.endpoint_url), TABLE)
    attributes = {
        "FifoQueue": "true",
        "DeduplicationScope": "messageGroup",
        "FifoThroughputLimit": "perMessageGroupId",
        "VisibilityTimeout": str(_BLOCKED_SECONDS),
    }
    sqs = session.client("sqs", endpoint_url=services.endpoint_url)
    return sqs, str(sqs.create_queue(QueueName="wakes.fifo", Attributes=attributes)["QueueUrl"])
