"""What people do with beads, convoys, agents and settings on the command line: each is an event with an outcome."""

import json
from pathlib import Path

import pytest

from tests.integration.townctl_calls import RIG, Townctl


@pytest.fixture
def town(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Townctl:
    """Alpha: a town with one rig and a mayor."""
    townctl = Townctl(tmp_path / "data", capsys)
    townctl.document("town", "create", "alpha")
    townctl.post("rig_registered", RIG)
    townctl("tick", "alpha", "--force")
    return townctl


def outcome(town: Townctl, event_type: str) -> str:
    """What came of the newest event of a type, after a tick."""
    town("tick", "alpha", "--force")
    newest = town.document("event", "list", "alpha", "--type", event_type)["events"][0]
    return str(newest["outcome"])


def status_of(town: Townctl, bead: str) -> str:
    return str(town.document("bead", "show", "alpha", bead)["bead"]["status"])


def test_a_bead_is_created_changed_cancelled_and_tried_again(town: Townctl) -> None:
    town.document("bead", "create", "alpha", "Fix the door", "--held", "--id", "door", "--priority", "low")
    assert outcome(town, "bead_created") == "applied"
    bead = town.document("bead", "list", "alpha", "--text", "Fix the door")["beads"][0]
    assert (bead["beadId"], bead["rigId"], bead["priority"], bead["labels"]) == ("door", "rig-1", "low", ["gt:held"])

    town.document("bead", "update", "alpha", "door", "--title", "Mend the door", "--priority", "high")
    assert outcome(town, "bead_updated") == "applied"
    assert town.document("bead", "show", "alpha", "door")["bead"]["title"] == "Mend the door"

    town.document("bead", "cancel", "alpha", "door", "--by", "ann")
    assert (outcome(town, "bead_cancelled"), status_of(town, "door")) == ("applied", "failed")
    town.document("bead", "reopen", "alpha", "door", "--reason", "wanted after all")
    assert (outcome(town, "bead_reopened"), status_of(town, "door")) == ("applied", "open")
    town.document("bead", "cancel", "alpha", "door", "--not-needed")
    assert (outcome(town, "bead_cancelled"), status_of(town, "door")) == ("applied", "closed")


def test_a_convoy_is_created_changed_started_and_closed(town: Townctl, tmp_path: Path) -> None:
    tasks = tmp_path / "tasks.json"
    tasks.write_text(json.dumps([{"title": "Lay the floor"}, {"title": "Fit the sink", "depends_on": [0]}]))
    town.document("convoy", "create", "alpha", "A new kitchen", str(tasks), "--staged", "--id", "kitchen")
    assert outcome(town, "convoy_created") == "applied"
    town.document("bead", "create", "alpha", "Paint the wall", "--held", "--id", "wall")
    town("tick", "alpha", "--force")
    town.document("convoy", "add", "alpha", "kitchen", "wall")
    assert outcome(town, "convoy_changed") == "applied"
    assert town.document("convoy", "list", "alpha")["convoys"][0]["total"] == 3
    town.document("convoy", "remove", "alpha", "kitchen", "wall")
    assert outcome(town, "convoy_changed") == "applied"
    town.document("convoy", "edit", "alpha", "kitchen", "--title", "The kitchen", "--mode", "review-and-merge")
    assert outcome(town, "convoy_changed") == "applied"
    assert town.document("convoy", "list", "alpha")["convoys"][0]["title"] == "The kitchen"
    town.document("convoy", "start", "alpha", "kitchen")
    assert outcome(town, "convoy_started") == "applied"
    town.document("convoy", "close", "alpha", "kitchen")
    assert (outcome(town, "convoy_closed"), status_of(town, "kitchen")) == ("applied", "closed")


def test_each_act_says_who_asked_for_it(town: Townctl, tmp_path: Path) -> None:
    """`bead reopen` had --by, `setting set` had not, so nothing said who had changed a setting."""
    tasks = tmp_path / "tasks.json"
    tasks.write_text(json.dumps([{"title": "Lay the floor"}]))
    acts = {
        "bead_created": ("bead", "create", "alpha", "Paint the wall", "--held", "--id", "wall"),
        "bead_updated": ("bead", "update", "alpha", "wall", "--priority", "high"),
        "convoy_created": ("convoy", "create", "alpha", "A kitchen", str(tasks), "--staged", "--id", "kitchen"),
        "convoy_changed": ("convoy", "add", "alpha", "kitchen", "wall"),
        "convoy_started": ("convoy", "start", "alpha", "kitchen"),
        "town_configured": ("setting", "set", "alpha", "hook_limit_hours", "5"),
    }.items()
    of_a_rig = ("town_configured", ("setting", "set", "alpha", "upstream", "acme/upstream", "--rig", "rig-1"))
    for event_type, words in (*acts, of_a_rig):
        town.document(*words, "--by", "ann")
        assert outcome(town, event_type) == "applied"
        newest = town.document("event", "list", "alpha", "--type", event_type)["events"][0]
        assert newest["by"] == "ann"
        assert newest["tick"] is not None
    audit = town.document("bead", "show", "alpha", "wall")["bead"]["audit"]
    assert {line["agentId"] for line in audit if line["eventType"] == "fields_updated"} == {"ann"}
    assert town.document("setting", "show", "alpha", "hook_limit_hours")["changes"][0]["by"] == "ann"


def paused(town: Townctl, town_id: str) -> bool:
    town("tick", town_id, "--force")
    return bool(town.document("town", "status", town_id)["paused"])


def test_a_town_is_paused_and_started(town: Townctl) -> None:
    town.document("pause", "alpha", "--by", "ann", "--stop-agents")
    assert paused(town, "alpha")
    brake = town.document("town", "status", "alpha")["brake"]
    assert (brake["by"], brake["stoppedAgents"]) == ("ann", True)
    town.document("start", "alpha")
    assert not paused(town, "alpha")
    assert town.document("town", "status", "alpha")["brake"] is None


def test_all_towns_are_paused_and_those_that_never_ran_are_not_started_with_the_others(town: Townctl) -> None:
    town.document("town", "create", "beta", "--paused")
    told = town.document("pause", "--all")["towns"]
    assert [each["townId"] for each in told] == ["alpha", "beta"]
    assert paused(town, "alpha")
    started = town.document("start", "--all")["towns"]
    assert [each["accepted"] is None for each in started] == [False, True]
    assert "has not run here" in started[1]["left"]
    assert (paused(town, "alpha"), paused(town, "beta")) == (False, True)


def test_a_town_that_cannot_be_reached_keeps_no_other_from_being_started(town: Townctl) -> None:
    town.document("town", "create", "beta")
    town.document("pause", "beta")
    assert paused(town, "beta")
    (town.data / "towns" / "alpha" / "head").write_bytes(b"damaged")
    called = town("start", "--all", "--json")
    assert called.code == 1
    assert [each["problem"] is None for each in called.document["towns"]] == [False, True]
    assert not paused(town, "beta")


def test_a_bead_and_a_rig_are_removed_once_nothing_needs_them(town: Townctl) -> None:
    town.document("bead", "create", "alpha", "Fix the door", "--held", "--id", "door")
    town.document("bead", "delete", "alpha", "door")
    assert outcome(town, "bead_deleted") == "rejected: door is open: cancel it first"
    town.document("rig", "remove", "alpha", RIG["name"])
    assert outcome(town, "rig_removed") == "rejected: it has live work, door: finish or cancel it first"
    town.document("bead", "cancel", "alpha", "door")
    town.document("bead", "delete", "alpha", "door", "--by", "ann")
    assert outcome(town, "bead_deleted") == "applied"
    assert town("bead", "show", "alpha", "door", "--json").code == 2
    town.document("rig", "remove", "alpha", RIG["name"])
    assert (outcome(town, "rig_removed"), town.document("rig", "list", "alpha")["rigs"]) == ("applied", [])


def test_an_escalation_is_acknowledged(town: Townctl) -> None:
    town.post("escalation_raised", {"title": "The build is broken", "severity": "high"})
    town("tick", "alpha", "--force")
    raised = town.document("escalation", "list", "alpha")["escalations"][0]
    town.document("escalation", "acknowledge", "alpha", raised["beadId"], "--by", "ann")
    assert outcome(town, "escalation_acknowledged") == "applied"


def test_an_agent_is_nudged_and_reset_by_its_name(town: Townctl) -> None:
    town.document("agent", "nudge", "alpha", "Mayor", "Look at the door.")
    assert outcome(town, "agent_nudged") == "rejected: the mayor gets mail"
    town.document("agent", "reset", "alpha", "Mayor", "--by", "ann")
    assert outcome(town, "agent_reset") == "applied"


def test_a_bead_gets_no_rig_that_there_is_not(town: Townctl) -> None:
    refused = town("bead", "create", "alpha", "Fix the door", "--rig", "nowhere", "--json")
    assert (refused.code, refused.error["message"]) == (2, "town alpha has no rig nowhere")


def test_a_setting_is_changed_for_the_town_and_for_a_rig(town: Townctl) -> None:
    town.document("setting", "set", "alpha", "refinery.auto_merge_delay_minutes", "30")
    assert outcome(town, "town_configured") == "applied"
    shown = town.document("setting", "show", "alpha", "refinery.auto_merge_delay_minutes")
    assert (shown["value"], shown["stored"], shown["rigs"]) == (30, True, {})

    town.document("setting", "set", "alpha", "auto_merge_delay_minutes", "0", "--rig", "rig-1")
    town.document("setting", "set", "alpha", "upstream", "acme/upstream", "--rig", "rig-1")
    assert outcome(town, "rig_registered") == "applied"
    town.document("setting", "set", "alpha", "budget.per_bead", '{"usd": 2}', "--rig", "rig-1")
    assert outcome(town, "rig_registered") == "applied"
    shown = town.document("setting", "show", "alpha", "auto_merge_delay_minutes")
    assert shown["name"] == "refinery.auto_merge_delay_minutes"
    assert town.document("setting", "show", "alpha", "budget.per_bead")["rigs"] == {"rig-1": {"usd": 2}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("hook_limit_hours", "0"), "cannot have this value: it takes integer, 1 to 720"),
        (("merge_strategy", "sideways"), "it takes direct or pr"),
        (("budget.per_day", '{"usd": 0}'), "at budget.per_day.usd, input should be greater than 0"),
        (("budget.per_day", '{"eur": 3}'), "there is no such field; the fields are tokens, usd"),
        (("role_models", '{"painter": "opus"}'), "input should be 'polecat', 'refinery' or 'mayor'"),
        (("upstream", "a/b"), "only rigs have the setting upstream"),
        (("hook_limit_hours", "3", "--rig", "rig-1"), "rigs have no value of their own"),
        (("code_reviews", "true"), "there is no setting code_reviews"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_with_what_helps(
    town: Townctl, words: tuple[str, ...], message: str
) -> None:
    refused = town("setting", "set", "alpha", *words, "--json")
    assert refused.code == 2
    assert message in refused.error["message"]
    assert refused.error["hint"]


def test_no_file_is_replaced_without_force(town: Townctl, tmp_path: Path) -> None:
    file = tmp_path / "town"
    for words in (("export", "alpha", str(file)), ("restore", "alpha", "--txid", "1", "--to", str(file))):
        file.write_text("mine")
        refused = town(*words, "--json")
        assert (refused.code, refused.error["hint"]) == (2, "choose another name, or add --force to replace the file")
        assert file.read_text() == "mine"
        assert town(*words, "--force").code == 0
        assert file.read_bytes() != b"mine"


def test_an_id_names_its_town_unless_two_towns_have_it(town: Townctl) -> None:
    for name in ("beta", "gamma"):
        town.document("town", "create", name)
    town.document("bead", "create", "alpha", "Fix the door", "--held", "--id", "door")
    town("tick", "alpha", "--force")
    assert town.document("explain", "bead", "door")["townId"] == "alpha"
    missing = town("explain", "bead", "window", "--json")
    assert (missing.code, missing.error["message"]) == (2, "no town here has window")

    town.document("event", "post", "beta", "--type", "rig_registered", "--payload", json.dumps(RIG))
    town("tick", "beta", "--force")
    town.document("bead", "create", "beta", "Fix the door", "--held", "--id", "door")
    town("tick", "beta", "--force")
    refused = town("explain", "bead", "door", "--json")
    assert (refused.code, refused.error["message"]) == (2, "2 towns have door")
    assert refused.error["hint"] == "name one of them: alpha, beta"
    assert town.document("explain", "bead", "door", "--town", "beta")["townId"] == "beta"
