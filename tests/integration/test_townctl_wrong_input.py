"""townctl used by a newcomer: every mistake gets one line that says what is wrong and one that says what to do."""

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.townctl import main
from shared.adapters.directory_objects import DirectoryObjects
from shared.ports.steps import drive
from shared.storage.towns import ObjectTownStore
from tests.integration.townctl_calls import RIG, Called, Townctl


@pytest.fixture
def townctl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Townctl:
    return Townctl(tmp_path / "data", capsys)


@pytest.fixture
def ticked(townctl: Townctl) -> Townctl:
    """A town one tick old."""
    townctl.document("town", "create", "alpha")
    townctl.document("tick", "alpha")
    return townctl


def refusal(called: Called) -> dict[str, str]:
    """The error of a refused call with --json: nothing on standard output, always something to do."""
    assert called.code == 2, (called.out, called.err)
    assert called.out == ""
    assert called.error["message"]
    assert called.error["hint"]
    return called.error


POST = ("event", "post", "alpha")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        pytest.param(("town", "statsu", "alpha"), "statsu", "--help", id="a command that does not exist"),
        pytest.param(("status", "alpha"), "status", "`townctl town status`", id="a command without its group"),
        pytest.param(("bead", "lst", "alpha"), "bead lst", "`townctl bead list`", id="a misspelt command of a group"),
        pytest.param(("tick",), "TOWN_ID", "--help", id="a town is missing"),
        pytest.param(("tick", "alpha", "--foce"), "--foce", "--help", id="an option that does not exist"),
        pytest.param(("tick", "alpha", "beta"), "unexpected argument: beta", "tick --help", id="a second argument"),
        pytest.param(("--verbos", "tick"), "unknown option: --verbos", "--help", id="an option before the command"),
        pytest.param(("explain", "bead"), "BEAD_ID is required", "explain bead --help", id="a bead is missing"),
        pytest.param(
            ("tick", "alpha", "--agent-command"), "--agent-command needs a value", "--help", id="a value is missing"
        ),
        pytest.param(
            ("ticks", "alpha", "--limit", "many"),
            "--limit takes a whole number, not 'many'",
            "--help",
            id="a limit that is not a number",
        ),
        pytest.param(
            ("points", "alpha", "--before", "99"), "no tick 99: its newest is 1", "ticks", id="a tick that never was"
        ),
        pytest.param(
            ("setting", "show", "alpha", "on_failed_dependancy"),
            "there is no setting on_failed_dependancy",
            "did you mean on_failed_dependency?",
            id="a setting that is misspelt by one letter",
        ),
        pytest.param(
            ("replay", "alpha", "--from", "1h", "--overrides", "{x"),
            "--overrides is not valid JSON",
            "max_polecats_per_rig",
            id="overrides that are no JSON",
        ),
        pytest.param(
            ("ticks", "alpha", "--limit", "0"), "--limit must be 1 to 100000, not 0", "default", id="a limit of 0"
        ),
        pytest.param(("points", "alpha", "--limit", "0"), "1 to 200, not 0", "default", id="a limit of 0 points"),
        pytest.param(("event", "list", "alpha", "--limit", "-1"), "not -1", "default", id="a negative limit"),
        pytest.param(("replay", "alpha"), "--from is required", "--from", id="a replay without a start"),
        pytest.param(
            ("replay", "alpha", "--cursor", "x"), "--from is required", "--from", id="a cursor without a start"
        ),
        pytest.param(
            ("replay", "alpha", "--from", "2026-01-09"),
            "--from is a date without a time: '2026-01-09'",
            "write 2026-01-09T00:00:00Z for midnight UTC",
            id="a date without a time",
        ),
        pytest.param(
            ("replay", "alpha", "--from", "2026-01-10T12:00:00Z", "--to", "2026-01-10T12:00:00"),
            "--to is a time without an offset",
            "write 2026-01-10T12:00:00Z for UTC",
            id="a time without an offset",
        ),
        pytest.param(("replay", "beta", "--from", "2026-01-01T00:00:00Z"), "town beta", "town list", id="no such past"),
        pytest.param(("replay", "x.recording"), "x.recording", "townctl record", id="a recording that does not exist"),
        pytest.param(
            ("record", "beta", "x", "--from", "2026-01-01T00:00:00Z"),
            "town beta",
            "town list",
            id="no such town to record",
        ),
        pytest.param(
            ("restore", "alpha", "--txid", "1", "--at", "2026-01-01T00:00:00Z", "--in-place"),
            "exactly one of --at and --txid",
            "either",
            id="two commits to restore",
        ),
        pytest.param(("restore", "alpha", "--txid", "1"), "exactly one of --to and --in-place", "either", id="nowhere"),
        pytest.param(("token", "alpha", "--hours", "9"), "at most 8, not 9", "0.5", id="a token that lives too long"),
        pytest.param(("token", "alpha", "--hours", "-1"), "more than 0", "0.5", id="a token that has expired"),
        pytest.param(("token", "alpha"), "a key is required", "--key-file", id="a token without a key"),
        pytest.param(("token", "alpha", "--key-file", "/dev/null"), "/dev/null", "32", id="a key that is too short"),
        pytest.param(
            ("token", "alpha", "--key-file", "/nowhere"),
            "No such file",
            "32 characters",
            id="a key that does not exist",
        ),
        pytest.param(("secret", "set", "beta", "github"), "town beta", "town list", id="a secret of an unknown town"),
        pytest.param(("run", "--once", "--control-server", "x"), "not a base URL", "http://", id="not a base URL"),
        pytest.param(
            ("dry-run", "alpha", "--events", "/dev/null"),
            "--events is not valid JSON",
            "event post",
            id="events that are not JSON",
        ),
        pytest.param((*POST, "--file", "/dev/null"), "--file: not JSON", "json.tool", id="a file without JSON"),
        pytest.param(("--api", "http://127.0.0.1:1", "town", "list"), "--data", "only one", id="two places"),
        pytest.param(
            ("--region", "eu-west-1", "town", "list"), "no bucket is named", "--bucket", id="a region of nothing"
        ),
        pytest.param(("litestream", "config", "beta"), "town beta", "town list", id="Litestream of an unknown town"),
        pytest.param(
            ("restore", "alpha", "--txid", "99", "--in-place"),
            "not retained",
            "townctl points alpha",
            id="no such commit",
        ),
        pytest.param(("tick", "beta"), "town beta", "town create", id="an unknown town"),
        pytest.param(("town", "status", "beta"), "town beta", "town create", id="status of an unknown town"),
        pytest.param(("doctor", "beta"), "no town beta", "create", id="doctor of an unknown town"),
        pytest.param(("run", "--once", "--towns", "beta"), "no town beta", "town list", id="run of an unknown town"),
        pytest.param(("run", "--speed", "0"), "speed", "1 for real time", id="a stopped clock"),
        pytest.param(("demo", "--speed", "1000"), "1 to 100", "40", id="a demo that is too fast"),
        pytest.param(
            ("demo", "--agent", "gemini"), "no agent 'gemini'", "make demo AGENT=", id="a demo of an unknown agent"
        ),
        pytest.param(
            ("demo", "--agent", "claude", "--strategy", "pr"),
            "--agent with --strategy pr",
            "leave out --strategy",
            id="a demo that real agents cannot do",
        ),
        pytest.param(("town", "create", "Alpha/.."), "not a town id", "lower-case", id="a town id that is a path"),
        pytest.param(
            ("secret", "set-app", "1", "--serves", "Alpha=acme"),
            "not a town id: 'Alpha'",
            "lower-case",
            id="an App for a town with a wrong id",
        ),
        pytest.param(
            ("run", "--once", "--agent", "gemini"), "no agent 'gemini'", "--agent-command", id="an unknown agent"
        ),
        pytest.param(
            ("run", "--once", "--agent-login", "gemini"), "no agent 'gemini'", "your HOME", id="an unknown login"
        ),
        pytest.param(("town", "create", "alpha"), "already exists", "another id", id="a town that exists"),
        pytest.param(
            ("town", "create", "b", "--config", "/nowhere"), "/nowhere", "standard input", id="a missing file"
        ),
        pytest.param((*POST, "--file", "/"), "cannot read /", "file", id="a directory for a file"),
        pytest.param((*POST,), "--type", "for example", id="nothing to post"),
        pytest.param((*POST, "--file", "x", "--type", "y"), "--type", "", id="a file and flags"),
        pytest.param((*POST, "--type", "bead_creatd"), "bead_creatd", "bead_created", id="an unknown event type"),
        pytest.param(
            (*POST, "--type", "dispatch_result"), "made by the town", "do not send it", id="an internal event"
        ),
        pytest.param((*POST, "--type", "town_started", "--payload", "{'a': 1}"), "line 1", "JSON", id="malformed JSON"),
        pytest.param(
            (*POST, "--type", "town_started", "--payload", "[1]"), "object", "", id="a payload that is a list"
        ),
        pytest.param(
            (*POST, "--type", "town_started", "--payload", '{"a":1,"a":2}'), "a", "each key once", id="a key twice"
        ),
        pytest.param(
            (*POST, "--type", "town_started", "--payload", '{"x": 1}'),
            "no such field",
            "the only field is by",
            id="an unknown field",
        ),
        pytest.param((*POST, "--type", "convoy_started"), "required", "", id="a missing field"),
        pytest.param((*POST, "--type", "bead_cancelled"), "bead_id", "", id="a missing bead"),
        pytest.param(
            (*POST, "--type", "town_started", "--id", "short"), "8 to 128", "every retry", id="a short event id"
        ),
        pytest.param(
            ("dry-run", "alpha", "--now", "tomorrow"),
            "tomorrow",
            "2026-01-10T12:00:00Z",
            id="a time that is not ISO 8601",
        ),
        pytest.param(("tick", "alpha", "--input", "/dev/null"), "JSON", "", id="an empty input"),
        pytest.param(("tick", "alpha", "--agent-command", "'open"), "split", "close every quote", id="an open quote"),
        pytest.param(
            ("event", "list", "alpha", "--pending", "--poisoned"), "exclude each other", "one of them", id="two filters"
        ),
        pytest.param(
            ("event", "redrive", "alpha", "event-0001"), "no poisoned event", "--poisoned", id="nothing poisoned"
        ),
    ],
)
def test_a_mistake_is_refused_with_what_to_do(ticked: Townctl, words: tuple[str, ...], message: str, hint: str) -> None:
    before = tree(ticked.data)
    error = refusal(ticked(*words, "--json"))
    assert message in error["message"]
    assert hint in error["hint"]
    assert tree(ticked.data) == before


@pytest.mark.parametrize(
    ("overrides", "path", "known"),
    [
        ({"leave_out": []}, "overrides.leave_out", "the fields are add, config, leaveOut, shiftMs"),
        ({"add": [{"at": "", "event": {}, "events": []}]}, "overrides.add.0.events", "the fields are at, event"),
        ({"config": {"max_polecats": 1}}, "overrides.config.max_polecats", "max_polecats_per_rig"),
        ({"config": {"refinery": {"gate": []}}}, "overrides.config.refinery.gate", "gates"),
    ],
    ids=str,
)
def test_an_override_that_does_not_exist_is_refused_with_the_names_that_do(
    ticked: Townctl, tmp_path: Path, overrides: object, path: str, known: str
) -> None:
    file = tmp_path / "changed.json"
    file.write_text(json.dumps(overrides))
    newest = ticked.document("points", "alpha")["points"][0]["time"]
    error = refusal(ticked("replay", "alpha", "--from", newest, "--overrides", str(file), "--json"))
    assert error["path"] == path
    assert known in error["hint"]


def tree(data: Path) -> dict[str, bytes]:
    """Every object of the directory."""
    files = (path for path in data.rglob("*") if path.is_file())
    return {
        str(path.relative_to(data)): path.read_bytes()
        for path in files
        if not any(part.startswith(".") for part in path.relative_to(data).parts)
    }


def test_people_get_two_lines_and_machines_one_document(ticked: Townctl) -> None:
    shown = ticked("tick", "beta")
    assert shown.code == 2
    assert shown.out == ""
    what, todo = shown.err.splitlines()
    assert what.startswith("townctl: ")
    assert "town beta" in what
    assert todo.startswith("  hint: ")
    assert str(ticked.data) in todo


def test_people_see_the_option_that_is_wrong(ticked: Townctl) -> None:
    """`at is no time` did not say that `at` is an option."""
    shown = ticked("explain", "bead", "b1", "--at", "yesterday")
    assert shown.err.splitlines()[0] == "townctl: --at is not an ISO 8601 time: 'yesterday'"
    shown = ticked("town", "create", "b", "--config=/nowhere")
    assert shown.err.splitlines()[0] == "townctl: --config: cannot read /nowhere: No such file or directory"


def test_a_folder_of_several_replicas_is_not_mixed_into_one_town(ticked: Townctl) -> None:
    """`litestream import` of a whole data directory took whichever town had the highest transaction."""
    ticked.document("town", "create", "beta")
    for town_id in ("alpha", "beta"):
        assert ticked("flush", town_id).code == 0
    error = refusal(ticked("litestream", "import", str(ticked.data), "gamma", "--json"))
    assert "2 replicas" in error["message"]
    assert "one of them" in error["hint"]
    assert ticked.document("litestream", "import", str(ticked.data / "towns" / "alpha"), "gamma")["townId"] == "gamma"


def test_a_directory_that_does_not_exist_is_not_made_by_looking(townctl: Townctl) -> None:
    error = refusal(townctl("town", "list", "--json"))
    assert str(townctl.data) in error["message"]
    assert "town create" in error["hint"]
    assert not townctl.data.exists()


def test_a_file_is_no_data_directory(townctl: Townctl) -> None:
    townctl.data.write_text("mine")
    assert "is a file" in refusal(townctl("town", "list", "--json"))["message"]
    assert "is a file" in refusal(townctl("town", "create", "alpha", "--json"))["message"]
    assert townctl.data.read_text() == "mine"


@pytest.mark.parametrize(
    ("config", "place", "hint"),
    [
        ('{"merge_strategy": "rebase"}', "config.merge_strategy", "'direct' or 'pr'"),
        ('{"refinery": {"auto_merge_delay_minutes": -1}}', "config.refinery.auto_merge_delay_minutes", "0"),
        ('{"merge_stratgy": "direct"}', "config.merge_stratgy", "max_polecats_per_rig, merge_strategy"),
        ("[]", "config", "merge_strategy"),
        ('{"a": 1, "a": 2}', "a", "each key once"),
    ],
)
def test_a_configuration_that_is_wrong_names_its_place_and_what_is_due_there(
    townctl: Townctl, tmp_path: Path, config: str, place: str, hint: str
) -> None:
    """The hint was a section of a specification that no user has."""
    (tmp_path / "config.json").write_text(config)
    error = refusal(townctl("town", "create", "alpha", "--config", str(tmp_path / "config.json"), "--json"))
    assert error["path"] == place
    assert hint in error["hint"]
    assert not (townctl.data / "towns").exists()


@pytest.mark.parametrize(
    ("payload", "place"),
    [
        ({"title": "x" * 4097, "severity": "low"}, "events[0].payload.title"),
        ({"title": "x", "severity": "low", "body": "x" * (32 * 1024 + 1)}, "events[0].payload.body"),
        ({"title": "x", "severity": "low", "body": "x" * 70_000}, "events[0]"),
    ],
)
def test_what_is_too_large_is_refused_before_it_is_stored(
    ticked: Townctl, tmp_path: Path, payload: dict[str, str], place: str
) -> None:
    event = {"event_id": "event-0001", "event_type": "escalation_raised", "payload": payload}
    (tmp_path / "event.json").write_text(json.dumps(event))
    error = refusal(ticked("event", "post", "alpha", "--file", str(tmp_path / "event.json"), "--json"))
    assert error["path"] == place
    assert ticked.document("event", "list", "alpha")["events"] == []


def test_an_event_for_a_town_that_does_not_exist_stores_nothing(ticked: Townctl) -> None:
    refusal(ticked("event", "post", "beta", "--type", "town_started", "--json"))
    assert not (ticked.data / "towns" / "beta").exists()


def test_an_event_about_a_foreign_bead_is_taken_and_skipped_in_plain_sight(ticked: Townctl) -> None:
    ticked.post("bead_cancelled", {}, bead="of-another-town")
    ticked.document("tick", "alpha", "--force")
    [event] = ticked.document("event", "list", "alpha")["events"]
    assert event["outcome"] == "skipped: missing"
    assert "skipped: missing" in ticked("ticks", "alpha").out


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda head: b"", id="emptied"),
        pytest.param(lambda head: head[:-100], id="cut short"),
        pytest.param(lambda head: head[:200] + bytes([head[200] ^ 1]) + head[201:], id="one bit"),
        pytest.param(lambda head: b"garbage" * 1000, id="something else"),
    ],
)
def test_a_damaged_head_is_refused_by_name_and_left_as_it_is(ticked: Townctl, damage: Callable[[bytes], bytes]) -> None:
    ticked.post("town_started", {})
    path = ticked.data / "towns" / "alpha" / "head"
    path.write_bytes(damage(path.read_bytes()))
    damaged = tree(ticked.data)
    for words in (("tick", "alpha"), ("tick", "alpha", "--force"), ("dry-run", "alpha"), ("town", "status", "alpha")):
        error = refusal(ticked(*words, "--json"))
        assert "towns/alpha/head" in error["message"]
        assert "restore" in error["hint"]
    assert ticked("run", "--once").code == 1
    found = ticked("doctor", "--json")
    assert found.code == 1
    assert [finding["check"] for finding in found.document["findings"]] == ["head"]
    assert ticked("town", "list", "--json").code == 1
    assert tree(ticked.data) == damaged


def test_the_head_of_another_town_is_not_taken_for_ones_own(ticked: Townctl) -> None:
    ticked.document("town", "create", "beta")
    head = (ticked.data / "towns" / "beta" / "head").read_bytes()
    (ticked.data / "towns" / "alpha" / "head").write_bytes(head)
    assert "'beta', not 'alpha'" in refusal(ticked("tick", "alpha", "--json"))["message"]


def test_on_a_full_disk_nothing_is_lost_and_nothing_is_half_done(
    ticked: Townctl, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticked.post("rig_registered", RIG)
    before = tree(ticked.data)

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        for words in (
            ("tick", "alpha", "--force"),
            ("event", "post", "alpha", "--type", "town_started"),
            ("town", "create", "b"),
        ):
            error = refusal(ticked(*words, "--json"))
            assert error["kind"] == "StoreUnavailable"
            assert "No space left" in error["message"]
            assert "disk is full" in error["hint"]
        assert ticked("run", "--once").code == 1
    assert tree(ticked.data) == before

    assert ticked.document("tick", "alpha", "--force")["outcome"] == "committed"
    assert [e["outcome"] for e in ticked.document("event", "list", "alpha")["events"]] == ["applied"]


def test_an_input_of_another_town_or_of_other_code_is_refused(ticked: Townctl, tmp_path: Path) -> None:
    ticked.document("town", "create", "beta")
    path = tmp_path / "input.json"
    document = json.loads(ticked("dry-run", "beta", "--json").out)
    path.write_text(json.dumps(document))
    assert "for town beta" in refusal(ticked("tick", "alpha", "--input", str(path), "--json"))["message"]
    path.write_text(json.dumps({**document, "input": {**document["input"], "codeVersion": "0123456789abcdef"}}))
    assert "another version" in refusal(ticked("tick", "beta", "--input", str(path), "--json"))["message"]
    inputs: list[object] = [
        {"input": {}},
        {"input": 5},
        [],
        {"input": {**document["input"], "newEvents": [{}]}},
    ]
    for broken in inputs:
        path.write_text(json.dumps(broken))
        assert (
            "not the output of a dry run" in refusal(ticked("tick", "beta", "--input", str(path), "--json"))["message"]
        )


def test_a_directory_for_the_demo_must_be_fresh(townctl: Townctl) -> None:
    townctl.data.mkdir()
    (townctl.data / "precious").write_text("mine")
    assert "needs an empty directory" in refusal(townctl("demo", "--json"))["message"]
    assert [path.name for path in townctl.data.iterdir()] == ["precious"]


def test_a_demo_with_a_coding_agent_that_is_not_installed_says_how_to_install_it(
    townctl: Townctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").symlink_to(str(shutil.which("git")))
    monkeypatch.setenv("PATH", str(tools))
    said = refusal(townctl("demo", "--agent", "claude", "--json"))
    assert said["message"] == "--agent: claude is not on PATH"
    assert "make demo AGENT=claude" in said["hint"]
    assert not townctl.data.exists()


def test_a_program_file_that_somebody_spoilt_is_named(ticked: Townctl) -> None:
    (ticked.data / ".agents").mkdir(exist_ok=True)
    (ticked.data / ".agents" / "program.json").write_text("[]")
    error = refusal(ticked("tick", "alpha", "--json"))
    assert "program.json" in error["message"]
    assert "--agent-command" in error["hint"]


def test_a_reader_that_has_seen_enough_is_no_error(townctl: Townctl) -> None:
    townctl.with_work()
    done = townctl.process("ticks", "alpha")
    assert done.code == 0
    line = " ".join(f"'{word}'" for word in townctl.line("dry-run", "alpha", "--json"))
    piped = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line} | head -c 1"], capture_output=True, text=True, check=False
    )
    assert piped.stderr == ""
    assert piped.returncode == 0


def test_a_bug_of_ours_is_not_taken_for_a_finding(ticked: Townctl, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ObjectTownStore, "load", lambda *_, **__: 1 / 0)
    called = ticked("tick", "alpha")
    assert called.code == 70
    assert "ZeroDivisionError" in called.err
    assert "please report it" in called.err


def test_no_name_reaches_out_of_the_directory(ticked: Townctl, tmp_path: Path) -> None:
    (tmp_path / "towns").mkdir()
    for name in ("../alpha", "..", "a/../b", "alpha/../../x", "\x00", "a" * 65, "-", ""):
        assert main.run(["--data", str(ticked.data), "tick", "--", name]) == 2
    assert drive(ObjectTownStore(DirectoryObjects(ticked.data)).towns()) == ("alpha",)
    assert list((tmp_path / "towns").iterdir()) == []
