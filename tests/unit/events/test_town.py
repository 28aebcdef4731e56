"""Facts about the town: rigs, configuration, start, escalations, triage (scenarios 154 to 156, 161, 192, 193)."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from shared.actions import NotifyMayor, SendNudge, StopAgent, UpdateAgentModel
from shared.domain.outcomes import Applied, Rejected, Skipped
from shared.domain.states import AgentStatus, BeadStatus
from shared.domain.times import to_text
from shared.events.base import EventResult
from shared.events.town import RigRegistered, TownConfigured
from tests.unit.events.small_town import SmallTown, T

GIT = "https://git.example/acme/app.git"
APPLIED = EventResult(Applied())
DEAD_END = Rejected("invalid config merge_strategy")


# rig_registered


def test_a_new_rig_has_the_default_branch_main_and_no_overrides() -> None:
    stage = SmallTown()
    assert stage.apply("rig_registered", rig_id="rig-2", name="app", git_url=GIT) == APPLIED
    rig = stage.town.rig("rig-2")
    assert rig is not None
    assert (rig.name, rig.git_url, rig.default_branch) == ("app", GIT, "main")


def test_registering_a_rig_again_replaces_what_is_given_and_keeps_the_rest() -> None:
    stage = SmallTown()
    first = {"rig_id": "rig-2", "name": "app", "git_url": GIT}
    stage.apply("rig_registered", **first, default_branch="trunk", config={"max_dispatch_attempts": 2})
    created = stage.town.rig("rig-2")
    stage.later(timedelta(seconds=5))
    assert stage.apply("rig_registered", **{**first, "name": "application"}) == APPLIED
    rig = stage.town.rig("rig-2")
    assert rig is not None
    assert created is not None
    assert (rig.name, rig.default_branch, rig.config.max_dispatch_attempts) == ("application", "trunk", 2)
    assert rig.created_at == created.created_at
    stage.apply("rig_registered", **first, config={})
    assert stage.town.settings("rig-2").max_dispatch_attempts == 5


def test_a_name_in_use_by_a_rig_with_live_work_is_refused() -> None:
    stage = SmallTown()
    stage.bead("b", status="in_review", rig_id="rig-1")
    result = stage.apply("rig_registered", rig_id="rig-2", name="rig-1", git_url=GIT)
    assert result.outcome == Rejected("name in use")
    assert stage.town.rig("rig-2") is None


def test_a_name_passes_on_from_a_rig_whose_work_is_over() -> None:
    stage = SmallTown()
    stage.bead("done", status="closed", rig_id="rig-1", title="it was here")
    stage.agent("p", status="idle", rig_id="rig-1")
    assert stage.apply("rig_registered", rig_id="rig-2", name="rig-1", git_url=GIT) == APPLIED
    assert stage.town.rig("rig-1") is None
    assert (stage.the_bead("done").title, stage.the_bead("done").rig_id) == ("it was here", None)
    assert stage.beads_of("agent") == []


def test_a_rig_keeps_its_own_name() -> None:
    stage = SmallTown()
    stage.bead("b", rig_id="rig-1")
    assert stage.apply("rig_registered", rig_id="rig-1", name="rig-1", git_url=GIT) == APPLIED


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"max_dispatch_attempts": 0}, "max_dispatch_attempts"),
        ({"auto_merge_delay_minutes": -1}, "auto_merge_delay_minutes"),
        ({"code_review": "no"}, "code_review"),
        ({"colour": "red"}, "colour"),
        ({"c" * 500: 1}, "c" * 100),
        ({"code_review": False}, "merge_strategy"),
        ({"upstream": "not a repository"}, "upstream"),
        ({"upstream": ""}, "upstream"),
        ({"trusted_authors": "me"}, "trusted_authors"),
        ({"merge_proof": "always"}, "merge_proof"),
        ({"required_checks_only": "yes"}, "required_checks_only"),
    ],
    ids=[
        *("attempts", "delay", "text for a boolean", "unknown", "endless", "never lands", "no repository", "empty"),
        *("no list", "no such word", "no boolean"),
    ],
)
def test_overrides_that_do_not_hold_are_refused_and_nothing_is_stored(config: dict[str, Any], path: str) -> None:
    stage = SmallTown()
    result = stage.apply("rig_registered", rig_id="rig-2", name="app", git_url=GIT, config=config)
    assert result.outcome == Rejected(f"invalid config {path}")
    assert stage.town.rig("rig-2") is None


def test_no_review_is_fine_where_pull_requests_land() -> None:
    stage = SmallTown()
    given = {"rig_id": "rig-2", "name": "app", "git_url": GIT}
    assert stage.apply("rig_registered", **given, config={"code_review": False, "merge_strategy": "pr"}) == APPLIED


@pytest.mark.parametrize(
    ("name", "git_url"),
    [
        ("", GIT),
        ("n" * 101, GIT),
        ("app", "http://git.example/a"),
        ("app", "file://host/etc"),
        ("app", "relative/path"),
        ("app", ""),
    ],
    ids=["no name", "long name", "http", "file at a host", "relative", "no address"],
)
def test_a_rig_without_a_proper_name_or_address_is_no_event(name: str, git_url: str) -> None:
    with pytest.raises(ValidationError):
        RigRegistered.model_validate({"rig_id": "r", "name": name, "git_url": git_url})


LOCAL = ["/srv/git/app.git", "file:///srv/git/app.git", "/srv/my repo"]


@pytest.mark.parametrize("git_url", LOCAL)
@pytest.mark.parametrize("runtime", [None, {"kind": "local"}])
def test_a_local_repository_is_a_rig_whose_work_lands_directly(git_url: str, runtime: dict[str, str] | None) -> None:
    stage = SmallTown({"merge_strategy": "pr"} | ({} if runtime is None else {"agent_runtime": runtime}))
    given = {"rig_id": "rig-2", "name": "app", "git_url": git_url}
    assert stage.apply("rig_registered", **given, config={"code_review": True}) == APPLIED
    rig = stage.town.rig("rig-2")
    assert rig is not None
    assert (rig.git_url, rig.config.merge_strategy, rig.config.code_review) == (git_url, "direct", True)
    assert stage.apply("rig_registered", **{**given, "name": "other"}) == APPLIED


@pytest.mark.parametrize("git_url", LOCAL)
@pytest.mark.parametrize("kind", ["ecs", "control_server"])
def test_a_local_repository_is_rejected_where_agents_are_elsewhere(git_url: str, kind: str) -> None:
    stage = SmallTown({"agent_runtime": {"kind": kind}})
    told = stage.apply("rig_registered", rig_id="rig-2", name="app", git_url=git_url).outcome
    assert told == Rejected("a local git_url needs agents on this machine (agent_runtime local)")


def test_a_local_repository_has_no_pull_requests() -> None:
    stage = SmallTown({})
    given = {"rig_id": "rig-2", "name": "app", "git_url": LOCAL[0]}
    told = stage.apply("rig_registered", **given, config={"merge_strategy": "pr"}).outcome
    assert told == Rejected("a local git_url has no pull requests: leave merge_strategy out or set it to direct")
    told = stage.apply("rig_registered", **given, config={"code_review": False}).outcome
    assert told == Rejected("invalid config merge_strategy")


def test_a_town_with_a_local_repository_keeps_its_agents_there() -> None:
    stage = SmallTown({})
    stage.apply("rig_registered", rig_id="rig-2", name="app", git_url=LOCAL[0])
    told = stage.apply("town_configured", config={"agent_runtime": {"kind": "ecs"}}).outcome
    assert told == Rejected("invalid config agent_runtime")


@pytest.mark.parametrize("git_url", [GIT, "ssh://git@git.example/a/b.git", "git@git.example:a/b.git"])
def test_https_and_ssh_addresses_are_accepted(git_url: str) -> None:
    assert RigRegistered.model_validate({"rig_id": "r", "name": "n" * 100, "git_url": git_url}).git_url == git_url


# town_configured


def configure(stage: SmallTown, **config: Any) -> EventResult:
    return stage.apply("town_configured", config=config)


def own_of(stage: SmallTown, rig_id: str = "rig-2") -> dict[str, Any]:
    rig = stage.town.rig(rig_id)
    assert rig is not None
    return rig.config.model_dump(mode="json", exclude_none=True)


def with_a_rig(config: dict[str, Any], *, git_url: str = GIT, **own: Any) -> SmallTown:
    stage = SmallTown(config)
    assert stage.apply("rig_registered", rig_id="rig-2", name="app", git_url=git_url, config=own) == APPLIED
    return stage


def test_values_of_a_rig_are_merged_into_its_own_so_that_two_changes_at_once_both_hold() -> None:
    """Seen: each change sent all values of the rig, as it was before either of them, and the second took the first back."""
    stage = with_a_rig({"merge_strategy": "pr"}, code_review=True, budget={"per_bead": {"usd": 2}})
    assert stage.apply("town_configured", rigs={"rig-2": {"max_dispatch_attempts": 3}}) == APPLIED
    assert stage.apply("town_configured", rigs={"rig-2": {"budget": {"per_convoy": {"tokens": 9}}}}) == APPLIED
    assert own_of(stage) == {
        "code_review": True,
        "max_dispatch_attempts": 3,
        "budget": {"per_bead": {"usd": 2.0}, "per_convoy": {"tokens": 9}},
    }


def test_null_takes_a_value_of_a_rig_away() -> None:
    stage = with_a_rig({}, merge_strategy="pr", budget={"per_bead": {"usd": 2}}, role_models={"polecat": "a"})
    taken = {"merge_strategy": None, "budget": {"per_bead": None}, "role_models": {"polecat": None}}
    assert stage.apply("town_configured", rigs={"rig-2": taken}) == APPLIED
    assert own_of(stage) == {}


@pytest.mark.parametrize(
    ("config", "own", "why"),
    [
        ({}, {"rig-9": {"merge_strategy": "pr"}}, "there is no rig rig-9"),
        ({}, {"rig-2": {"merge_strategy": "sideways"}}, "invalid config rig-2.merge_strategy"),
        ({}, {"rig-2": {"gates": []}}, "invalid config rig-2.gates"),
        ({}, {"rig-2": {"merge_strategy": "direct", "code_review": False}}, "invalid config merge_strategy"),
        ({"hook_limit_hours": 0}, {"rig-2": {"merge_strategy": "pr"}}, "invalid config hook_limit_hours"),
    ],
)
def test_one_wrong_value_of_a_rig_or_of_the_town_changes_nothing(
    config: dict[str, Any], own: dict[str, Any], why: str
) -> None:
    stage = with_a_rig({"max_dispatch_attempts": 4}, code_review=True)
    told = stage.apply("town_configured", config={"max_dispatch_attempts": 2, **config}, rigs={"rig-2": {}, **own})
    assert told.outcome == Rejected(why)
    assert own_of(stage) == {"code_review": True}
    assert stage.town.keys.config["max_dispatch_attempts"] == 4


def test_a_rig_and_the_town_may_change_in_one_event_where_neither_could_alone() -> None:
    stage = with_a_rig({"merge_strategy": "pr"}, code_review=False)
    assert configure(stage, merge_strategy="direct").outcome == Rejected("invalid config merge_strategy")
    both = stage.apply("town_configured", config={"merge_strategy": "direct"}, rigs={"rig-2": {"code_review": None}})
    assert both == APPLIED


def test_a_rig_at_a_local_repository_stays_with_direct() -> None:
    stage = with_a_rig({"merge_strategy": "pr"}, git_url=LOCAL[0])
    told = stage.apply("town_configured", rigs={"rig-2": {"merge_strategy": "pr"}}).outcome
    assert told == Rejected("a local git_url has no pull requests: leave merge_strategy out or set it to direct")
    assert stage.apply("town_configured", rigs={"rig-2": {"merge_strategy": None, "code_review": True}}) == APPLIED
    assert own_of(stage) == {"merge_strategy": "direct", "code_review": True}


def test_a_change_of_settings_changes_something() -> None:
    with pytest.raises(ValidationError, match="give config, rigs or both"):
        TownConfigured.model_validate({"by": "ann"})


def test_settings_are_merged_section_by_section_and_hold_from_the_next_tick() -> None:
    stage = SmallTown({"merge_strategy": "pr", "refinery": {"auto_merge": False}})
    assert configure(stage, refinery={"auto_merge_delay_minutes": 5}, organization_id="acme") == APPLIED
    stored = {
        "merge_strategy": "pr",
        "organization_id": "acme",
        "refinery": {"auto_merge": False, "auto_merge_delay_minutes": 5},
    }
    assert stage.town.keys.stored("config") == stored
    assert stage.town.config_changed
    assert stage.town.tick.config.organization_id is None


def test_what_changes_nothing_is_no_news() -> None:
    stage = SmallTown({"merge_strategy": "pr"})
    assert configure(stage, merge_strategy="pr") == APPLIED
    assert not stage.town.config_changed


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"refinery": {"auto_merge_delay_minutes": -1}}, "refinery.auto_merge_delay_minutes"),
        ({"refinery": None}, "refinery"),
        ({"refinery": {"gates": [1]}}, "refinery.gates.0"),
        ({"max_polecats_per_rig": 51}, "max_polecats_per_rig"),
        ({"alarm_interval_active": 4}, "alarm_interval_active"),
        ({"colour": "red"}, "colour"),
        ({"refinery": {"code_review": False}}, "merge_strategy"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-",
)
def test_settings_that_do_not_hold_are_refused_and_the_old_ones_stay(config: dict[str, Any], path: str) -> None:
    stage = SmallTown({"refinery": {"auto_merge_delay_minutes": 5}})
    assert configure(stage, **config).outcome == Rejected(f"invalid config {path}")
    assert stage.town.keys.stored("config") == {"refinery": {"auto_merge_delay_minutes": 5}}
    assert not stage.town.config_changed


def test_settings_that_leave_one_rig_without_a_way_to_land_are_refused() -> None:
    stage = SmallTown({"merge_strategy": "pr"})
    stage.rig("rig-2", config={"code_review": False})
    assert configure(stage, merge_strategy="direct").outcome == DEAD_END
    assert stage.town.keys.stored("config") == {"merge_strategy": "pr"}


def test_a_second_change_in_the_same_drain_sees_the_first() -> None:
    stage = SmallTown({"merge_strategy": "pr"})
    assert configure(stage, merge_strategy="direct") == APPLIED
    assert configure(stage, refinery={"code_review": False}).outcome == DEAD_END


@pytest.mark.parametrize(
    ("status", "told"), [("working", True), ("stalled", True), ("waiting", True), ("idle", False), ("dead", False)]
)
def test_a_living_mayor_is_told_of_another_model(status: str, told: bool) -> None:
    stage = SmallTown({"default_model": "small"})
    stage.agent("mayor", "mayor", status)
    result = configure(stage, default_model="large")
    assert result.returns == ((UpdateAgentModel(agent_id="mayor", model="large"),) if told else ())


def test_a_model_that_is_not_the_mayor_s_does_not_concern_him() -> None:
    stage = SmallTown({"role_models": {"mayor": "small"}})
    stage.agent("mayor", "mayor")
    assert configure(stage, default_model="large", role_models={"polecat": "tiny"}).returns == ()
    assert configure(stage, role_models={"mayor": None}).returns == (UpdateAgentModel(agent_id="mayor", model="large"),)
    assert stage.town.keys.stored("config")["role_models"] == {"polecat": "tiny"}


# town_started


def test_an_imported_town_starts_after_a_full_look() -> None:
    stage = SmallTown()
    stage.town.keys.store("paused", True)
    assert stage.apply("town_started", by="ops") == APPLIED
    assert stage.town.keys.stored("paused") is False
    assert stage.town.keys.stored("settling_until") == to_text(T + timedelta(seconds=90))
    assert stage.apply("town_started").outcome == Skipped("not paused")


# Escalations


def test_an_escalation_is_written_down_and_the_mayor_is_told_and_no_triage_follows() -> None:
    stage = SmallTown()
    stage.bead("batch", status="in_progress", labels=["gt:triage"], created_by="patrol", rig_id="rig-1")
    stage.worker("p", "batch")
    given = {"title": "The build is broken", "body": "since noon", "severity": "high", "category": "build"}
    result = stage.apply("escalation_raised", agent_id="p", rig_id="rig-1", **given)
    (bead,) = stage.beads_of("escalation")
    assert (bead.title, bead.body, bead.priority, bead.created_by) == ("The build is broken", "since noon", "high", "p")
    assert result.outcome == Applied()
    (told,) = result.returns
    assert isinstance(told, NotifyMayor)
    assert told.subject == f"escalation:{bead.id}"
    assert stage.audit(bead.id) == ["created", "escalated"]
    assert [issue.id for issue in stage.beads_of("issue")] == ["batch"]


def test_an_escalation_for_an_unknown_rig_is_rejected() -> None:
    stage = SmallTown()
    result = stage.apply("escalation_raised", title="t", severity="low", rig_id="rig-9")
    assert result == EventResult(Rejected("unknown rig"))
    assert stage.beads_of("escalation") == []


def test_the_first_acknowledgement_counts() -> None:
    stage = SmallTown()
    stage.apply("escalation_raised", title="t", severity="low")
    (bead,) = stage.beads_of("escalation")
    assert stage.apply("escalation_acknowledged", bead_id=bead.id) == APPLIED
    stage.later(timedelta(seconds=5))
    assert stage.apply("escalation_acknowledged", bead_id=bead.id).outcome == Skipped("already")
    at = stage.town.sql.execute("SELECT acknowledged_at FROM escalation_metadata").fetchone()[0]
    assert at == to_text(T)


def test_acknowledging_what_is_no_escalation_is_missing() -> None:
    stage = SmallTown()
    stage.bead("b")
    assert stage.apply("escalation_acknowledged", bead_id="b").outcome == Skipped("missing")
    assert stage.apply("escalation_acknowledged", bead_id="gone").outcome == Skipped("missing")


# triage_resolved


def asked(*, hooked: bool = True, attempts: int = 1, status: str = "working", **metadata: Any) -> SmallTown:
    """P works (or not any more) on B, and triage was asked about both."""
    stage = SmallTown()
    stage.town.keys.store("triage", {"last_batch_at": None, "fruitless": 3})
    stage.bead("b", status="in_progress", rig_id="rig-1", dispatch_attempts=attempts, assignee_agent_bead_id="p")
    stage.agent("p", status=status, hook="b" if hooked else None)
    about = {"triage_type": "stuck_agent", "agent_bead_id": "p", "hooked_bead_id": "b", **metadata}
    stage.bead("q", title="Triage: P is stuck", labels=["gt:triage-request"], metadata=about)
    return stage


def resolve(stage: SmallTown, action: str, **more: Any) -> EventResult:
    return stage.apply("triage_resolved", bead_id="q", action=action, **more)


STOP = (StopAgent(agent_id="p", reason="triage"),)


@pytest.mark.parametrize("action", ["RESTART", "REASSIGN_BEAD", "RESTART_WITH_BACKOFF"])
def test_a_restart_stops_the_agent_and_gives_the_bead_back(action: str) -> None:
    stage = asked()
    assert resolve(stage, action) == EventResult(Applied(), returns=STOP)
    bead = stage.the_bead("b")
    assert (bead.status, bead.assignee, bead.dispatch_attempts) == (BeadStatus.OPEN, None, 1)
    assert (stage.the_agent().hook, stage.the_agent().status) == (None, AgentStatus.IDLE)
    assert bead.last_dispatch_attempt_at == (T if action == "RESTART_WITH_BACKOFF" else None)


@pytest.mark.parametrize(("attempts", "status"), [(4, BeadStatus.OPEN), (5, BeadStatus.FAILED)])
def test_a_restart_of_a_bead_at_its_cap_fails_it(attempts: int, status: BeadStatus) -> None:
    stage = asked(attempts=attempts)
    resolve(stage, "RESTART")
    assert stage.the_bead("b").status is status
    codes = stage.town.sql.execute(
        "SELECT json_extract(metadata, '$.failure_reason.code') FROM bead_events "
        "WHERE bead_id = 'b' AND event_type = 'status_changed'"
    ).fetchall()
    assert codes == [(None,) if status is BeadStatus.OPEN else ("max_dispatch_attempts",)]


def test_an_idle_agent_is_unhooked_and_not_stopped() -> None:
    stage = asked(status="idle")
    assert resolve(stage, "RESTART").returns == ()
    assert stage.the_agent().hook is None


def test_an_agent_that_moved_on_is_left_alone_and_a_bead_that_nobody_has_is_given_back() -> None:
    stage = asked(hooked=False)
    assert resolve(stage, "RESTART").returns == ()
    assert stage.the_agent().status is AgentStatus.WORKING
    assert stage.the_bead("b").status is BeadStatus.OPEN


def test_a_bead_that_another_agent_has_is_left_to_it() -> None:
    stage = asked(hooked=False)
    stage.agent("p2", hook="b")
    resolve(stage, "RESTART")
    assert stage.the_bead("b").status is BeadStatus.IN_PROGRESS
    assert stage.the_agent("p2").hook == "b"


def test_a_bead_in_review_is_not_released() -> None:
    stage = asked(hooked=False)
    stage.town.sql.execute("UPDATE beads SET status = 'in_review' WHERE bead_id = 'b'")
    resolve(stage, "RESTART")
    assert (stage.the_bead("b").status, stage.the_bead("b").assignee) == (BeadStatus.IN_REVIEW, "p")


def test_closing_the_bead_fails_it_with_the_notes() -> None:
    stage = asked()
    assert resolve(stage, "CLOSE_BEAD", notes="cannot be done") == EventResult(Applied(), returns=STOP)
    assert stage.the_bead("b").status is BeadStatus.FAILED
    code = stage.town.sql.execute(
        "SELECT json_extract(metadata, '$.failure_reason.code') FROM bead_events "
        "WHERE bead_id = 'b' AND event_type = 'status_changed'"
    ).fetchone()[0]
    assert code == "triage_close"


@pytest.mark.parametrize("action", ["ESCALATE", "ESCALATE_TO_MAYOR"])
def test_triage_may_ask_a_person(action: str) -> None:
    stage = asked()
    result = resolve(stage, action, notes="looks odd")
    (bead,) = stage.beads_of("escalation")
    assert (bead.priority, bead.body) == ("high", "looks odd")
    message = 'Triage asks for a person: "Triage: P is stuck"\nIts notes:\n> looks odd'
    assert result.returns == (NotifyMayor(subject=f"escalation:{bead.id}", message=message),)
    assert stage.the_agent().hook == "b"


@pytest.mark.parametrize(("status", "nudged"), [("working", True), ("stalled", True), ("idle", False)])
def test_a_running_agent_can_be_nudged(status: str, nudged: bool) -> None:
    stage = asked(status=status)
    said = 'Triage answers a question about you, "Triage: P is stuck":\n> try again'
    nudge = SendNudge(agent_id="p", message=said, source="triage", mode="immediate", priority="normal")
    assert resolve(stage, "NUDGE", notes="try again").returns == ((nudge,) if nudged else ())


@pytest.mark.parametrize("action", ["RESTART", "CLOSE_BEAD", "ESCALATE", "NUDGE", "restart", "whatever"])
def test_every_answer_closes_the_request_and_says_who_gave_it(action: str) -> None:
    stage = asked()
    resolve(stage, action, notes="n", by="mayor")
    request = stage.the_bead("q")
    assert request.status is BeadStatus.CLOSED
    assert request.metadata["resolution_action"] == action
    assert request.metadata["resolution_notes"] == "n"
    assert request.metadata["resolved_by"] == "mayor"
    assert "triage_resolved" in stage.audit("q")
    assert stage.town.keys.stored("triage")["fruitless"] == 0
    assert resolve(stage, action).outcome == Skipped("not open")


def test_an_unknown_answer_changes_nothing_else() -> None:
    stage = asked()
    assert resolve(stage, "whatever") == APPLIED
    assert stage.the_bead("b").status is BeadStatus.IN_PROGRESS
    assert stage.the_agent().hook == "b"


def test_the_escalation_that_the_request_was_about_is_closed_with_it() -> None:
    stage = asked(escalation_bead_id="e")
    stage.bead("e", "escalation")
    resolve(stage, "whatever")
    assert stage.the_bead("e").status is BeadStatus.CLOSED


@pytest.mark.parametrize(
    "about", [{"agent_bead_id": None, "hooked_bead_id": None}, {"agent_bead_id": 7}, {"hooked_bead_id": []}]
)
def test_a_request_about_nothing_that_exists_is_only_closed(about: dict[str, Any]) -> None:
    stage = asked(**about)
    assert resolve(stage, "RESTART_WITH_BACKOFF").returns == ()
    assert stage.the_bead("q").status is BeadStatus.CLOSED


def test_only_triage_requests_are_resolved() -> None:
    stage = asked()
    answer = {"action": "RESTART"}
    assert stage.apply("triage_resolved", bead_id="b", **answer).outcome == Skipped("not open")
    assert stage.apply("triage_resolved", bead_id="gone", **answer).outcome == Skipped("missing")
    assert stage.the_bead("b").status is BeadStatus.IN_PROGRESS
