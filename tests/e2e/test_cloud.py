"""A town in the whole stack: ingestion over HTTP, scheduled ticks, workers, signed requests, metrics, Sentry, lost environments.

The functions run in Lambda's runtime emulator and load only the bundle that sam built for this machine.
"""

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.devstack.gateway import IamCaller
from infra.townctl.api_client import with_token
from shared.adapters.clock import wait_for
from shared.domain.errors import Refused
from shared.ports.steps import drive
from shared.questions.event_list import stored
from shared.questions.filters import EventFilter
from shared.storage.towns import ObjectTownStore
from shared.telemetry import catalogue
from shared.town import database
from tests.conventions.sources import ROOT
from tests.e2e.cloud import BUCKET, KEY, OPERATOR, STRANGER, LocalCloud
from tests.e2e.deployment import ask, fact, found_town, lose_the_worker, post, token, work_until
from tests.emf import metrics_of
from tests.patience import PATIENCE_SECONDS
from tests.settled import settled

pytestmark = pytest.mark.slow


def outcomes(cloud: LocalCloud, town: str = "demo") -> dict[str, str | None]:
    """The outcome of every stored event, read from the store and not through the API."""
    store = ObjectTownStore(cloud.objects)
    with database.opened(drive(store.load(town)).image) as sql:
        return {event.event_id: event.outcome for event in stored(sql, EventFilter())}


def told_sentry(cloud: LocalCloud, town: str) -> list[dict[str, Any]]:
    """The errors of a town that Sentry has received."""
    return [event for event in cloud.sentry.of("event") if event.get("tags", {}).get("townId") == town]


def leave_poison(cloud: LocalCloud, town: str) -> None:
    """Put an unreadable object into a town's inbox."""
    store = cloud.objects.waiting
    store.put(f"towns/{town}/inbox/{int(time.time() * 1000):013d}-raw.json", b"this is no event")


def test_a_town_lives_through_the_api(cloud: LocalCloud, as_owner: None) -> None:
    created = ask(cloud, "PUT", "/api/towns/demo")
    assert (created.status, created.document["txid"]) == (201, 1)
    assert ask(cloud, "PUT", "/api/towns/demo").status == 409
    assert [town["townId"] for town in ask(cloud, "GET", "/api/towns").document["towns"]] == ["demo"]

    rig = fact(
        "rig_registered",
        "rig-registered-1",
        {"rig_id": "r1", "name": "lexer", "git_url": "https://example.com/lexer.git"},
    )
    convoy = fact(
        "convoy_created",
        "convoy-created-1",
        {
            "convoy_id": "c1",
            "title": "Build a lexer",
            "rig_id": "r1",
            "tasks": [{"title": "one"}, {"title": "two", "depends_on": [0]}],
        },
    )
    accepted = post(cloud, rig, convoy)
    assert accepted.status == 202, accepted
    assert accepted.document["accepted"] == ["rig-registered-1", "convoy-created-1"]
    assert post(cloud, rig, convoy).document == accepted.document

    work_until(cloud, lambda: outcomes(cloud).get("convoy-created-1") == "applied")
    status = ask(cloud, "GET", "/api/towns/demo/status").document
    assert {bead["title"] for bead in status["beads"]} >= {"Build a lexer", "one", "two"}
    assert status["lastTick"]["metrics"]["eventsDrained"] >= 2
    assert {reason["reason"] for reason in status["waiting"]} <= {
        "blocked_by",
        "cooldown",
        "agent_working",
        "rig_full",
        "no_rig",
        "staged",
        "awaiting_review",
    }


def test_the_schedule_ticks_a_town_that_nobody_has_called(cloud: LocalCloud, as_owner: None) -> None:
    found_town(cloud)
    post(cloud, fact("town_started", "started-by-schedule"))
    cloud.sqs.purge_queue(QueueUrl=cloud.queue_url)
    answered = cloud.tick()
    assert answered["late"] is False
    assert outcomes(cloud).get("started-by-schedule") is not None
    late = cloud.tick(at=datetime.now(UTC) - timedelta(minutes=2))
    assert late == {"late": True, "passes": 0, "due": 0, "handedOver": 0, "left": 0, "outcomes": {}, "failed": {}}


def test_a_dry_run_by_a_signed_request_changes_nothing(cloud: LocalCloud, as_owner: None) -> None:
    found_town(cloud)
    store = cloud.objects
    before = store.get("towns/demo/head")
    shown = ask(cloud, "POST", "/api/towns/demo/debug/reconcile-dry-run")
    assert shown.status == 200
    assert {"quiet", "actions", "effects", "digests", "input"} <= set(shown.document)
    assert store.get("towns/demo/head") == before


def test_what_happened_is_replayed_exactly(cloud: LocalCloud, as_owner: None) -> None:
    found_town(cloud)
    post(cloud, fact("town_started", "started-to-be-replayed"))
    work_until(cloud, lambda: "started-to-be-replayed" in outcomes(cloud))
    ticks = ask(cloud, "GET", "/api/towns/demo/ticks").document["ticks"]
    window = {"from": ticks[0]["time"], "to": ticks[-1]["time"]}
    replayed = ask(cloud, "POST", "/api/towns/demo/debug/replay-events", window)
    assert replayed.status == 200
    assert replayed.document["exact"] is True
    assert [tick["tick"] for tick in replayed.document["ticks"]] == [tick["tick"] for tick in ticks]


def test_what_no_route_fits_is_answered_by_the_function_and_not_by_the_gateway(
    cloud: LocalCloud, as_owner: None
) -> None:
    found_town(cloud)
    beads = "/api/towns/demo/beads"
    assert ask(cloud, "GET", f"{beads}/a%2Fb").document["path"] == "beadId"
    assert ask(cloud, "HEAD", beads).status == ask(cloud, "HEAD", "/api/towns").status == 200
    assert ask(cloud, "OPTIONS", beads).status == 204
    assert ask(cloud, "DELETE", beads).document["hint"] == "use one of: GET, HEAD, OPTIONS"
    assert ask(cloud, "GET", "/api/nowhere").document["status"] == 404


ROUTES = [
    ("GET", "/api/health"),
    ("GET", "/api/towns"),
    ("PUT", "/api/towns/demo-new"),
    ("GET", "/api/towns/demo/status"),
    ("GET", "/api/towns/demo/ticks"),
    ("GET", "/api/towns/demo/beads/c1"),
    ("GET", "/api/towns/demo/events"),
    ("GET", "/api/towns/demo/explain/beads/c1"),
    ("GET", "/openapi.json"),
    ("HEAD", "/api/towns/demo/status"),
    ("OPTIONS", "/api/towns/demo/status"),
    ("DELETE", "/api/towns/demo/status"),
    ("GET", "/api/nowhere"),
    ("POST", "/api/towns/demo/debug/reconcile-dry-run"),
    ("POST", "/api/towns/demo/debug/replay-events"),
    ("POST", "/api/towns/demo/events/some-event/redrive"),
    ("POST", "/api/towns/demo/archive"),
    ("POST", "/api/towns/demo/bring-back"),
    ("POST", "/api/towns/demo/delete"),
    ("GET", "/api/archived-towns"),
]


OF_TOWNS = ("GET", "HEAD", "PUT", "POST")


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_operators_route_opens_without_the_right_signature(cloud: LocalCloud, method: str, path: str) -> None:
    wrong_key = IamCaller(OPERATOR.access_key, "guessed", OPERATOR.arn)
    unknown = IamCaller("AKIAUNKNOWN", "x", "arn:aws:iam::1:user/x")
    assert with_token(method, cloud.url + path, None, token=None).status == 403
    assert with_token(method, cloud.url + path, None, token=token()).status == 403
    assert ask(cloud, method, path, caller=wrong_key).status == 403
    assert ask(cloud, method, path, caller=unknown).status == 403


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if "demo" in route[1] and route[0] in OF_TOWNS])
def test_a_signed_stranger_sees_no_town(cloud: LocalCloud, method: str, path: str) -> None:
    there, nowhere = (ask(cloud, method, path.replace("demo", town), caller=STRANGER) for town in ("demo", "nowhere"))
    assert there.status == nowhere.status == (403 if method == "PUT" else 404)
    assert there.document == nowhere.document


def test_no_event_is_taken_without_the_right_token(cloud: LocalCloud, as_owner: None) -> None:
    found_town(cloud)
    event = fact("agent_status", "status-refused", {"message": "x"}, agent_id="toast")
    refusals = {
        "none": (None, 401),
        "wrong": ("x.y.z", 403),
        "forged": (token(key="f" * 40), 403),
        "expired": (token(ago=timedelta(hours=8, seconds=1)), 403),
        "other town": (token(town="demo-2"), 404),
        "other scope": (token("agent", agent="nux"), 403),
    }
    for why, (shown, status) in refusals.items():
        assert post(cloud, event, shown=shown).status == status, why
    assert "status-refused" not in outcomes(cloud)
    assert post(cloud, event, shown=token("agent", agent="toast")).status == 202


def test_an_environment_that_is_lost_when_its_commit_was_carried_out_loses_nothing(
    cloud: LocalCloud, as_owner: None
) -> None:
    town = "demo-lost"  # of its own: the message of a lost worker holds its group back for a while
    found_town(cloud, town)
    while cloud.pump():
        pass
    assert post(cloud, fact("town_started", "survives-the-loss"), town=town).status == 202
    lose_the_worker(cloud, cloud.proxy, "after it was carried out", method="PUT", path=f"/towns/{town}/head")
    assert "survives-the-loss" in outcomes(cloud, town)

    event_id = "comes-after-the-loss"
    assert post(cloud, fact("town_started", event_id), town=town).status == 202
    assert wait_for(
        lambda: bool(cloud.tick()["passes"]) and event_id in outcomes(cloud, town), seconds=PATIENCE_SECONDS, every=1
    )
    ticks = ask(cloud, "GET", f"/api/towns/{town}/ticks").document["ticks"]
    assert Counter(each["event_id"] for tick in ticks for each in tick["row"]["outputs"]["events"]) == {
        "survives-the-loss": 1,
        event_id: 1,
    }


def test_two_towns_in_one_environment_never_see_each_other(cloud: LocalCloud, as_owner: None) -> None:
    for town in ("demo-red", "demo-blue"):
        found_town(cloud, town)
        secret = f"only-{town}-knows"
        bead = {"bead_id": f"bead-of-{town}", "type": "issue", "title": secret}
        answered = with_token(
            "POST",
            f"{cloud.url}/api/towns/{town}/events",
            [fact("bead_created", f"event-of-{town}", {"bead": bead})],
            token=token(town=town),
        )
        assert answered.status == 202
        leave_poison(cloud, town)
    work_until(cloud, lambda: all(len(outcomes(cloud, town)) == 2 for town in ("demo-red", "demo-blue")))
    for town, other in (("demo-red", "demo-blue"), ("demo-blue", "demo-red")):
        for path in ("status", "ticks", f"beads/bead-of-{town}"):
            assert other not in json.dumps(ask(cloud, "GET", f"/api/towns/{town}/{path}").document)
        assert ask(cloud, "GET", f"/api/towns/{town}/beads/bead-of-{other}").status == 404
    for line in cloud.lines():
        if line.get("town_id") == "demo-red":
            assert "demo-blue" not in json.dumps(line)
        if line.get("town_id") == "demo-blue":
            assert "demo-red" not in json.dumps(line)

    red, blue = "demo-red", "demo-blue"
    assert wait_for(
        lambda: bool(told_sentry(cloud, red) and told_sentry(cloud, blue)), seconds=PATIENCE_SECONDS, every=0.5
    )
    assert blue not in json.dumps(told_sentry(cloud, red))
    assert red not in json.dumps(told_sentry(cloud, blue))


def test_metrics_are_valid_and_sentry_hears_of_poison_and_of_the_schedule(cloud: LocalCloud, as_owner: None) -> None:
    found_town(cloud)
    leave_poison(cloud, "demo")
    post(cloud, fact("town_started", "started-beside-poison"))
    work_until(cloud, lambda: "poisoned" in outcomes(cloud).values())
    cloud.tick()

    lines = [line for line in cloud.lines() if "_aws" in line]
    assert lines
    seen = {name for line in lines for name in metrics_of(line)}
    assert seen >= {metric.name for metric in catalogue.METRICS if metric.idle_zero == "always"}
    assert any(metrics_of(line).get("eventsPoisoned") == 1 for line in lines)
    assert wait_for(lambda: bool(told_sentry(cloud, "demo")), seconds=PATIENCE_SECONDS, every=0.5)
    [poison] = told_sentry(cloud, "demo")
    assert poison["level"] == "error"
    assert poison["tags"]["kind"].endswith("poisoned")

    def each_call_has_ended_well() -> bool:
        statuses = [each["status"] for each in cloud.sentry.of("check_in")]
        return statuses.count("in_progress") == statuses.count("ok") == len(statuses) // 2 > 0

    assert wait_for(each_call_has_ended_well, seconds=PATIENCE_SECONDS, every=0.5), cloud.sentry.of("check_in")
    everything = json.dumps([payload for _, payload in cloud.sentry.items]) + json.dumps(cloud.lines())
    assert KEY not in everything
    assert "eyJ" not in everything
    assert OPERATOR.secret_key not in everything


def test_townctl_speaks_to_a_deployment(
    cloud: LocalCloud,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    as_owner: None,
) -> None:
    from infra.townctl import main

    def townctl(*words: str) -> tuple[int, Any]:
        code = main.run(["--api", cloud.url, "--json", *words])
        said = capsys.readouterr()
        return code, json.loads(said.out or said.err)

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OPERATOR.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OPERATOR.secret_key)
    monkeypatch.setenv("TOWNCTL_TOKEN", token(town="demo-ctl"))
    facts = tmp_path / "facts.json"
    facts.write_text(json.dumps([fact("town_started", "started-by-townctl")]))

    assert townctl("town", "create", "demo-ctl")[1]["townId"] == "demo-ctl"
    assert townctl("town", "create", "demo-ctl")[0] == 2
    assert "demo-ctl" in [town["townId"] for town in townctl("town", "list")[1]["towns"]]
    assert townctl("event", "post", "demo-ctl", "--file", str(facts))[1]["accepted"] == ["started-by-townctl"]
    assert townctl("dry-run", "demo-ctl")[1]["townId"] == "demo-ctl"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", cloud.store.environment["AWS_SECRET_ACCESS_KEY"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", cloud.store.environment["AWS_ACCESS_KEY_ID"])
    work_until(cloud, lambda: bool(outcomes(cloud, "demo-ctl")))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", OPERATOR.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", OPERATOR.secret_key)
    ticks = townctl("ticks", "demo-ctl")[1]["ticks"]
    assert townctl("replay", "demo-ctl", "--from", ticks[0]["time"])[1]["exact"] is True
    assert townctl("town", "status", "demo-ctl")[1]["townId"] == "demo-ctl"
    assert townctl("event", "redrive", "demo-ctl", "no-such-event")[0] == 2
    assert townctl("town", "status", "nowhere")[0] == 2


def test_townctl_gives_the_same_answers_over_the_api_of_a_deployment_and_in_its_bucket(
    cloud: LocalCloud, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, as_owner: None
) -> None:
    from infra.townctl import main

    def answer(place: tuple[str, ...], caller: Mapping[str, str], *words: str) -> Any:
        for name, value in caller.items():
            monkeypatch.setenv(name, value)
        code = main.run([*place, "--json", *words])
        said = capsys.readouterr()
        return code, settled(json.loads(said.out or said.err))

    found_town(cloud, "demo-twins")
    bead = {"bead_id": "b/1", "type": "issue", "title": "Wait", "rig_id": "r1", "labels": ["gt:held"]}
    rig = {"rig_id": "r1", "name": "lexer", "git_url": "https://example.com/lexer.git"}
    post(cloud, fact("rig_registered", "rig-of-twins", rig), town="demo-twins")
    post(cloud, fact("bead_created", "bead-of-twins", {"bead": bead}), town="demo-twins")
    work_until(cloud, lambda: outcomes(cloud, "demo-twins").get("bead-of-twins") == "applied")
    bucket = ("--bucket", BUCKET, "--endpoint", cloud.store.endpoint_url)
    operator = {"AWS_ACCESS_KEY_ID": OPERATOR.access_key, "AWS_SECRET_ACCESS_KEY": OPERATOR.secret_key}
    for words in (
        ("town", "status", "demo-twins"),
        ("town", "config", "demo-twins"),
        ("bead", "list", "demo-twins"),
        ("bead", "show", "demo-twins", "b/1"),
        ("bead", "show", "demo-twins", "b/2"),
        ("agent", "list", "demo-twins"),
        ("convoy", "list", "demo-twins"),
        ("event", "list", "demo-twins"),
        ("explain", "bead", "b/1", "--town", "demo-twins"),
        ("explain", "agent", "Mayor", "--town", "demo-twins"),
        ("ticks", "demo-twins", "--after", "0"),
        ("points", "demo-twins"),
        ("dry-run", "demo-twins"),
    ):
        stored = answer(bucket, cloud.store.environment, *words)
        assert answer(("--api", cloud.url), operator, *words) == stored, words


@dataclass
class Account:
    """Fakes of the AWS services, other than the store, that the doctor queries and this machine does not have."""

    free: int = 1000
    state: str = "ENABLED"
    target: str = "arn:tick"

    def client(self, _: str) -> "Account":
        return self

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": {"UnreservedConcurrentExecutions": self.free}}

    def get_metric_data(self, **_: Any) -> dict[str, Any]:
        return {"MetricDataResults": []}

    def list_schedules(self) -> dict[str, Any]:
        return {"Schedules": [{"Target": {"Arn": self.target}, "State": self.state}]}


def test_the_doctor_of_a_stack_goes_the_whole_way(
    cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch, as_owner: None
) -> None:
    from infra.townctl import stack_doctor
    from infra.townctl.stack import Stack
    from infra.townctl.stack_doctor import examine

    monkeypatch.setattr(stack_doctor, "TOWN", "demo-doctor")  # the operator of this stack may have towns named demo*

    class Asked:
        """The API, signed by the operator; the credentials of the test itself are those of the store."""

        def ask(self, method: str, path: str, body: Any = None) -> Any:
            answered = ask(cloud, method, path, body)
            if answered.status >= 300:
                raise Refused(str(answered.document), status=answered.status, hint="see the log")
            return answered.document

        def report(self, path: str, body: bytes, token: str) -> Any:
            answered = with_token("POST", cloud.url + path, body, token=token)
            assert answered.status == 202, answered
            return answered.document

    def pumped(done: Any) -> bool:
        return wait_for(lambda: bool(cloud.pump() or True) and done(), seconds=PATIENCE_SECONDS, every=1)

    class Keys:
        def values(self) -> tuple[str, ...]:
            return (KEY,)

    def stack(account: Account) -> Stack:
        store = cloud.objects
        outputs = {"TickFunctionArn": "arn:tick"}
        return Stack(outputs, account.client, store, Keys(), Asked(), wait=pumped)  # type: ignore[arg-type]

    def checks(account: Account) -> list[str]:
        return [symptom["check"] for symptom in examine(stack(account)).document["symptoms"]]

    # SeaweedFS knows no bucket policy, so the doctor rightly complains that a head can be overwritten
    assert checks(Account()) == ["bucket"]
    assert checks(Account(free=10, state="DISABLED")) == ["quota", "schedule", "bucket"]
    assert checks(Account(target="arn:another")) == ["schedule", "bucket"]


def test_a_function_that_is_about_to_be_ended_says_so(cloud: LocalCloud, as_owner: None) -> None:
    found_town(cloud)
    event = json.loads((ROOT / "tests/events/debug-status.json").read_text(encoding="utf-8"))
    hurried = cloud.starters["DebugFunction"](timeout=5)
    assert hurried.invoke(json.loads((ROOT / "tests/events/debug-health.json").read_text()))["statusCode"] == 200
    cloud.proxy.stall("before it arrives", method="GET", path="/towns/demo/head")
    with pytest.raises(ConnectionError):
        hurried.invoke(event)

    def warned() -> bool:
        found = [
            value for each in cloud.sentry.of("event") for value in (each.get("exception") or {}).get("values", ())
        ]
        return any(value["type"] == "ServerlessTimeoutWarning" for value in found)

    assert wait_for(warned, seconds=PATIENCE_SECONDS, every=0.5), [
        each.get("exception") for each in cloud.sentry.of("event")
    ]
