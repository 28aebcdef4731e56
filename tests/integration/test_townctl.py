"""townctl on a data directory, as an operator uses it: towns, events, ticks, dry runs, journal, loop, doctor."""

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.townctl import main
from infra.townctl.commands import COMMANDS
from infra.townctl.output import plain
from shared.adapters.directory_objects import DirectoryObjects
from shared.domain import limits
from shared.domain.alert import Alert
from shared.domain.shapes import read
from shared.domain.tick import TickInput
from shared.domain.times import from_text, to_text
from shared.images.image_digest import of_image
from shared.ports.steps import drive
from shared.ports.town_store import TownImage
from shared.storage.towns import ObjectTownStore
from shared.telemetry.alert_log import AlertLog
from shared.town import database, journal
from tests.documented import as_stored
from tests.fakes import FakeClock
from tests.integration.townctl_calls import REPOSITORY, RIG, Townctl
from tests.towns import T


@pytest.fixture
def townctl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Townctl:
    return Townctl(tmp_path / "data", capsys)


def stored(data: Path, town_id: str = "alpha") -> TownImage:
    """What is committed, read past townctl."""
    return drive(ObjectTownStore(DirectoryObjects(data)).load(town_id))


def last_row(image: TownImage) -> dict[str, Any]:
    """The newest journal row of an image."""
    sql = database.open_image(image.image)
    [row] = journal.rows(sql, limit=1)
    database.close(sql)
    return row


def test_a_town_is_created_ticked_and_listed(townctl: Townctl) -> None:
    made = townctl.document("town", "create", "alpha")
    assert made["townId"] == "alpha"
    assert made["txid"] == 1

    ticked = townctl.document("tick", "alpha")
    assert (ticked["outcome"], ticked["tick"], ticked["txid"]) == ("committed", 1, 2)

    [listed] = townctl.document("town", "list")["towns"]
    assert listed["townId"] == "alpha"
    assert listed["tick"] == 1
    assert listed["problem"] is None


def test_a_configuration_is_taken_from_a_file_and_from_standard_input(townctl: Townctl, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"merge_strategy": "direct"}')
    townctl.document("town", "create", "alpha", "--config", str(tmp_path / "config.json"))
    done = townctl.process("town", "create", "beta", "--config", "-", "--json", input='{"max_dispatch_attempts": 2}')
    assert done.code == 0, done.err
    configs = {}
    for town_id in ("alpha", "beta"):
        sql = database.open_image(stored(townctl.data, town_id).image)
        configs[town_id] = json.loads(sql.execute("SELECT value FROM town WHERE key = 'config'").fetchone()[0])
        database.close(sql)
    assert configs["alpha"]["merge_strategy"] == "direct"
    assert configs["alpha"]["refinery"]["review_mode"] == "comments"  # a new town's value stays
    assert configs["beta"]["max_dispatch_attempts"] == 2


def test_a_paused_town_shows_what_its_rules_would_do(townctl: Townctl) -> None:
    townctl.document("town", "create", "alpha", "--paused")
    townctl.post("rig_registered", RIG)
    townctl.post("bead_created", {"bead": {"bead_id": "b1", "type": "issue", "title": "Do it", "rig_id": "rig-1"}})
    townctl.document("tick", "alpha")
    assert townctl.document("town", "status", "alpha")["paused"] is True
    shown = townctl.document("dry-run", "alpha")
    assert [wanted["action"]["type"] for wanted in shown["ifStarted"]] == ["dispatch_agent", "refresh_container_token"]
    assert shown["actions"] == []


def test_events_wait_in_the_inbox_until_a_tick_takes_them(townctl: Townctl) -> None:
    townctl.with_work()
    waiting = townctl.document("event", "list", "alpha", "--pending")
    assert [(e["eventType"], e["state"]) for e in waiting["events"]] == [
        ("bead_created", "inbox"),
        ("rig_registered", "inbox"),
    ]

    townctl.document("tick", "alpha")
    listed = townctl.document("event", "list", "alpha")
    assert [(event["eventType"], event["outcome"]) for event in listed["events"] if event["state"] == "processed"] == [
        ("bead_created", "applied"),
        ("rig_registered", "applied"),
    ]


def test_events_come_from_a_file_as_one_batch(townctl: Townctl, tmp_path: Path) -> None:
    townctl.document("town", "create", "alpha")
    events = [
        {"event_id": "event-0001", "event_type": "rig_registered", "payload": RIG},
        {"event_id": "event-0002", "event_type": "town_started"},
    ]
    (tmp_path / "events.json").write_text(json.dumps(events))
    posted = townctl.document("event", "post", "alpha", "--file", str(tmp_path / "events.json"))
    assert posted["accepted"] == ["event-0001", "event-0002"]
    assert list((townctl.data / "towns" / "alpha" / "inbox").glob(f"*{posted['batchId']}*"))


def test_signs_of_life_wake_nobody(townctl: Townctl) -> None:
    townctl.document("town", "create", "alpha")
    townctl.document("tick", "alpha")
    townctl.post("agent_heartbeat", {}, agent="agent-1")
    assert townctl.document("run", "--once")["ticks"]["committed"] == 0
    townctl.post("town_started", {})
    assert townctl.document("run", "--once")["passes"] == 1


def test_the_status_says_why_a_bead_waits(townctl: Townctl) -> None:
    townctl.document("town", "create", "alpha")
    townctl.post("rig_registered", RIG)
    held = {"bead_id": "b1", "type": "issue", "title": "Do it", "rig_id": "rig-1", "labels": ["gt:held"]}
    townctl.post("bead_created", {"bead": held})
    tasks = [{"title": "First"}, {"title": "Second", "depends_on": [0]}]
    convoy = {"convoy_id": "c1", "title": "Two", "rig_id": "rig-1", "staged": True, "tasks": tasks}
    townctl.post("convoy_created", convoy)
    townctl.document("tick", "alpha")

    report = townctl.document("town", "status", "alpha")
    reasons = {waiting["beadId"]: waiting["reason"] for waiting in report["waiting"]}
    assert reasons["b1"] == "held"
    assert reasons["c1"] == "staged"
    assert sorted(reasons.values()) == ["held", "staged", "staged", "staged"]
    assert [(convoy["title"], convoy["state"]) for convoy in report["convoys"]] == [("Two", "staged")]
    assert [agent["role"] for agent in report["agents"]] == ["mayor"]
    assert report["asOf"]["tick"] == 1
    assert "held" in townctl("town", "status", "alpha").out


def test_a_new_town_is_due_at_once_in_its_status(townctl: Townctl) -> None:
    townctl.document("town", "create", "alpha")
    report = townctl.document("town", "status", "alpha")
    assert report["onlyAnEventWakesIt"] is False
    assert report["nextDueAt"] is not None


def test_a_tick_that_is_not_due_does_nothing_unless_forced(townctl: Townctl) -> None:
    townctl.document("town", "create", "alpha")
    townctl.document("tick", "alpha")
    assert townctl.document("tick", "alpha")["outcome"] == "not_due"
    assert townctl.document("tick", "alpha", "--force")["outcome"] == "quiet"
    assert stored(townctl.data).facts.tick_no == 1


def test_a_dry_run_answers_what_its_callers_rely_on_and_writes_nothing(townctl: Townctl) -> None:
    townctl.with_work()
    before = {path: path.read_bytes() for path in townctl.data.rglob("*") if path.is_file()}
    shown = townctl.document("dry-run", "alpha")
    assert {path: path.read_bytes() for path in townctl.data.rglob("*") if path.is_file()} == before

    assert [judged["action"]["type"] for judged in shown["actions"]] == ["dispatch_agent", "refresh_container_token"]
    assert shown["metrics"]["eventsDrained"] == 2
    assert shown["metrics"]["actionsEmitted"] == 2
    assert shown["metrics"]["actionsByType"] == {"dispatch_agent": 1, "refresh_container_token": 1}
    assert shown["metrics"]["pendingEventCount"] == 0
    assert shown["input"]["observations"]["asked"] is False
    assert [effect["kind"] for effect in shown["effects"]] == ["dispatch_agent", "refresh_token"]
    assert set(shown["digests"]) == {"image", "logical"}


@pytest.mark.slow
def test_the_tick_of_a_dry_run_that_another_process_took_is_that_tick(townctl: Townctl, tmp_path: Path) -> None:
    """The dry run is taken in another process from the stored bytes; then the tick runs with its input."""
    townctl.with_work()
    taken = townctl.process("dry-run", "alpha", "--observe", "--json")
    assert taken.code == 0, taken.err
    (tmp_path / "input.json").write_text(taken.out)
    ticked = townctl.document("tick", "alpha", "--input", str(tmp_path / "input.json"))
    shown, image = taken.document, stored(townctl.data)

    assert ticked["outcome"] == "committed"
    row = last_row(image)
    assert TickInput.from_record(row) == read(TickInput, shown["input"])
    told = as_stored(shown)
    assert {name: row["outputs"][name] for name in told} == told
    assert of_image(image.image) == shown["digests"]["image"]
    assert {event["state"] for event in townctl.document("event", "list", "alpha", "--pending")["events"]} <= {"inbox"}


def test_a_dry_run_answers_what_if(townctl: Townctl, tmp_path: Path) -> None:
    """Other events, another time; what it shows of the future no tick may run."""
    townctl.with_work()
    event = {"event_id": "event-0001", "event_type": "bead_cancelled", "bead_id": "b1"}
    (tmp_path / "events.json").write_text(json.dumps(event))
    shown = townctl.document("dry-run", "alpha", "--events", str(tmp_path / "events.json"))
    assert [seen["eventType"] for seen in shown["events"]] == ["rig_registered", "bead_created", "bead_cancelled"]
    assert "dispatch_agent" not in shown["metrics"]["actionsByType"]

    later = to_text(stored(townctl.data).facts.time + timedelta(days=1))
    (tmp_path / "later.json").write_text(townctl("dry-run", "alpha", "--now", later, "--json").out)
    refused = townctl("tick", "alpha", "--input", str(tmp_path / "later.json"), "--json")
    assert refused.code == 2
    assert refused.error["path"] == "input.now"
    assert stored(townctl.data).facts.tick_no == 0


def test_an_input_runs_once(townctl: Townctl, tmp_path: Path) -> None:
    townctl.with_work()
    (tmp_path / "input.json").write_text(townctl("dry-run", "alpha", "--json").out)
    townctl.document("tick", "alpha", "--input", str(tmp_path / "input.json"))
    again = townctl("tick", "alpha", "--input", str(tmp_path / "input.json"), "--json")
    assert again.code == 2
    assert "moved on" in again.error["message"]
    assert "new dry run" in again.error["hint"]


def test_the_journal_shows_what_each_tick_did_and_by_which_rule(townctl: Townctl) -> None:
    townctl.with_work()
    townctl.document("tick", "alpha")
    shown = townctl.document("ticks", "alpha")
    [row] = [tick["row"] for tick in shown["ticks"]]
    assert [judged["rule"] for judged in row["outputs"]["actions"]] == [
        "beads.dispatch_ready",
        "housekeeping.refresh_token",
    ]
    text = townctl("ticks", "alpha").out
    assert "B1, H5" in text
    assert "rig_registered, bead_created" in text
    assert townctl.document("ticks", "alpha", "--after", "1")["ticks"] == []


def test_people_see_what_would_have_happened_without_an_event(townctl: Townctl) -> None:
    """No test had ever shown a what-if to people."""
    townctl.document("town", "create", "alpha")
    townctl.post("bead_created", {"bead": {"bead_id": "b1", "type": "issue", "title": "Do it"}})
    start = townctl.document("tick", "alpha")["now"]
    cancelled = townctl.post("bead_cancelled", {}, bead="b1")
    townctl.document("tick", "alpha", "--force")
    (townctl.data / "changed.json").write_text(json.dumps({"leaveOut": [cancelled]}))

    again = townctl("replay", "alpha", "--from", start)
    assert again.code == 0
    assert "2 ticks replayed, and the installed code gives the same result" in again.out
    assert "ticks 1 to 2: equal to history" in again.out
    assert "bead_cancelled" not in again.out
    assert "bead_cancelled" in townctl("replay", "alpha", "--from", start, "--all").out
    otherwise = townctl("replay", "alpha", "--from", start, "--overrides", str(townctl.data / "changed.json"))
    assert otherwise.code == 0
    assert "2 ticks compared, 1 with different outputs, 1 with a different state" in otherwise.out
    assert "  - event bead_cancelled" in otherwise.out
    assert "beads b1 status" not in otherwise.out
    whole = townctl("replay", "alpha", "--from", start, "--overrides", str(townctl.data / "changed.json"), "--all")
    assert "beads b1 status: failed -> open" in whole.out
    assert re.search(r"Do it +failed +waits", otherwise.out)
    said = townctl("replay", "alpha", "--from", start, "--overrides", json.dumps({"leaveOut": [cancelled]}))
    assert said.out == otherwise.out
    refused = townctl("replay", "alpha", "--from", start, "--cursor", "1@x", "--overrides", "x", "--json")
    assert refused.code == 2
    unheard_of = townctl(
        "replay", "alpha", "--from", start, "--overrides", f'{{"leaveOut": ["{cancelled[:-1]}"]}}', "--json"
    )
    assert unheard_of.code == 2
    assert unheard_of.error["hint"] == f"did you mean {cancelled}?"


@pytest.mark.parametrize("long_ago", ["1h", "1 hour ago", "90 min", "2 days ago", "1h30m"])
def test_a_time_may_be_said_as_how_long_ago_it_is(townctl: Townctl, long_ago: str) -> None:
    townctl.document("town", "create", "alpha")
    townctl.document("tick", "alpha")
    again = townctl("replay", "alpha", "--from", long_ago)
    assert again.code == 0
    assert f"begins later than {long_ago.removesuffix(' ago')} ago" in again.out
    assert townctl("replay", "alpha", "--from", "1 fortnight ago", "--json").code == 2


def test_a_poisoned_event_is_listed_alerted_and_driven_again(townctl: Townctl) -> None:
    townctl.document("town", "create", "alpha")
    townctl.document("tick", "alpha")
    body = {"events": [{"event_id": "event-0001", "event_type": "no_such_event", "payload": {}}]}
    inbox = townctl.data / "towns" / "alpha" / "inbox"
    inbox.mkdir(exist_ok=True)
    (inbox / "1700000000000-by-hand.json").write_text(json.dumps(body))
    ticked = townctl("tick", "alpha", "--force", "--json")
    alert = json.loads(ticked.err)
    assert (alert["event"], alert["kind"]) == ("alert.raised", "event_poisoned")

    [event] = townctl.document("event", "list", "alpha", "--poisoned")["events"]
    assert (event["eventId"], event["outcome"]) == ("event-0001", "poisoned")
    refused = townctl("event", "redrive", "alpha", "event-0001", "--json")
    assert refused.code == 2  # of no known type: it can never be applied
    assert "corrected event" in refused.error["hint"]
    assert townctl("event", "redrive", "alpha", "event-0002", "--json").code == 2

    found = townctl("doctor", "--json")
    assert found.code == 1
    assert [finding["check"] for finding in found.document["findings"]] == ["poisoned event"]


def test_a_redriven_event_gets_the_next_free_number(townctl: Townctl, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.events.town import TownStarted

    def fail(*_: object) -> None:
        raise RuntimeError("not today")

    townctl.document("town", "create", "alpha", "--paused")
    townctl.document("tick", "alpha")
    townctl.post("town_started", {}, id="event-0001")
    with monkeypatch.context() as broken:
        broken.setattr(TownStarted, "apply", fail)
        broken.setattr(limits, "FAILED_EVENT_RETRY", timedelta(0))
        for _ in range(3):
            townctl("tick", "alpha", "--force")
    assert (
        townctl.document("event", "list", "alpha", "--poisoned")["events"][0]["lastError"] == "RuntimeError: not today"
    )

    assert townctl.document("event", "redrive", "alpha", "event-0001")["accepted"] == ["event-0001:r1"]
    assert townctl.document("event", "redrive", "alpha", "event-0001")["accepted"] == ["event-0001:r2"]
    townctl.document("tick", "alpha", "--force")
    stored_ones = townctl.document("event", "list", "alpha")["events"]
    outcomes = {event["eventId"]: (event["source"], event["outcome"]) for event in stored_ones}
    assert outcomes["event-0001:r1"] == ("operator", "applied")
    assert outcomes["event-0001:r2"][1].startswith("skipped")
    assert outcomes["event-0001"] == ("ingest", "poisoned")


def test_one_pass_ticks_every_due_town_and_only_the_named_ones(townctl: Townctl) -> None:
    for town_id in ("alpha", "beta", "gamma"):
        townctl.document("town", "create", town_id)
    tally = townctl.document("run", "--once", "--towns", "alpha", "--towns", "beta")
    assert tally["ticks"]["committed"] == 2
    assert stored(townctl.data, "gamma").facts.tick_no == 0
    assert townctl.document("run", "--once")["ticks"]["committed"] == 1


def test_a_loop_reports_the_town_that_fails_and_ticks_the_others(townctl: Townctl) -> None:
    for town_id in ("alpha", "beta"):
        townctl.document("town", "create", town_id)
    (townctl.data / "towns" / "alpha" / "head").write_bytes(b"not a head")
    done = townctl("run", "--once", "--json")
    assert done.code == 1
    assert done.document["ticks"]["committed"] == 1
    assert "towns/alpha/head is damaged" in done.document["failing"]["alpha"]


def test_no_agent_is_started_without_a_program_and_the_answer_says_so(townctl: Townctl) -> None:
    townctl.with_work()
    ticked = townctl.document("tick", "alpha")
    assert ticked["effects"] == {"attempted": 2, "succeeded": 1, "failed": 1, "notStarted": 0}
    townctl.document("tick", "alpha", "--force")
    [row] = [tick["row"] for tick in townctl.document("ticks", "alpha", "--after", "1")["ticks"]]
    [result] = [event for event in row["inputs"]["new_events"] if event["event_type"] == "dispatch_result"]
    assert "--agent-command" in json.loads(result["payload"])["reason"]


def test_people_are_told_at_once_why_an_effect_failed(townctl: Townctl) -> None:
    """`effects: 1 succeeded, 1 failed` left a new user alone with a bead that never moved."""
    shown = townctl.with_work()("tick", "alpha")
    assert shown.code == 0
    assert "1 failed\n  dispatch: no program for agents is set: townctl run --agent" in shown.out


def test_the_agent_command_is_remembered(townctl: Townctl) -> None:
    townctl.with_work()
    townctl.document("tick", "alpha", "--agent-command", "true --and 'two words'")
    program = json.loads((townctl.data / ".agents" / "program.json").read_text())
    assert program["command"] == ["true", "--and", "two words"]
    townctl.document("tick", "alpha", "--force")
    [row] = [tick["row"] for tick in townctl.document("ticks", "alpha", "--after", "1")["ticks"]]
    [result] = [event for event in row["inputs"]["new_events"] if event["event_type"] == "dispatch_result"]
    assert json.loads(result["payload"])["outcome"] == "started"


def test_an_agent_program_is_remembered_by_its_full_path_and_missed_when_it_is_gone(
    townctl: Townctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that did not exist was stored, every start failed, and the doctor was content."""
    program = tmp_path / "agent"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    townctl.document("town", "create", "alpha")
    townctl.document("run", "--once", "--agent-command", "./agent --x")
    assert json.loads((townctl.data / ".agents" / "program.json").read_text())["command"] == [str(program), "--x"]
    program.unlink()
    doctor = townctl("doctor", "--json")
    assert doctor.code == 1
    assert [(f["check"], f["subject"]) for f in doctor.document["findings"]] == [("agent program", str(program))]


def test_a_run_whose_effects_failed_says_so_and_ends_with_1(townctl: Townctl) -> None:
    townctl.with_work()
    done = townctl("run", "--once")
    assert done.code == 1
    assert "1 pass: 1 tick committed\nalpha: 1 effect failed; `townctl event list alpha` shows why" in done.out
    assert list(townctl("run", "--once", "--json").document["failing"]) == []


def test_the_doctor_finds_nothing_in_a_healthy_directory(townctl: Townctl) -> None:
    townctl.with_work()
    townctl.document("tick", "alpha")
    assert townctl.document("doctor")["findings"] == []
    assert townctl.document("doctor", "alpha")["towns"] == ["alpha"]
    assert "nothing is wrong" in townctl("doctor").out


def test_the_doctor_finds_lost_and_strange_markers(townctl: Townctl) -> None:
    townctl.with_work()
    for marker in (townctl.data / "due").rglob("alpha"):
        marker.unlink()
    (townctl.data / "due" / "20260101T000000Z").mkdir()
    (townctl.data / "due" / "20260101T000000Z" / "nobody").touch()
    found = townctl("doctor", "--json")
    assert found.code == 1
    assert [(f["townId"], f["check"]) for f in found.document["findings"]] == [
        ("alpha", "due marker"),
        ("nobody", "due marker"),
    ]


def test_the_doctor_reads_every_row(townctl: Townctl) -> None:
    """A bead whose labels are no list stands in an image whose seals all hold."""
    townctl.with_work()
    townctl.document("tick", "alpha")
    store = ObjectTownStore(DirectoryObjects(townctl.data))
    image = stored(townctl.data)
    sql = database.open_image(image.image)
    sql.execute("UPDATE beads SET labels = '{}' WHERE bead_id = 'b1'")
    sql.execute("UPDATE beads SET updated_at = 'yesterday' WHERE type = 'agent'")
    sql.execute("DELETE FROM ticks")
    sql.execute("UPDATE town SET value = '99' WHERE key = 'tick_no'")
    drive(store.commit(image, database.image_of(sql), image.facts))
    database.close(sql)

    found = townctl("doctor", "--json")
    assert found.code == 1
    checks = {(finding["check"], finding["subject"].split()[0]) for finding in found.document["findings"]}
    assert {("rows", "beads"), ("values", "beads"), ("manifest", "tick_no")} <= checks
    assert all(finding["hint"] for finding in found.document["findings"])
    assert townctl("town", "status", "alpha").code == 1


def test_the_doctor_survives_an_image_whose_keys_cannot_be_read(townctl: Townctl) -> None:
    townctl.document("town", "create", "alpha")
    store = ObjectTownStore(DirectoryObjects(townctl.data))
    image = stored(townctl.data)
    sql = database.open_image(image.image)
    sql.execute("UPDATE town SET value = '5' WHERE key = 'config'")
    drive(store.commit(image, database.image_of(sql), image.facts))
    database.close(sql)
    assert townctl("doctor", "--json").code == 1


def test_text_of_a_town_cannot_play_with_the_terminal(townctl: Townctl) -> None:
    townctl.document("town", "create", "alpha")
    title = "[red]bold\x1b[2J\x07[/red]"
    townctl.post("bead_created", {"bead": {"bead_id": "b1", "type": "issue", "title": title}})
    townctl.document("tick", "alpha")
    shown = townctl("town", "status", "alpha").out
    assert "\x1b" not in shown
    assert "[red]bold\N{REPLACEMENT CHARACTER}[2J" in shown
    assert plain("a\nb") == "a\N{REPLACEMENT CHARACTER}b"


def test_the_data_directory_comes_from_the_option_else_from_the_environment(
    townctl: Townctl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    townctl.document("town", "create", "alpha")
    monkeypatch.setenv("TOWNCTL_DATA", str(townctl.data))
    assert main.run(["town", "list", "--json"]) == 0
    assert [town["townId"] for town in json.loads(capsys.readouterr().out)["towns"]] == ["alpha"]
    monkeypatch.setenv("TOWNCTL_DATA", str(townctl.data / "elsewhere"))
    assert townctl("town", "list").code == 0


def an_hour_ahead(townctl: Townctl) -> datetime:
    """Alpha, a town on its own clock, which is an hour ahead; its time."""
    townctl.document("town", "create", "alpha")
    store = ObjectTownStore(DirectoryObjects(townctl.data))
    image = stored(townctl.data)
    sql = database.open_image(image.image)
    sql.execute("UPDATE town SET value = '\"own\"' WHERE key = 'clock'")
    ahead = image.facts.time + timedelta(hours=1)
    facts = type(image.facts)("0-ahead", 0, ahead, ahead, image.facts.schema_version)
    drive(store.commit(image, database.image_of(sql), facts))
    database.close(sql)
    return ahead


def test_a_town_that_a_faster_clock_left_in_the_future_goes_on_from_there(townctl: Townctl) -> None:
    """Else a town of the demo would stand still until the wall has caught up."""
    ahead = an_hour_ahead(townctl)
    ticked = townctl.document("tick", "alpha")["now"]
    assert from_text(ticked) >= ahead
    assert townctl.document("town", "status", "alpha")["now"] > to_text(ahead)
    # The end of the window is the present; a second clock of the town, made later, once read an earlier time than the first.
    assert townctl.document("replay", "alpha", "--from", ticked)["eventsReplayed"] == 0


@pytest.mark.parametrize(
    "words", [("ticks", "alpha"), ("bead", "list", "alpha"), ("event", "list", "alpha"), ("explain", "bead", "b1")]
)
def test_no_list_shows_the_past_of_a_town_with_its_own_clock_as_the_future(
    townctl: Townctl, words: tuple[str, ...]
) -> None:
    """`ticks` of a town an hour ahead said that its last tick was in 59 min."""
    an_hour_ahead(townctl)
    townctl.post("bead_created", {"bead": {"bead_id": "b1", "type": "issue", "title": "Do it", "labels": ["gt:held"]}})
    townctl("tick", "alpha", "--force")
    shown = townctl(*words).out
    assert "ago" in shown
    assert re.search(r"(?<!due )in \d+ (s|min|h)", shown) is None
    assert re.search(r"times are those of the town's own clock, (59 min|1 h) ahead of this machine", shown)


def test_the_towns_and_the_status_say_that_a_clock_is_ahead(townctl: Townctl) -> None:
    an_hour_ahead(townctl)
    listed = townctl("town", "list").out
    assert "0 s ago" in listed
    assert re.search(r"clock ahead by\n.*\n.* (59 min|1 h)\n", listed)
    assert re.search(r"on its own clock \((59 min|1 h) ahead of this machine\)", townctl("town", "status", "alpha").out)


def test_an_alert_that_cannot_be_written_stops_nobody() -> None:
    def full(line: str) -> None:
        raise OSError("no space left on device")

    alert = Alert("event_poisoned", "a poisoned event\nof two lines", ("x",), {"townId": "t1"}, {"n": 1})
    AlertLog(full, FakeClock(T)).raise_all([alert])
    lines: list[str] = []
    AlertLog(lines.append, FakeClock(T)).raise_all([alert, alert])
    assert len(lines) == 2
    assert "\n" not in lines[0]
    assert json.loads(lines[0])["at"] == to_text(T)


def test_every_command_has_a_sentence_of_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in ("demo", "doctor", "dry-run", "event", "run", "tick", "ticks", "town"):
        assert re.search(rf"^  {command} .*\w", shown, re.MULTILINE), command
    for words in (["town", "create"], ["event", "post"], ["event", "redrive"], ["tick"], ["run"], ["demo"], ["doctor"]):
        assert main.run([*words, "--help"]) == 0
        assert f"townctl {' '.join(words)}" in capsys.readouterr().out


def test_the_help_of_a_command_begins_with_its_own_options(capsys: pytest.CaptureFixture[str]) -> None:
    """Six options that every command has stood before the one that was looked for."""
    assert main.run(["tick", "--help"]) == 0
    own, common, place = capsys.readouterr().out.partition("With every command")
    assert common
    assert "--force" in own
    assert "--data" not in own
    assert "--data" in place


def every_command() -> set[str]:
    return {command.name for command in COMMANDS}


def commands_told(page: str) -> set[str]:
    """The commands in the first column of a page's tables."""
    told = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `")]
    return {name.strip() for name in re.findall(r"`([a-z]+(?:[ -][a-z]+)*)", "\n".join(told))}


def test_the_page_of_townctl_tells_what_every_command_does() -> None:
    page = (REPOSITORY / "docs/runbook/townctl.md").read_text().partition("## Where they work")[0]
    assert every_command() - commands_told(page) == set()


def test_the_readme_names_only_commands_that_there_are_and_files_that_there_are() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    told = commands_told(readme.partition("## townctl")[2].partition("Every tick can be run again")[0])
    assert len(told) >= 8
    assert told - every_command() == set()
    links = re.findall(r"\]\(([^)]+)\)", readme)
    assert [link for link in links if not (REPOSITORY / link).exists()] == []
    assert len(links) >= 6


def test_a_program_that_is_gone_is_what_beads_wait_for(townctl: Townctl, tmp_path: Path) -> None:
    """The start was tried and counted as a failed one, and nobody was told at the beginning."""
    program = tmp_path / "agent"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    townctl.document("town", "create", "alpha")
    townctl.document("run", "--once", "--agent-command", str(program))
    program.unlink()
    townctl.post("rig_registered", RIG)
    townctl.post("bead_created", {"bead": {"bead_id": "b1", "type": "issue", "title": "Do it", "rig_id": "rig-1"}})
    for _ in range(2):
        townctl("run", "--once")
        townctl("tick", "alpha", "--force")
    status = townctl("town", "status", "alpha", "--json")
    assert status.document["waitingSummary"] == {"no_agent_program": 1}
    assert (status.code, [each["kind"] for each in status.document["attention"]]) == (1, ["waits"])
    shown = townctl("run", "--once")
    said = shown.out + shown.err
    assert f"the program that local agents run does not exist: {program}; set it again" in said


def test_a_run_without_a_program_says_so_at_its_start(townctl: Townctl) -> None:
    townctl.with_work()
    shown = townctl("run", "--once")
    said = shown.out + shown.err
    assert "no program for agents is set; townctl run --agent opencode" in said
