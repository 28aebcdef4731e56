"""A number in a text for operators is the limit, threshold or timeout that it names.

The template once said that a wake is dead after three failures, when the queue allowed five.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

import pytest

from infra.agents.control_server.settings import ControlServerSettings
from infra.agents.control_server.watch import IDLE_EXIT
from infra.ops.dashboards import alarms
from shared.adapters import s3_shelf, town_tokens
from shared.adapters.clock import SystemClock
from shared.adapters.local_generations import TERM_GRACE_SECONDS
from shared.adapters.local_supervisor import LARGEST_LOG
from shared.adapters.rotated_secret import RotatedSecret
from shared.domain import limits
from shared.domain.effect_allowances import ALLOWANCE
from shared.engine.invariants import INVARIANTS
from shared.storage.retention import Keep
from tests.contracts.deployments import ON_ECS, deployed
from tests.contracts.transformed import resources, template
from tests.conventions.sources import ROOT

WORDS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
KEEP: Final = Keep()
LEAST_SETTINGS: Final = {"TOWN_ID": "t1", "TOWN_AGENT_COMMAND": "agent"}
START_FILE: Final = "infra/agents/control_server/start_file.md"


def text_of(path: str) -> str:
    """A file with every run of white space as one space, so that a sentence may go over several lines."""
    return re.sub(r"\s+(?:# )?", " ", (ROOT / path).read_text(encoding="utf-8"))


def page(name: str) -> str:
    return f"docs/runbook/{name}.md"


def default(parameter: str) -> Any:
    return template()["Parameters"][parameter]["Default"]


def lambda_timeout(function: str) -> int:
    return int(resources("AWS::Lambda::Function")[function]["Timeout"])


def failures_of_a_wake() -> str:
    return WORDS[resources("AWS::SQS::Queue")["Wakes"]["RedrivePolicy"]["maxReceiveCount"]]


def promises() -> list[tuple[str, str]]:
    """File and sentence, with the number as the code has it."""
    retries = WORDS[limits.MAX_EVENT_RETRIES]
    drain = WORDS[limits.DRAIN_TIMEOUT // MINUTE]
    bumps = [limits.ESCALATION_BUMP * number // HOUR for number in range(1, limits.ESCALATION_BUMPS + 1)]
    token_hours = town_tokens.LIFE // HOUR
    grace = WORDS[RotatedSecret("name", SystemClock()).grace // HOUR]
    slowest = max(allowance.timeout for allowance in ALLOWANCE.values()) // timedelta(seconds=1)
    stop_seconds = 20 + ControlServerSettings.from_environment(LEAST_SETTINGS).eviction_seconds
    worker = lambda_timeout("WorkerFunction")
    return [
        ("template.yaml", f"Dead-letter queue of wakes that failed {failures_of_a_wake()} times."),
        ("template.yaml", f"an effect takes up to {slowest} s and starts only if it can finish"),
        ("template.yaml", f"start no agent for {6 * worker // 60} minutes"),
        ("template.yaml", f"a heartbeat about every {limits.HEARTBEAT_CADENCE // timedelta(seconds=1)} s"),
        ("template.yaml", f"a URL that is valid for {s3_shelf._VALID_SECONDS // 60} minutes"),
        (page("wakes-dead"), f"# A wake failed {failures_of_a_wake()} times"),
        (page("wakes-dead"), f"a wake failed {failures_of_a_wake()} times within a few minutes"),
        (page("README"), f"a wake failed {failures_of_a_wake()} times"),
        (page("breaker-open"), f"{limits.BREAKER_THRESHOLD} beads of a town"),
        (page("breaker-open"), f"within the last {limits.BREAKER_WINDOW // MINUTE} minutes"),
        (page("breaker-open"), f"fewer than {limits.BREAKER_THRESHOLD} failures are younger than 30 minutes"),
        (page("event-poisoned"), f"an event failed {retries} times"),
        (page("event-waits-long"), f"is tried {retries} times"),
        (page("events-pile-up"), f"is tried {retries} times"),
        (page("events-pile-up"), f"processes up to {limits.EVENTS_PER_TICK:,} events"),
        (page("events-pile-up"), f"expires by itself after {token_hours} hours"),
        (page("invariant-violated"), f"one of the {WORDS[len(INVARIANTS)]} invariants"),
        (page("replay-diverged"), "one tick in a hundred"),
        (page("tick-slow-p99"), f"after {limits.EVENT_RETENTION // DAY} days"),
        (page("retention-fails"), f"the function's {lambda_timeout('RetentionFunction') // 60} minutes"),
        (page("retention-fails"), defaults_of_the_retention_command()),
        (page("authorizer-fails"), f"the last key that it read for {grace} hour"),
        (page("deploy"), f"whose timeout is {lambda_timeout('TickFunction')} s"),
        (page("deploy"), f"a token is valid for {token_hours} hours, so wait at least {token_hours} hours"),
        (page("deploy"), f"a `stopTimeout` of at least {stop_seconds:g}"),
        (page("deploy"), f"stores 1 to {limits.EVENTS_PER_BATCH} events"),
        (page("deploy"), f"a URL that is valid for {s3_shelf._VALID_SECONDS // 60} minutes"),
        (page("deploy"), f"for at most {days_of_orders()} day"),
        (page("deploy"), f"if not `{default('EcsContainer')}` and {default('EcsPort')}"),
        (page("local-debugging"), f"After {limits.HEARTBEAT_LOST_AFTER // timedelta(seconds=1)} seconds without"),
        (page("local-debugging"), f"or after {drain} minutes"),
        (page("local-debugging"), f"after {bumps[0]}, {bumps[1]} and {bumps[2]} hours"),
        (page("read-a-town"), kept_commits()),
        (page("read-a-town"), f"| {default('SpillDays')} days (`SpillDays`)"),
        (page("read-a-town"), f"| {default('SnapshotDays')} days (`SnapshotDays`)"),
        (page("read-a-town"), f"restore window of {default('RestoreWindowDays')} days"),
        (START_FILE, f"keeps the newest part of it once it exceeds {LARGEST_LOG >> 20} MiB"),
        (START_FILE, f"{WORDS[int(TERM_GRACE_SECONDS)]} seconds after SIGTERM"),
        (START_FILE, f"a polecat after {IDLE_EXIT['polecat'] // MINUTE} minutes"),
        (START_FILE, f"a refinery after {IDLE_EXIT['refinery'] // MINUTE} minutes"),
    ]


def defaults_of_the_retention_command() -> str:
    assert KEEP.commits is not None
    window, spills, snapshots, commits = (
        each // DAY for each in (KEEP.window, KEEP.spills, KEEP.snapshots, KEEP.commits)
    )
    return f"the command's own defaults are {window}, {spills}, {snapshots} and {commits}"


def kept_commits() -> str:
    assert KEEP.commits is not None
    return f"| {KEEP.commits // DAY} day; on a stack {default('HeadVersionDays')} days (`HeadVersionDays`)"


def days_of_orders() -> int:
    rules = deployed(**ON_ECS)["Towns"]["Properties"]["LifecycleConfiguration"]["Rules"]
    [orders] = [rule for rule in rules if rule.get("Prefix") == "orders/"]
    return int(orders["ExpirationInDays"])


def test_every_number_in_a_text_is_the_limit_that_it_names() -> None:
    assert [(path, sentence) for path, sentence in promises() if sentence not in text_of(path)] == []


def alarm(name: str) -> Mapping[str, Any]:
    found = resources("AWS::CloudWatch::Alarm").values()
    [properties] = [each for each in found if each["AlarmName"] == {"Fn::Sub": f"${{AWS::StackName}}-{name}"}]
    return properties


@pytest.mark.parametrize("name", alarms.names())
def test_a_page_says_in_how_many_minutes_its_alarm_looks(name: str) -> None:
    points, periods = alarm(name)["DatapointsToAlarm"], alarm(name)["EvaluationPeriods"]
    said = re.findall(r"in (\w+) of (\w+) minutes", text_of(page(name)))
    assert set(said) == ({(WORDS[points], WORDS[periods])} if points > 1 else set())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("tick-slow-p99", "above {:g} ms"),
        ("tick-slow-mean", "above {:g} ms"),
        ("events-pile-up", "more than {:g} events"),
        ("save-conflicts", "more than {words} ticks"),
        ("effects-fail", "more than {words} effects"),
    ],
)
def test_a_page_says_the_threshold_of_its_alarm(name: str, sentence: str) -> None:
    threshold = alarm(name)["Threshold"]
    words = WORDS[threshold] if threshold < len(WORDS) else str(threshold)
    assert sentence.format(threshold, words=words) in text_of(page(name))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("event-waits-long", "more than {} minutes ago"), ("town-waits-long", "more than {} minutes old")],
)
def test_a_page_says_how_long_its_alarm_waits(name: str, sentence: str) -> None:
    assert sentence.format(WORDS[alarm(name)["Threshold"] // 60_000]) in text_of(page(name))


def test_a_default_of_the_template_is_the_limit_of_the_code() -> None:
    assert timedelta(seconds=default("PassSeconds")) == limits.ACTIVE_INTERVAL
    assert default("SelfCheckPercent") == 100 * limits.SELF_CHECK_SHARE
    assert timedelta(days=default("RestoreWindowDays")) == limits.RESTORE_WINDOW == KEEP.window
    assert timedelta(days=default("SpillDays")) == KEEP.spills
    assert timedelta(days=default("SnapshotDays")) == KEEP.snapshots
