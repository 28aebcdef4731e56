"""`town-agent`: what an agent reports, through the API or into a directory, and what the town does with it."""

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.agents.posting import NotPosted, patiently, poster_from
from infra.agents.town_agent.main import NOT_POSTED, OK, REFUSED, run
from infra.demo import agent
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.local_state import GenerationFiles
from tests.agent_places import Place, a_working_town, wall
from tests.events_api import EventsApi, an_events_api
from tests.fakes import FakeClock
from tests.towns import T, a_town
from tests.worlds import a_world


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_work_that_is_reported_done_goes_to_review(place: Place) -> None:
    place.with_town(a_working_town())
    assert place.says("done", "--branch", "gt/toast/b1", "--summary", "All of it.") == OK
    town = place.ticks()
    assert town.status("b1") == "in_review"
    assert town.rows("SELECT branch FROM review_metadata") == [("gt/toast/b1",)]


def test_done_needs_a_branch_and_takes_the_one_of_the_order(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.with_town(a_working_town())
    assert place.says("done") == REFUSED
    assert "--branch" in capsys.readouterr().err
    other = json.loads((place.root / "agent" / "context.json").read_text()) | {"branch": "gt/old"}
    (place.root / "agent" / "context.json").write_text(json.dumps(other))
    assert place.says("done") == OK
    assert place.ticks().rows("SELECT branch FROM review_metadata") == [("gt/old",)]


def a_clone(place: Path) -> tuple[Path, dict[str, str]]:
    """A clone in which a polecat has pushed two commits, and the hashes of its start and head."""
    where = place / "clone"

    def git(*words: str) -> str:
        who = ["-c", "user.name=T", "-c", "user.email=t@town.invalid", "-c", "commit.gpgSign=false"]
        return subprocess.run(
            ["git", *who, *words], cwd=where, check=True, capture_output=True, text=True
        ).stdout.strip()

    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(place / "o.git")], check=True)
    subprocess.run(["git", "clone", "--quiet", str(place / "o.git"), str(where)], check=True, capture_output=True)
    hashes = {}
    for name, branch in (("base", "main"), ("first", "gt/toast/b1"), ("head", "gt/toast/b1")):
        git("commit", "--quiet", "--allow-empty", "-m", name)
        git("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}")
        hashes[name] = git("rev-parse", "HEAD")
    return where, hashes


def payload_of(place: Place) -> dict[str, Any]:
    """What the town was told last."""
    place.ticks()
    told = place.world.journal()[-1]["inputs"]["new_events"][-1]["payload"]
    return dict(json.loads(told) if isinstance(told, str) else told)


def test_a_worker_reports_the_head_and_the_merge_base_of_its_branch(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, hashes = a_clone(tmp_path)
    monkeypatch.chdir(where)
    place.with_town(a_working_town(), target_branch="main")
    assert place.says("done", "--branch", "gt/toast/b1") == OK
    said = payload_of(place)
    assert (said["head"], said["base"], "merge_commit" in said) == (hashes["head"], hashes["base"], False)


def test_a_refinery_reports_the_head_that_it_checked_out_and_the_commit_that_merged_it(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    where, hashes = a_clone(tmp_path)
    monkeypatch.chdir(where)
    subprocess.run(["git", "checkout", "--quiet", "--detach", hashes["first"]], check=True)
    town = a_town().bead("b1", status="in_review").review("m1", "in_progress", of="b1")
    place.with_town(
        town.agent("a1", "refinery", "working", hook="m1", generation=4),
        role="refinery",
        bead={"id": "m1"},
        target_branch="main",
    )
    assert place.says("done", "--branch", "gt/toast/b1") == OK
    said = payload_of(place)
    assert (said["head"], said["merge_commit"], "base" in said) == (hashes["first"], hashes["base"], False)


def test_a_directory_without_a_clone_says_nothing_about_commits(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    place.with_town(a_working_town(), target_branch="main")
    assert place.says("done", "--branch", "gt/toast/b1") == OK
    assert payload_of(place).keys().isdisjoint({"head", "base", "merge_commit"})


def test_the_same_report_twice_is_one_event_and_another_one_is_not_lost(place: Place) -> None:
    place.with_town(a_working_town())
    for _ in range(2):
        place.says("done", "--branch", "one")
    place.says("done", "--branch", "two")
    place.ticks()
    events = [e["event_id"] for e in place.world.journal()[-1]["inputs"]["new_events"]]
    assert len(events) == 2


def test_a_status_and_a_heartbeat_show_what_the_agent_does(place: Place) -> None:
    place.with_town(a_working_town())
    assert place.says("status", "Reading", " the\n code ") == OK
    assert place.says("heartbeat", "--tool", "git", "--tool", "pytest") == OK
    town = place.ticks()
    shown = town.one("agent_metadata", "a1", "agent_status_message", "last_event_type", "active_tools")
    assert shown == ("Reading the code", "tool_use", '["git","pytest"]')


def test_a_heartbeat_of_an_older_generation_changes_nothing(place: Place) -> None:
    place.with_town(a_working_town().update("agent_metadata", "a1", generation=5))
    assert place.says("heartbeat", "--tool", "git") == OK
    assert place.ticks().one("agent_metadata", "a1", "active_tools") == "[]"


def test_a_refinery_asks_for_changes(place: Place) -> None:
    town = a_town().bead("b1", status="in_review").review("mr", "in_progress", of="b1")
    place.with_town(town.agent("a1", "refinery", "working", hook="mr", generation=4), role="refinery")
    assert place.says("request-changes", "--feedback", "Test it.", "--file", "a.py", "--file", "b.py") == OK
    town = place.ticks()
    [(bead_id, body)] = town.rows("SELECT bead_id, body FROM beads WHERE labels = '[\"gt:rework\"]'")
    assert body == "Test it."
    assert town.metadata(bead_id)["files"] == ["a.py", "b.py"]


def test_a_mayor_that_waits_is_waiting_and_every_role_leaves_a_note_for_the_runtime(place: Place) -> None:
    town = a_town().update("agent_metadata", "mayor", status="working", generation=4)
    place.with_town(town, agent_id="mayor", role="mayor", bead=None, rig=None)
    assert place.says("waiting") == OK
    assert place.ticks().doing("mayor") == ("waiting", None)
    assert json.loads((place.root / "agent" / "waiting.json").read_text())["since"].startswith("2026-01-10T12:00")


def test_a_mayor_answers_a_message_once_and_says_what_people_must_know(place: Place) -> None:
    town = a_town().bead("m", "message", "closed", assignee_agent_bead_id="mayor")
    place.with_town(town, agent_id="mayor", role="mayor", bead=None)
    assert [place.says("say", "--reply-to", "m", "All", "is well.") for _ in range(2)] == [OK, OK]
    assert place.says("say", "The forge is slow.") == OK
    assert place.ticks().rows(
        "SELECT body, status, created_by, json_extract(metadata, '$.in_reply_to') FROM beads "
        "WHERE type = 'message' AND bead_id <> 'm' ORDER BY body"
    ) == [("All is well.", "closed", "mayor", "m"), ("The forge is slow.", "closed", "mayor", None)]
    assert place.says("say", " ") == REFUSED


def test_messages_are_shown_once_and_a_nudge_is_acknowledged(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    nudge = "00000000-0000-8000-8000-000000000001"
    town = a_working_town().insert(
        "agent_nudges", nudge_id=nudge, agent_bead_id="a1", message="Are you there?", created_at=T
    )
    place.with_town(town)
    mailbox = GenerationFiles(place.root / "agent", 4)
    mailbox.deliver(nudge, {"message_id": nudge, "text": "Are you there?", "mode": "immediate"})
    mailbox.deliver("f" * 64, {"message_id": "f" * 64, "text": "A word to the mayor.", "mode": "queue"})
    assert place.says("messages") == OK
    assert sorted(capsys.readouterr().out.splitlines()) == ["A word to the mayor.", "Are you there?"]
    assert place.says("messages") == OK
    assert capsys.readouterr().out == ""
    assert place.ticks().one("agent_nudges", nudge, "delivered_at") is not None
    assert mailbox.has_message(nudge)


def test_an_agent_files_a_bead_with_labels(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.with_town(a_working_town())
    words = ("bead", "create", "--title", "Clean up", "--label", "gt:held", "--label", "later", "--priority", "low")
    for _ in range(2):
        assert place.says(*words, "--metadata", "why=mess") == OK
    [bead_id] = set(capsys.readouterr().out.split())
    town = place.ticks()
    shown = town.one("beads", bead_id, "title", "labels", "priority", "rig_id", "created_by")
    assert shown == ("Clean up", '["gt:held","later"]', "low", "rig-1", "a1")
    assert town.metadata(bead_id) == {"why": "mess"}


@pytest.mark.parametrize(
    "words",
    [("--convoy", "v"), ("--depends-on", "b"), ("--rig", "rig-2"), ("--label", "gt:triage")],
    ids=lambda words: words[0],
)
def test_what_a_polecat_may_not_decide_is_refused_before_it_is_posted(
    place: Place, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    place.with_town(a_working_town())
    assert place.says("bead", "create", "--title", "Clean up", *words) == REFUSED
    assert f"leave out {words[0]}" in capsys.readouterr().err


def test_a_mayor_releases_one_proposal_and_ends_another(place: Place) -> None:
    town = a_town().bead("yes", labels=["gt:held", "ui"], rig_id=None).bead("no", labels=["gt:held"])
    place.with_town(town, agent_id="mayor", role="mayor", bead=None, rig=None)
    assert place.says("bead", "release", "yes") == OK
    assert place.says("bead", "cancel", "no") == OK
    after = place.ticks()
    assert (after.one("beads", "yes", "status", "labels"), after.status("no")) == (("open", '["ui"]'), "closed")


def test_a_mayor_plans_a_convoy_in_order(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.with_town(a_town(), agent_id="mayor", role="mayor", bead=None, rig=None)
    words = ("convoy", "create", "--title", "Build", "--task", "first", "--task", "second", "--in-order", "--staged")
    assert place.says(*words) == REFUSED
    assert "--rig" in capsys.readouterr().err
    assert place.says(*words, "--rig", "rig-1") == OK
    convoy_id = capsys.readouterr().out.strip()
    town = place.ticks()
    assert town.one("convoy_metadata", convoy_id, "staged") == 1
    edges = town.rows("SELECT count(*) FROM bead_dependencies WHERE dependency_type = 'blocks'")
    assert edges == [(1,)]


def test_a_triage_request_is_answered(place: Place) -> None:
    town = a_working_town().bead("q1", labels=["gt:triage-request"], metadata={"triage_type": "stuck_agent"})
    place.with_town(town, prompt_kind="triage")
    assert place.says("triage", "q1", "--action", "NUDGE", "--notes", "wake") == OK
    assert place.ticks().status("q1") == "closed"


def test_an_agent_that_gives_up_fails_its_bead_with_its_reason(place: Place) -> None:
    place.with_town(a_working_town())
    assert place.says("give-up", "--reason", "The library does not exist.") == OK
    town = place.ticks()
    assert (town.status("b1"), town.doing("a1")) == ("failed", ("idle", None))


def test_an_escalation_has_its_first_line_as_title(place: Place) -> None:
    place.with_town(a_working_town())
    assert place.says("escalate", "--severity", "high", "Which licence?\nThe two files disagree.") == OK
    (raised,) = place.ticks().rows("SELECT title, body, priority, created_by FROM beads WHERE type = 'escalation'")
    assert raised == ("Which licence?", "Which licence?\nThe two files disagree.", "high", "a1")


def test_a_final_report_leaves_a_note_for_the_driver_once_it_is_acknowledged(place: Place) -> None:
    place.with_town(a_working_town())
    note = place.root / "agent" / "reported.json"
    assert place.says("status", "still busy") == OK
    assert place.says("done", "--branch", "b", TOWNCTL_DATA=str(place.root / "nowhere")) == REFUSED
    assert not note.exists()
    assert place.says("done", "--branch", "b") == OK
    said = json.loads(note.read_text())
    assert (said["event_type"], said["generation"]) == ("agent_done", 4)
    (stored,) = place.ticks().rows("SELECT event_id FROM town_events WHERE event_type = 'agent_done'")
    assert stored == (said["event_id"],)


@pytest.mark.parametrize(
    ("role", "words", "instead"),
    [
        ("polecat", ["convoy", "start", "c1"], "mail send --to mayor"),
        ("polecat", ["request-changes", "--feedback", "x"], "escalate"),
        ("refinery", ["bead", "create", "--title", "x"], "request-changes"),
        ("refinery", ["triage", "q1", "--action", "RESTART"], "escalate"),
        ("mayor", ["done", "--branch", "b"], "waiting"),
    ],
)
def test_a_verb_that_the_role_does_not_have_is_refused_before_it_is_posted_and_the_right_way_is_named(
    place: Place, capsys: pytest.CaptureFixture[str], role: str, words: list[str], instead: str
) -> None:
    place.with_town(a_working_town(), role=role)
    assert place.says(*words) == REFUSED
    said = capsys.readouterr().err
    assert f"this agent is a {role}" in said
    assert instead in said
    assert place.world.inbox() == ()


def test_a_mayor_that_reopens_a_bead_twice_is_heard_twice(place: Place) -> None:
    """The id of the event was made of the content alone, so the town took the second one for a repetition."""
    town = a_town().bead("b1", status="failed").update("agent_metadata", "mayor", status="working")
    place.with_town(town, agent_id="mayor", role="mayor", bead=None, rig=None)
    for hour in (1, 2):
        now = f"scaled {(T + timedelta(hours=hour)).isoformat()} {wall()!r} 0.000001"
        assert place.says("bead", "reopen", "b1", "--reason", "again", TOWN_CLOCK=now) == OK
        assert place.ticks().status("b1") == "in_progress"
        assert place.says("bead", "cancel", "b1", "--status", "failed", TOWN_CLOCK=now) == OK
        assert place.ticks().status("b1") == "failed"


@pytest.mark.parametrize(
    ("role", "words", "event"),
    [
        ("polecat", ["mail", "send", "--to", "mayor", "--subject", "Parser", "Which grammar?"], "mail_sent"),
        ("polecat", ["checkpoint", '{"done": ["lexer"]}'], "agent_checkpoint"),
        ("mayor", ["mail", "send", "--to", "a1", "Use the old grammar."], "mail_sent"),
        (
            "mayor",
            ["bead", "update", "b1", "--title", "Lexer", "--metadata", "area=front", "--metadata", "old="],
            "bead_updated",
        ),
        ("mayor", ["convoy", "change", "c1", "--add", "b2"], "convoy_changed"),
        ("mayor", ["convoy", "close", "c1"], "convoy_closed"),
        ("mayor", ["agent", "nudge", "a1", "Mind the tests."], "agent_nudged"),
        ("mayor", ["agent", "reset", "a1"], "agent_reset"),
        ("mayor", ["ack", "e1"], "escalation_acknowledged"),
    ],
)
def test_the_town_applies_what_its_holder_may_say(place: Place, role: str, words: list[str], event: str) -> None:
    town = a_working_town().bead("b2").bead("b3").convoy("c1", tracked=["b3"]).bead("e1", "escalation")
    town.insert("escalation_metadata", bead_id="e1", severity="high")
    mayor = {"agent_id": "mayor", "role": "mayor", "bead": None} if role == "mayor" else {}
    place.with_town(town.update("agent_metadata", "mayor", status="working", generation=4), **mayor)
    assert place.says(*words) == OK
    ticked = place.ticks()
    assert ticked.rows("SELECT outcome FROM town_events WHERE event_type = ?", event) == [("applied",)]


def test_a_checkpoint_that_is_json_is_kept_as_such(place: Place) -> None:
    place.with_town(a_working_town())
    assert place.says("checkpoint", '{"done": ["lexer"]}') == OK
    assert json.loads(place.ticks().one("agent_metadata", "a1", "checkpoint")) == {"done": ["lexer"]}


def test_a_mayor_plans_a_convoy_with_descriptions(place: Place) -> None:
    town = a_town().update("agent_metadata", "mayor", status="working")
    place.with_town(town, agent_id="mayor", role="mayor", bead=None)
    tasks = [{"title": "Lexer", "body": "Reads words."}, {"title": "Parser", "depends_on": [0]}]
    assert place.says("convoy", "create", "--title", "P", "--id", "c1", "--staged", "--tasks", json.dumps(tasks)) == OK
    town = place.ticks()
    assert town.rows("SELECT title, body FROM beads WHERE type = 'issue' ORDER BY title") == [
        ("Lexer", "Reads words."),
        ("Parser", None),
    ]
    assert place.says("convoy", "start", "c1") == OK
    assert place.ticks().one("convoy_metadata", "c1", "staged") == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dance"], "'dance' is not a command"),
        ([], "a command is required"),
        (["bead"], "bead needs a second word: bead create, bead update"),
        (["bead", "fly"], "bead has no 'fly'"),
        (["status"], "required"),
        (["bead", "create"], "--title"),
        (["bead", "create", "--title", "x", "--metadata", "novalue"], "KEY=VALUE"),
        (["status", " "], "TEXT is empty"),
        (["give-up", "--reason", " "], "the reason is empty"),
    ],
)
def test_wrong_usage_is_refused_with_the_reason(
    place: Place, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    place.with_town(a_working_town())
    assert place.says(*words) == REFUSED
    assert said in capsys.readouterr().err


def test_without_a_start_file_or_a_way_to_the_town_the_error_names_what_is_missing(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["waiting"], {}) == REFUSED
    assert "TOWN_AGENT_CONTEXT is not set" in capsys.readouterr().err
    place.with_town(a_working_town())
    assert place.says("waiting", TOWNCTL_DATA="") == REFUSED
    assert "TOWN_API" in capsys.readouterr().err
    (place.root / "agent" / "context.json").write_text("{}")
    assert place.says("waiting") == REFUSED
    assert "is not a start file" in capsys.readouterr().err


def test_an_event_that_the_town_refuses_for_good_is_not_retried(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """A bead with a title that is too long."""
    place.with_town(a_working_town())
    with an_events_api(place.world.objects, place.world.clock) as api:
        assert place.says(*("bead", "create", "--title", "x" * 5000), **_way(place, api)) == REFUSED
        assert len(api.seen) == 1
    assert "413" in capsys.readouterr().err


def test_an_event_that_a_directory_refuses_for_good_is_not_retried_either(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """It was posted five times in half a minute, and the exit code said "try again"."""
    place.with_town(a_working_town())
    assert place.says("bead", "create", "--title", "x" * 5000) == REFUSED
    assert "title" in capsys.readouterr().err


def _way(place: Place, api: EventsApi) -> dict[str, str]:
    token = place.root / "token"
    token.write_text(api.token + "\n")
    return {"TOWN_API": api.address, "TOWN_TOKEN_FILE": str(token), "TOWNCTL_DATA": ""}


def test_over_the_api_a_report_carries_the_newest_token(place: Place) -> None:
    place.with_town(a_working_town())
    with an_events_api(place.world.objects, place.world.clock) as api:
        way = _way(place, api)
        assert place.says("done", "--branch", "b", **way) == OK
        api.token = "another"
        (place.root / "token").write_text("another")
        assert place.says("status", "fine", **way) == OK
    assert [path for path, _ in api.seen] == ["/api/towns/t1/events"] * 2
    assert place.ticks().status("b1") == "in_review"


def test_a_report_is_retried_until_the_api_accepts_it(tmp_path: Path) -> None:
    world = a_world(a_town(), objects=DirectoryObjects(tmp_path))
    with an_events_api(world.objects, world.clock) as api:
        api.fails = [503, 429, 401]
        environment = {"TOWN_API": api.address, "TOWN_TOKEN": api.token}
        clock = FakeClock(T)
        poster = poster_from(environment, town_id="t1", clock=clock)
        event = {"event_id": "bead-e-1", "event_type": "bead_cancelled", "bead_id": "b1", "payload": {}}
        patiently(lambda: poster.post([event]), clock=clock)
        assert len(api.seen) == 4
        assert len(world.inbox()) == 1


def test_without_a_token_nothing_is_sent(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.with_town(a_working_town())
    with an_events_api(place.world.objects, place.world.clock) as api:
        environment = {"TOWN_API": api.address, "TOWN_TOKEN_FILE": str(place.root / "missing")}
        with pytest.raises(NotPosted, match="no town token"):
            poster_from(environment, town_id="t1", clock=FakeClock(T)).post([])
        assert place.says("status", "fine", **environment) == NOT_POSTED
        assert api.seen == []
    assert api.token not in capsys.readouterr().err


def test_it_runs_as_a_command(place: Place) -> None:
    """As an agent calls it: a process of its own, `python -m infra.agents.town_agent.main`."""
    place.with_town(a_working_town())
    words = [sys.executable, "-m", "infra.agents.town_agent.main", "status", "hello"]
    environment = {**place.environment, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(words, check=False, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (OK, "")
    assert place.ticks().one("agent_metadata", "a1", "agent_status_message") == "hello"


def test_a_demo_agent_that_is_the_mayor_reads_and_waits(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A town starts its mayor when there is a message for it, so a demo agent must be able to act as mayor."""
    town = a_town().update("agent_metadata", "mayor", status="working")
    place.with_town(town, agent_id="mayor", role="mayor", bead=None, rig=None, message="A bead failed.")
    for name, value in {**place.environment, "TOWN_AGENT_PACE": "0"}.items():
        monkeypatch.setenv(name, value)
    assert agent.main() == OK
    assert "A bead failed." in capsys.readouterr().out
    assert place.ticks().doing("mayor") == ("waiting", None)
