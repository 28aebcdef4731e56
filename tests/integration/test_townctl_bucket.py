"""townctl on a bucket does what it does on a directory; what can be wrong with a bucket is said in words."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.agents.posting import poster_from
from infra.buckets import Bucket
from infra.devstack.s3_servers import REGION, S3Server
from infra.townctl import agent_programs, main, wiring
from shared.adapters.clock import SystemClock
from shared.adapters.directory_objects import DirectoryObjects
from shared.domain import limits
from shared.events.town import TownStarted
from shared.ports.agent_logs import LogName
from shared.ports.steps import drive
from shared.storage import ltx
from shared.storage.agent_logs import StoredLogs
from shared.storage.towns import ObjectTownStore
from tests.integration.townctl_calls import RIG, Called, Townctl, done
from tests.s3_stub import IgnoresConditions, StubS3, stub_s3
from tests.stores import BUCKET
from tests.unit.storage.images import NOON

BEAD = {"bead": {"bead_id": "b1", "type": "issue", "title": "Do it", "rig_id": "rig-1"}}


@dataclass
class OnABucket:
    """townctl, told of one bucket; local agents would live in `data`."""

    bucket: Bucket
    data: Path
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> Called:
        self.capsys.readouterr()
        code = main.run([*self.bucket.options(), "--data", str(self.data), *words])
        seen = self.capsys.readouterr()
        return Called(code, seen.out, seen.err)

    def document(self, *words: str) -> Any:
        return done(self(*words, "--json"), words)

    def post(self, event_type: str, payload: dict[str, Any]) -> None:
        self.document("event", "post", "alpha", "--type", event_type, "--payload", json.dumps(payload))


@pytest.fixture
def townctl(seaweedfs: S3Server, as_owner: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> OnABucket:
    seaweedfs.empty(BUCKET)
    wiring._PROVEN.clear()
    return OnABucket(Bucket(BUCKET, seaweedfs.endpoint_url), tmp_path / "data", capsys)


@pytest.fixture
def stub(as_owner: None) -> Iterator[StubS3]:
    wiring._PROVEN.clear()
    with stub_s3() as running:
        yield running


def test_a_town_in_a_bucket_is_made_fed_ticked_looked_at_and_brought_back(townctl: OnABucket, tmp_path: Path) -> None:
    created = townctl.document("town", "create", "alpha")
    assert created["townId"] == "alpha"
    townctl.post("rig_registered", RIG)
    townctl.post("bead_created", BEAD)
    assert len(townctl.document("event", "list", "alpha", "--pending")["events"]) == 2

    shown = townctl("dry-run", "alpha", "--json")
    (tmp_path / "input.json").write_text(shown.out)
    ran = townctl.document("tick", "alpha", "--input", str(tmp_path / "input.json"))
    assert ran["outcome"] == "committed"
    assert ran["imageDigest"] == shown.document["digests"]["image"]
    again = townctl.document("run", "--once")
    assert (again["passes"], again["failing"]) == (1, {})

    [line] = townctl.document("town", "list")["towns"]
    assert (line["townId"], line["problem"]) == ("alpha", None)
    assert townctl.document("town", "status", "alpha")["townId"] == "alpha"
    ticks = townctl.document("ticks", "alpha")["ticks"]
    assert len(ticks) == line["tick"] > 0
    assert townctl("doctor").code == 0

    points = townctl.document("points", "alpha")["points"]
    assert [point["txid"] for point in points] == list(range(len(points), 0, -1))
    townctl.document("restore", "alpha", "--txid", "1", "--to", str(tmp_path / "first.db"))
    assert (tmp_path / "first.db").read_bytes().startswith(b"SQLite format 3")
    assert not townctl.data.exists()


@pytest.mark.long
def test_every_command_does_on_a_bucket_what_it_does_on_a_directory(
    townctl: OnABucket, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same calls on both: the same exit codes and answers of the same shape, and no command is left out."""
    on_a_directory = Townctl(tmp_path / "data-of-its-own", capsys)
    told: list[list[tuple[str, int, list[str]]]] = []
    stores: tuple[OnABucket | Townctl, ...] = (townctl, on_a_directory)
    for number, call in enumerate(stores):
        answers: list[tuple[str, int, list[str]]] = []
        told.append(answers)
        files = tmp_path / f"files-{number}"
        files.mkdir()
        replica = _a_replica(call, files / "replica")
        objects = call.bucket.objects() if isinstance(call, OnABucket) else DirectoryObjects(call.data)
        log = LogName("talker", 1, "log", "container")
        drive(StoredLogs(objects).keep("alpha", log, "12 tests passed\n", at=SystemClock().now()))
        since = call.document("ticks", "alpha")["ticks"][0]["time"]
        mayor = call.document("town", "status", "alpha")["agents"][0]["agentId"]
        for line in _EVERY_COMMAND:
            if "redrive" in line:
                _poison_an_event(call, monkeypatch)
            named = {"files": files, "replica": replica, "since": since, "mayor": mayor}
            words = [word.format(**named) for word in line.split()]
            called = call(*words, "--json")
            keys = sorted(called.document) if called.code < 2 else [called.error["kind"]]
            answers.append((line, called.code, keys))
    assert told[0] == told[1]
    assert [(line, code) for line, code, _ in told[0] if code != 0] == [
        (line, 1) for line in _EVERY_COMMAND if line.startswith("town status")
    ], "a status says that something needs attention"
    used = {
        " ".join(
            word
            for word in line.split()[:2]
            if word not in ("alpha", "beta", "gamma", "copy", "talker") and "/" not in word
        )
        for line in _EVERY_COMMAND
    }
    assert _leaf_commands(townctl) - _OF_THIS_MACHINE == {name.split(" --")[0] for name in used}


_OF_THIS_MACHINE = {
    "bucket gather",
    "demo",
    "serve",
    "token",
    "secret control-key",
    "secret copy",
    "secret list",
    "secret remove",
    "secret rotate-town-tokens",
    "secret set",
    "secret set-platform",
    "secret set-app",
    "secret set-deploy-key",
    "secret remove-deploy-key",
    "secret set-webhook",
    "secret remove-webhook",
    "ui",
}
"""What serves a data directory or opens a browser, keeps secrets on this machine, or works on a bucket with a table."""

_EVERY_COMMAND = (
    "town create beta",
    "town create gamma --paused",
    "town archive gamma --yes",
    "town archived",
    "town bring-back gamma",
    "tick gamma --force",
    "town delete gamma --yes",
    "town delete gamma --now --yes",
    "town create gamma --paused",
    "start gamma",
    "pause alpha --by ann",
    "start --all",
    "town resume gamma",
    "town list",
    "town status alpha",
    "watch alpha",
    "setting list alpha",
    "setting show alpha merge_strategy",
    "setting set alpha max_polecats_per_rig 4",
    "event types",
    "explain rule A8",
    "explain setting merge_strategy",
    "bead list alpha",
    "bead show alpha b1",
    "bead create alpha Title",
    "bead update alpha b1 --priority high",
    "bead cancel alpha b1 --not-needed",
    "bead reopen alpha b1",
    'event post alpha --type rig_registered --payload {{"rig_id":"r","name":"r","git_url":"https://git.example.com/a/b.git"}}',
    "tick alpha --force",
    "convoy create alpha Title {files}/tasks.json --rig r",
    "convoy start alpha c1",
    "convoy close alpha c1",
    "convoy add alpha c1 b1",
    "convoy remove alpha c1 b1",
    "convoy edit alpha c1 --title Title",
    "bead delete alpha b1",
    "rig remove alpha r",
    "escalation acknowledge alpha e1",
    "agent reset alpha mayor",
    "agent nudge alpha mayor hello",
    "agent list alpha",
    "convoy list alpha",
    "review list alpha",
    "rig list alpha",
    "escalation list alpha",
    "mail list alpha",
    "mayor say alpha hello",
    "mayor log alpha",
    "logs talker alpha",
    "bucket rules",
    "tick beta --force",
    "export beta {files}/beta.jsonl",
    "import {files}/beta.jsonl delta",
    "event post alpha --type nudge_timeout --id shown-here",
    "event list alpha",
    "event show alpha shown-here",
    "dry-run alpha",
    "tick alpha --force",
    "ticks alpha",
    "run --once",
    "replay alpha --from {since}",
    "backtest --from {since} --towns alpha",
    "shadow --once --towns alpha",
    "record alpha {replica}.recording --from {since}",
    "explain bead b1 --town alpha",
    "explain agent {mayor} --town alpha",
    "event redrive alpha poisoned-one",
    "points alpha",
    "restore alpha --txid 1 --to {replica}.db --verify-with-litestream",
    "restore alpha --txid 2 --in-place",
    "flush alpha",
    "mend alpha",
    "retention alpha",
    "retention alpha --carry-out",
    "litestream config --files {files}",
    "litestream import {replica} copy",
    "doctor",
)


def _a_replica(call: OnABucket | Townctl, folder: Path) -> Path:
    """A town with a past, and the newest of it as Litestream's files."""
    call.document("town", "create", "alpha")
    for _ in range(2):
        call.document("event", "post", "alpha", "--type", "nudge_timeout")
        call.document("tick", "alpha", "--force")
    held = json.dumps({"bead": {"bead_id": "b1", "type": "issue", "title": "Wait", "labels": ["gt:held"]}})
    call.document("event", "post", "alpha", "--type", "bead_created", "--payload", held)
    call.document("tick", "alpha", "--force")
    image = folder.with_suffix(".first")
    call.document("restore", "alpha", "--txid", "3", "--to", str(image))
    (folder / "0009").mkdir(parents=True)
    (folder.parent / "tasks.json").write_text('[{"title": "One"}]')
    body = ltx.encode_snapshot(image.read_bytes(), page_size=4096, txid=3, at=NOON)
    (folder / "0009" / f"{1:016x}-{3:016x}.ltx").write_bytes(body)
    return folder


def _poison_an_event(call: OnABucket | Townctl, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("not today")

    call.document("event", "post", "alpha", "--type", "town_started", "--id", "poisoned-one")
    with monkeypatch.context() as broken:
        broken.setattr(TownStarted, "apply", fail)
        broken.setattr(limits, "FAILED_EVENT_RETRY", timedelta(0))  # nothing waits for the clock of this machine
        for _ in range(3):
            call("tick", "alpha", "--force")


def _leaf_commands(call: OnABucket) -> set[str]:
    """Every command that the help names, groups opened."""
    leaves = set()
    for name in _named_in(call("--help").out):
        below = _named_in(call(name, "--help").out)
        leaves |= {f"{name} {each}" for each in below} or {name}
    return leaves


def _named_in(help_text: str) -> list[str]:
    commands = help_text.partition("─ Commands ─")[2].partition("╰")[0]
    return re.findall(r"^│ ([a-z][a-z-]*) ", commands, flags=re.MULTILINE)


def test_the_bucket_may_be_named_by_the_environment(townctl: OnABucket, monkeypatch: pytest.MonkeyPatch) -> None:
    townctl.document("town", "create", "alpha")
    for name, value in townctl.bucket.way().items():
        monkeypatch.setenv(name, value)
    townctl.capsys.readouterr()
    assert main.run(["town", "list", "--json"]) == 0
    assert [town["townId"] for town in json.loads(townctl.capsys.readouterr().out)["towns"]] == ["alpha"]
    assert main.run(["--data", str(townctl.data), "town", "list", "--json"]) == 2
    assert "does not exist" in townctl.capsys.readouterr().err


def test_an_agent_reports_into_the_bucket_that_its_environment_names(townctl: OnABucket) -> None:
    townctl.document("town", "create", "alpha")
    runtime = agent_programs.local_runtime(
        townctl.data, agent_programs.AgentProgram(("true",)), SystemClock(), bucket=townctl.bucket
    )
    poster = poster_from(runtime._environment, town_id="alpha", clock=SystemClock())
    event = {"event_id": "polecat:1:done", "event_type": "rig_registered", "payload": RIG}
    poster.post([event])
    poster.post([event])
    waiting = townctl.document("event", "list", "alpha", "--pending")["events"]
    assert {each["eventId"] for each in waiting} == {"polecat:1:done"}


def test_a_bucket_is_probed_once_by_the_loop_and_by_no_other_command(
    stub: StubS3, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bucket = Bucket("towns", stub.url)
    for _ in range(2):
        wiring.prove(bucket)
    assert sum(request.startswith("PUT probe/") for request in stub.requests) == 5
    stub.requests.clear()
    OnABucket(bucket, tmp_path, capsys)("town", "status", "alpha")
    assert not any("probe/" in request for request in stub.requests)


def test_the_loop_refuses_a_store_that_ignores_conditions(
    as_owner: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with stub_s3(IgnoresConditions()) as careless:
        refused = OnABucket(Bucket("towns", careless.url), tmp_path, capsys)("run", "--once", "--json")
    assert refused.code == 2
    assert refused.error["kind"] == "StoreIncapable"
    assert "would lose updates" in refused.error["hint"]
    assert not any(request.startswith("PUT towns/") for request in careless.requests)


def test_a_bucket_that_is_not_there_is_named_with_what_to_do(townctl: OnABucket) -> None:
    missing = OnABucket(Bucket("no-such-bucket", townctl.bucket.endpoint_url), townctl.data, townctl.capsys)
    for words in (["town", "list"], ["town", "create", "alpha"], ["run", "--once"], ["doctor"], ["tick", "alpha"]):
        called = missing(*words, "--json")
        assert (called.code, called.error["kind"]) == (2, "StoreNotFound")
        assert called.error["hint"] == "create the bucket no-such-bucket, or name the one that holds the towns"


def test_somebody_without_rights_is_told_which_are_missing(
    townctl: OnABucket, seaweedfs: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in seaweedfs.environment_of_a_stranger.items():
        monkeypatch.setenv(name, value)
    called = townctl("town", "list", "--json")
    assert (called.code, called.error["kind"]) == (2, "AccessDenied")
    assert "s3:ListBucket" in called.error["hint"]


@pytest.mark.parametrize("option", [["--endpoint", "http://127.0.0.1:1"], ["--region", REGION]])
def test_an_endpoint_or_a_region_without_a_bucket_is_refused(
    option: list[str], capsys: pytest.CaptureFixture[str], as_owner: None
) -> None:
    assert main.run([*option, "town", "list"]) == 2
    assert "name the bucket too: --bucket NAME" in capsys.readouterr().err


def test_litestream_is_told_of_the_bucket(townctl: OnABucket) -> None:
    townctl.document("town", "create", "alpha")
    shown = townctl.document("litestream", "config", "--files", str(townctl.data))["config"]
    assert f"bucket: '{BUCKET}'" in shown
    assert f"endpoint: '{townctl.bucket.endpoint_url}'" in shown
    assert "path: 'towns/alpha/ltx'" in shown


def test_the_real_litestream_restores_the_town_from_the_bucket(townctl: OnABucket, tmp_path: Path) -> None:
    townctl.document("town", "create", "alpha")
    townctl.post("rig_registered", RIG)
    txid = townctl.document("tick", "alpha", "--force")["txid"]
    words = ("restore", "alpha", "--txid", str(txid), "--to", str(tmp_path / "now.db"), "--verify-with-litestream")
    assert townctl.document(*words)["litestreamAgrees"] is True


def test_two_towns_in_one_bucket_are_strangers(townctl: OnABucket) -> None:
    """A head that somebody copied to another town's key is refused, by name, and the other town is not made anew."""
    townctl.document("town", "create", "alpha")
    objects = townctl.bucket.objects()
    stored = objects.get("towns/alpha/head")
    assert stored is not None
    objects.create("towns/beta/head", stored.body)
    called = townctl("tick", "beta", "--force", "--json")
    assert (called.code, called.error["kind"]) == (2, "WrongTown")
    assert "restore this town's own head" in called.error["hint"]
    assert townctl("town", "create", "beta", "--json").code == 2
    assert objects.get("towns/beta/head") == stored


def test_a_known_town_whose_head_is_missing_is_never_created_empty(townctl: OnABucket) -> None:
    townctl.document("town", "create", "alpha")
    townctl.post("rig_registered", RIG)
    townctl.bucket.objects().delete("towns/alpha/head")
    for words in (["tick", "alpha", "--force"], ["town", "status", "alpha"], ["dry-run", "alpha"]):
        called = townctl(*words, "--json")
        assert (called.code, called.error["kind"]) == (2, "UnknownTown")
    townctl("run", "--once")
    assert townctl.bucket.objects().get("towns/alpha/head") is None
    assert drive(ObjectTownStore(townctl.bucket.objects()).towns()) == ()


def test_a_life_is_told_from_a_bucket(townctl: OnABucket) -> None:
    townctl.document("town", "create", "alpha")
    townctl.post("rig_registered", RIG)
    townctl.post("bead_created", BEAD)
    for _ in range(2):
        townctl.document("tick", "alpha", "--force")
    told = townctl.document("explain", "bead", "b1")
    assert [entry["code"] for entry in told["story"] if entry["by"] == "rule"] == ["B1"]
    assert (told["now"]["rule"], told["now"]["guards"][0]["guard"]) == ("B1", "no_agent_program")
    then = townctl.document("explain", "bead", "b1", "--at", told["story"][0]["time"])
    assert (then["asOf"]["tick"], then["row"]["status"]) == (told["story"][0]["tick"], "in_progress")
