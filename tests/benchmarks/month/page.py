"""The page of costs: each line is a measured count times a list price, and says which count it is."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from infra.ops.dashboards import alarms
from shared.actions import ACTIONS
from shared.adapters.table_objects import SHARDS
from shared.telemetry import catalogue
from shared.telemetry.profiles import SMALL
from tests.benchmarks.month import prices
from tests.benchmarks.month.counts import IDLE_TOWNS, Measured
from tests.benchmarks.month.ledger import READ_UNIT, READS, WRITE_UNIT, WRITES, Ledger
from tests.conventions.sources import ROOT

PAGE: Final = 1000
MARKER_BYTES: Final = 100
AGENTS: Final = 3
ACTIVE_SHARE: Final = 0.05
HOURS: Final = 30 * 24
MINUTES: Final = HOURS * 60

REQUEST_SECONDS: Final = 0.015
"""Assumed: what one request to the store takes in the same region. Requests count as made one after another."""
CPU_SECONDS: Final = 0.0003
"""What one signed request computes on a whole CPU (`make bench-calls`). With less memory, Lambda gives less of a CPU."""
WHOLE_CPU_MB: Final = 1769
TICK_CPU_SECONDS: Final = 0.005
POST_CPU_SECONDS: Final = 0.003
AUTHORIZER_SECONDS: Final = 0.005
AUTHORIZED_FOR_MINUTES: Final = 1
"""ReauthorizeEvery of the template: the gateway remembers the answer to a token for so long."""
GATEWAY_LINE_BYTES: Final = 450
AUDIT_LINE_BYTES: Final = 420
PLATFORM_LINE_BYTES: Final = 700
"""What Lambda itself logs for one invocation, in JSON: start and report."""
LOG_DAYS: Final = 30
HEAD_VERSION_DAYS: Final = 2
SNAPSHOTS_KEPT: Final = 30
TIDYING: Final = {"versions": 1, "list": 2, "get_version": 1, "start_of": 18, "get": 8}
"""Requests of retention a day for a town that was active for weeks; tests/integration/test_restore_and_retention.py counts them."""
STACK_SECRETS: Final = 1
"""The secrets in Secrets Manager: the key of town tokens, which the stack makes. All others are parameters (samconfig.toml)."""
PARAMETERS_A_SECOND: Final = 40
"""What SSM answers an account without a charge."""
ENVIRONMENTS: Final = 10
"""WorkerConcurrency of the template: each environment has a cache of its own."""


Profile = Literal["standard", "small"]


@dataclass(frozen=True, slots=True)
class Fleet:
    """How many towns there are, which share of them is active, for how many hours a day, and with how many working agents.

    `profile` is the parameter of their deployment.
    """

    towns: int
    active_share: float = ACTIVE_SHARE
    hours_a_day: float = 24
    agents: int = AGENTS
    profile: Profile = "standard"

    @property
    def active(self) -> int:
        """So many towns are active at the same time."""
        return max(1, round(self.towns * self.active_share))

    @property
    def active_hours(self) -> float:
        """Hours of an active town in a month, of all towns together."""
        return self.active * self.hours_a_day * 30


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the template deploys: the memory of each function in MB, and how much it tells CloudWatch."""

    memory: dict[str, int]
    metrics: int = len(catalogue.METRICS) + len(ACTIONS)
    alarms: int = len(alarms.names())
    dashboards: int = 1

    @classmethod
    def of_template(cls, profile: Profile = "standard") -> "Deployment":
        """The defaults of template.yaml; with the profile `small`, the parameters of the stage dev."""
        text = (ROOT / "template.yaml").read_text(encoding="utf-8")
        usual = int(re.search(r"^    MemorySize: (\d+)", text, re.MULTILINE)[1])  # type: ignore[index]
        found = {}
        for part in re.split(r"^  (?=\w+:$)", text, flags=re.MULTILINE):
            name = part.partition(":")[0]
            own = re.search(r"^      MemorySize: (\d+)", part, re.MULTILINE)
            found[name] = int(own[1]) if own else usual
        if profile == "small":
            return cls(found, metrics=len(SMALL), alarms=len(alarms.SMALL), dashboards=0)
        return cls(found)

    def dollars(self, function: str, seconds: float, *, requests: float = 0, cpu: float = 0) -> float:
        """For so many seconds, and for requests and work that need a CPU of which this function may have only a part."""
        memory = self.memory[function]
        slower = max(1.0, WHOLE_CPU_MB / memory)
        computed = cpu + requests * CPU_SECONDS
        needed = seconds + requests * REQUEST_SECONDS + computed * slower
        return needed * memory / 1024 * prices.LAMBDA_GB_SECOND


Charge = Literal[
    "requests", "Lambda requests", "Lambda time", "queue", "schedule", "gateway", "metrics", "alarms", "dashboards", "logs",
    "storage", "secrets",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Line:
    """Dollars a month for one thing, what AWS charges it as, and the count from which they follow."""

    what: str
    charge: Charge
    dollars: float
    counted: str


def lines(fleet: Fleet, measured: Measured, sweep: Ledger, parameters_an_hour: float, of: Deployment) -> Iterator[Line]:
    """Every line of the page."""
    yield from _posts(fleet, measured, of)
    yield from _ticks(fleet, measured, of)
    yield from _dispatcher(fleet, measured, of)
    yield from _upkeep(fleet, sweep, of)
    yield from _watching(fleet, measured, of)
    heads = fleet.active_hours / 30 * HEAD_VERSION_DAYS * _commits_an_hour(measured) + fleet.towns * SNAPSHOTS_KEPT
    stored = heads * measured.head_bytes / 1e9 * prices.S3_GB_MONTH
    yield Line("heads and snapshots", "storage", stored, f"a head has {measured.head_bytes / 1000:.0f} kB")
    kept = STACK_SECRETS * prices.SECRET_MONTH
    yield Line("secrets kept", "secrets", kept, f"{STACK_SECRETS} in Secrets Manager; all others are parameters")
    a_second = parameters_an_hour * ENVIRONMENTS / 3600
    assert a_second < PARAMETERS_A_SECOND
    said = f"{parameters_an_hour:.0f} requests an hour and environment, {a_second:.2f} of {PARAMETERS_A_SECOND} free ones a second"
    yield Line("secrets read", "secrets", 0, said)


def _posts(fleet: Fleet, measured: Measured, of: Deployment) -> Iterator[Line]:
    ledger, posts = measured.ledger, fleet.active_hours * measured.an_hour(measured.ledger.happened["post"])
    tokens = fleet.active_hours * 60 / AUTHORIZED_FOR_MINUTES
    said = f"{posts / fleet.active_hours:.0f} POSTs an hour and active town"
    each = _requests(ledger, "post")
    yield Line("POST: gateway", "gateway", posts * prices.GATEWAY_REQUEST, said)
    yield Line(
        "POST: invocations",
        "Lambda requests",
        (posts + tokens) * prices.LAMBDA_REQUEST,
        f"{said}, one authorizer a minute",
    )
    took = of.dollars("EventsFunction", 0, requests=ledger.each("post"), cpu=POST_CPU_SECONDS)
    checked = of.dollars("AuthorizerFunction", AUTHORIZER_SECONDS)
    yield Line("POST: time", "Lambda time", posts * took + tokens * checked, f"{ledger.each('post'):.1f} requests each")
    yield Line("POST: store", "requests", posts * _dollars(ledger, "post"), each)


def _ticks(fleet: Fleet, measured: Measured, of: Deployment) -> Iterator[Line]:
    ledger, commits = measured.ledger, fleet.active_hours * _commits_an_hour(measured)
    per = measured.commits
    said = f"{_commits_an_hour(measured):.0f} commits an hour and active town"
    invoked = ledger.happened["tick"] / per
    yield Line(
        "ticks: invocations",
        "Lambda requests",
        commits * invoked * prices.LAMBDA_REQUEST,
        f"{said}, {invoked:.2f} runs each",
    )
    slept = ledger.seconds["tick"] / per
    requests = ledger.each("tick", per=per)
    took = of.dollars("WorkerFunction", slept, requests=requests, cpu=TICK_CPU_SECONDS)
    yield Line("ticks: time", "Lambda time", commits * took, f"{requests:.1f} requests a commit, {slept:.2f} s asleep")
    yield Line(
        "ticks: store", "requests", commits * _dollars(ledger, "tick", per=per), _requests(ledger, "tick", per=per)
    )
    sent = ledger.requests["dispatcher"]["send"] + ledger.requests["post"]["send"]
    wakes = commits * (sent + 2 * ledger.happened["wake"]) / per * prices.QUEUE_REQUEST
    said = f"{sent / per:.2f} sent batches a commit, {ledger.happened['wake'] / per:.2f} wakes received and deleted"
    yield Line("wakes", "queue", wakes, said)


def _dispatcher(fleet: Fleet, measured: Measured, of: Deployment) -> Iterator[Line]:
    ledger, pages = measured.ledger, -(-fleet.active // PAGE)
    slept, requests = (
        ledger.seconds["dispatcher"] / measured.minutes,
        ledger.each("dispatcher", per=measured.minutes),
    )
    yield Line("dispatcher: schedule", "schedule", MINUTES * prices.SCHEDULE_CALL, "one call a minute")
    yield Line("dispatcher: invocations", "Lambda requests", MINUTES * prices.LAMBDA_REQUEST, "one a minute")
    yield Line(
        "dispatcher: time",
        "Lambda time",
        MINUTES * of.dollars("TickFunction", slept, requests=requests),
        f"{requests:.1f} requests and {slept:.0f} s asleep a minute",
    )
    markers = fleet.active * MARKER_BYTES / 4096 * ledger.each("dispatcher", "table query") / SHARDS
    looks = MINUTES * (_dollars(ledger, "dispatcher") * pages + markers * prices.TABLE_READ_UNIT)
    said = f"{_requests(ledger, 'dispatcher')} a minute, for each 1,000 active towns, and {MARKER_BYTES} bytes of each marker"
    yield Line("dispatcher: store", "requests", looks, said)


def _upkeep(fleet: Fleet, sweep: Ledger, of: Deployment) -> Iterator[Line]:
    swept = HOURS * fleet.towns
    requests = sweep.each("sweep", per=IDLE_TOWNS)
    yield Line(
        "sweep: store",
        "requests",
        swept * _dollars(sweep, "sweep", per=IDLE_TOWNS),
        f"{_requests(sweep, 'sweep', per=IDLE_TOWNS)} a town and hour",
    )
    yield Line(
        "sweep: time",
        "Lambda time",
        swept * of.dollars("TickFunction", 0, requests=requests),
        f"{requests:.2f} requests a town and hour",
    )
    tidied, total = 30 * fleet.towns, sum(TIDYING.values())
    cost = sum(count * (prices.S3_WRITE if kind in WRITES else prices.S3_READ) for kind, count in TIDYING.items())
    yield Line("retention: store", "requests", tidied * cost, f"{total} requests a town and day")
    yield Line(
        "retention: time",
        "Lambda time",
        tidied * of.dollars("RetentionFunction", 0, requests=total / 4),
        "four towns at a time",
    )


def _watching(fleet: Fleet, measured: Measured, of: Deployment) -> Iterator[Line]:
    ledger = measured.ledger
    post = (
        ledger.line_bytes["post"] / ledger.happened["post"]
        + AUDIT_LINE_BYTES
        + GATEWAY_LINE_BYTES
        + PLATFORM_LINE_BYTES
    )
    tick = (ledger.line_bytes["tick"] + ledger.happened["tick"] * PLATFORM_LINE_BYTES) / measured.commits
    an_hour = measured.an_hour(measured.ledger.happened["post"]) * post + _commits_an_hour(measured) * tick
    minute = ledger.line_bytes["dispatcher"] / measured.minutes + PLATFORM_LINE_BYTES
    gigabytes = (fleet.active_hours * an_hour + MINUTES * minute) / 1e9
    kept = gigabytes * LOG_DAYS / 30 * prices.LOG_GB_MONTH
    yield Line(
        "logs",
        "logs",
        gigabytes * prices.LOG_GB + kept,
        f"{post:.0f} bytes a POST, {tick:.0f} a commit, {minute:.0f} a minute",
    )
    yield Line("metrics", "metrics", of.metrics * prices.METRIC_MONTH, f"{of.metrics} series")
    yield Line("alarms", "alarms", of.alarms * prices.ALARM_MONTH, f"{of.alarms} alarms")
    yield Line(
        "dashboards", "dashboards", of.dashboards * prices.DASHBOARD_MONTH, f"{of.dashboards} with more than 50 metrics"
    )


def free_of(found: list[Line]) -> float:
    """The dollars of these lines that are free in every month."""
    return sum(
        min(free, sum(line.dollars for line in found if line.charge == charge)) for charge, free in prices.FREE.items()
    )


def _commits_an_hour(measured: Measured) -> float:
    return measured.an_hour(measured.commits)


def _dollars(ledger: Ledger, activity: str, *, per: float | None = None) -> float:
    writes, reads = ledger.each(activity, *WRITES, per=per), ledger.each(activity, *READS, per=per)
    written, read = (ledger.each(activity, unit, per=per) for unit in (WRITE_UNIT, READ_UNIT))
    in_table = written * prices.TABLE_WRITE_UNIT + read * prices.TABLE_READ_UNIT
    return writes * prices.S3_WRITE + reads * prices.S3_READ + in_table


def _requests(ledger: Ledger, activity: str, *, per: float | None = None) -> str:
    """The counts of a kind of activity, as in `1.0 create, 2.2 list`."""
    divisor = ledger.happened[activity] if per is None else per
    return ", ".join(f"{count / divisor:.2f} {kind}" for kind, count in sorted(ledger.requests[activity].items()))
