"""What an agent is told at its start."""

from typing import Any

import pytest

from shared.actions import DispatchAgent
from shared.domain.branches import digest_of
from shared.domain.outcomes import Applied
from tests.towns import TownBuilder, a_town
from tests.unit.actions.builders import on

PR = "https://github.com/acme/main-rig/pull/7"


def context_of(
    rows: TownBuilder, bead_id: str = "b", rig_id: str | None = "rig-1", agent_id: str = ""
) -> dict[str, Any]:
    """The start context of the agent that is dispatched to a bead."""
    stage = on(rows)
    assert stage.apply(DispatchAgent(agent_id=agent_id, bead_id=bead_id, rig_id=rig_id)) == Applied()
    return stage.effects[-1][3]


def test_plain_work_is_told_everything_and_nothing_else() -> None:
    rows = a_town().bead("b", title="Add a door", body="Blue.", labels=["home"], metadata={"size": 2}).agent("p")
    assert context_of(rows) == {
        "town_id": "t1",
        "organization_id": None,
        "agent_id": "p",
        "role": "polecat",
        "identity": "p-polecat-rig-1@t1",
        "generation": 1,
        "runtime": None,
        "rig": {
            "id": "rig-1",
            "name": "main-rig",
            "git_url": "https://github.com/acme/main-rig.git",
            "default_branch": "main",
        },
        "bead": {
            "id": "b",
            "type": "issue",
            "title": "Add a door",
            "body": "Blue.",
            "labels": ["home"],
            "metadata": {"branch": "gt/p/b", "size": 2},
        },
        "prompt_kind": "work",
        "branch": "gt/p/b",
        "target_branch": "main",
        "pr_url": None,
        "feature_branch": None,
        "merge_strategy": "direct",
        "code_review": True,
        "review_mode": "rework",
        "gates": [],
        "require_clean_merge": True,
        "git_push_flags": None,
        "custom_instructions": None,
        "model": None,
        "checkpoint": None,
    }


def test_settings_are_those_of_the_rig() -> None:
    rows = a_town().config(
        organization_id="acme",
        agent_runtime={"kind": "local", "command": "x"},
        merge_strategy="pr",
        refinery={"review_mode": "comments", "gates": ["make test"], "require_clean_merge": False},
        custom_instructions="be kind",
        default_model="large",
        role_models={"polecat": "small"},
    )
    rows.rig("rig-2", name="two", config={"custom_instructions": "be brief", "git_push_flags": "--no-verify"})
    context = context_of(rows.bead("b", rig_id="rig-2"), rig_id="rig-2")
    chosen = {key: context[key] for key in ("organization_id", "runtime", "merge_strategy", "review_mode", "gates")}
    assert chosen == {
        "organization_id": "acme",
        "runtime": "local",
        "merge_strategy": "pr",
        "review_mode": "comments",
        "gates": ["make test"],
    }
    assert (context["require_clean_merge"], context["git_push_flags"]) == (False, "--no-verify")
    assert (context["custom_instructions"], context["model"]) == ("be brief", "small")


def test_a_refinery_gets_its_own_model() -> None:
    rows = a_town().config(default_model="large", role_models={"polecat": "small"}).review("b", "in_progress")
    assert context_of(rows)["model"] == "large"


def test_work_without_any_rig_is_told_so() -> None:
    rows = a_town().bead("b", rig_id=None).agent("p", rig=None, hook="b")
    context = context_of(rows, rig_id="", agent_id="p")
    assert (context["rig"], context["target_branch"]) == (None, "main")


def test_the_rig_of_the_agent_is_the_last_resort() -> None:
    rows = a_town().bead("b", rig_id=None).agent("p", hook="b")
    assert context_of(rows, rig_id="", agent_id="p")["rig"]["id"] == "rig-1"


def test_work_aims_at_the_default_branch_of_its_rig() -> None:
    rows = a_town().rig("rig-2", name="two", default_branch="trunk").bead("b", rig_id="rig-2")
    assert context_of(rows, rig_id="rig-2")["target_branch"] == "trunk"


@pytest.mark.parametrize(
    ("mode", "branch", "target", "feature"),
    [
        ("review-then-land", "convoy/x/head", "convoy/x/head", "convoy/x/head"),
        (None, "convoy/x/head", "convoy/x/head", "convoy/x/head"),
        ("review-and-merge", None, "main", None),
        ("review-and-merge", "convoy/x/head", "main", "convoy/x/head"),
    ],
)
def test_work_of_a_convoy_aims_where_its_review_will(
    mode: str | None, branch: str | None, target: str, feature: str | None
) -> None:
    context = context_of(a_town().bead("b").convoy("c", tracked=["b"], mode=mode, branch=branch))
    assert (context["target_branch"], context["feature_branch"]) == (target, feature)


def test_a_review_is_told_its_branches_and_its_pull_request() -> None:
    rows = a_town().bead("s", status="in_review").convoy("c", tracked=["s"])
    rows.review("b", "in_progress", of="s", pr_url=PR, branch="gt/toast/1", review={"target_branch": "convoy/x/head"})
    context = context_of(rows)
    chosen = {
        key: context[key] for key in ("prompt_kind", "branch", "target_branch", "pr_url", "feature_branch", "role")
    }
    assert chosen == {
        "prompt_kind": "review",
        "branch": "gt/toast/1",
        "target_branch": "convoy/x/head",
        "pr_url": PR,
        "feature_branch": "convoy/x/head",
        "role": "refinery",
    }


def test_a_review_without_a_source_is_a_review() -> None:
    context = context_of(a_town().review("b", "in_progress", branch="x"))
    assert (context["prompt_kind"], context["branch"], context["feature_branch"]) == ("review", "x", None)


def test_a_landing_is_told_the_feature_branch_of_its_convoy() -> None:
    rows = a_town().convoy("c").review("b", "in_progress", of="c", branch="convoy/x/head")
    context = context_of(rows)
    chosen = {key: context[key] for key in ("prompt_kind", "branch", "target_branch", "feature_branch")}
    assert chosen == {
        "prompt_kind": "landing",
        "branch": "convoy/x/head",
        "target_branch": "main",
        "feature_branch": "convoy/x/head",
    }


@pytest.mark.parametrize(
    ("label", "kind"),
    [
        ("gt:rework", "rework"),
        ("gt:pr-feedback", "pr_feedback"),
        ("gt:pr-conflict", "pr_conflict"),
        ("gt:pr-fixup", "pr_fixup"),
    ],
)
def test_follow_up_work_goes_on_where_its_bead_says(label: str, kind: str) -> None:
    metadata = {"branch": "gt/toast/1", "target_branch": "next", "pr_url": PR}
    context = context_of(a_town().bead("b", labels=[label, "home"], metadata=metadata))
    chosen = {key: context[key] for key in ("prompt_kind", "branch", "target_branch", "pr_url")}
    assert chosen == {"prompt_kind": kind, **metadata}


def test_follow_up_work_of_which_nothing_is_known_is_told_nothing() -> None:
    context = context_of(a_town().bead("b", labels=["gt:rework"], metadata={"branch": 7}))
    assert (context["branch"], context["target_branch"], context["pr_url"]) == (None, None, None)


def test_triage_comes_before_every_other_label() -> None:
    context = context_of(a_town().bead("b", labels=["gt:rework", "gt:triage"]))
    assert (context["prompt_kind"], context["branch"], context["target_branch"]) == ("triage", None, "main")


@pytest.mark.parametrize(
    ("stored", "told"), [('{"step":3}', {"step": 3}), ("[1]", [1]), ("{broken", None), (None, None)]
)
def test_a_checkpoint_is_handed_on_if_it_can_be_read(stored: str | None, told: Any) -> None:
    rows = a_town().bead("b").agent("p", hook="b", checkpoint=stored)
    assert context_of(rows, agent_id="p")["checkpoint"] == told


def test_a_branch_that_other_live_work_of_the_rig_has_is_not_given_twice() -> None:
    branch = context_of(a_town().bead("b"))["branch"]
    town = a_town().bead("b").bead("other", rig_id="rig-1", status="in_progress", metadata={"branch": branch})
    assert context_of(town)["branch"] == f"{branch}_{digest_of('b')}"
