"""What each setting does. Names, types and defaults come from the classes of the configuration."""

from collections.abc import Mapping
from typing import Final

EFFECTS: Final[Mapping[str, str]] = {
    "agent_forge_access": (
        "What agents get for git and the forge: a short-lived token of the deployment's GitHub App, a token or key that you stored "
        "for agents, or nothing. Without a value: `app` where an App serves the town and the repository, else `none`."
    ),
    "agent_runtime": (
        "Where agents run: as processes of this machine (`local`), behind a control server, or on ECS. Without a value: on this "
        "machine. Where the control server or the cluster is, a parameter of the stack says, or `townctl run --control-server`. "
        'For example: `{"kind": "control_server"}`.'
    ),
    "alarm_interval_active": "Seconds between two ticks while agents work.",
    "alarm_interval_idle": (
        "The town is looked at at least every so many seconds while beads wait. Without a value it sleeps until something is due."
    ),
    "archive.closed_after_minutes": "Closed beads leave the database for the archive after so many minutes without a change.",
    "archive.failed_after_minutes": "Failed beads leave the database for the archive after so many minutes without a change.",
    "budget.per_bead": (
        "What the work on one bead may cost. At 80 % a person is told once; at 100 % the bead is not dispatched again."
    ),
    "budget.per_convoy": "What the work on one convoy may cost, as `budget.per_bead`.",
    "budget.per_day": "What the town may spend in a day (UTC), as `budget.per_bead`. Agents that work finish their beads.",
    "container.sleep_after_minutes": "Nothing: it is accepted so that configurations of other versions stay valid.",
    "convoy_merge_mode": (
        "`review-then-land`: reviewed beads collect on the convoy's branch, which is merged at the end; `review-and-merge`: each "
        "bead is merged by itself."
    ),
    "custom_instructions": "A text that every agent finds in its prompt.",
    "default_model": "The model that agents are started with, where `role_models` names none.",
    "hook_limit_hours": "After so many hours on one bead, an agent that has never said what it does is stopped.",
    "max_dispatch_attempts": "After so many starts of an agent without a result, a bead fails.",
    "max_polecats_per_rig": "At most so many polecats work in one rig at a time. Without a value there is no limit.",
    "merge_strategy": "`pr`: work is merged through pull requests of the forge; `direct`: a refinery merges and pushes by itself.",
    "notices.desktop": "Whether escalations and alerts are shown on the screen of the machine that runs the town.",
    "notices.from_severity": "The least severity of which people are told; alerts count as `high`.",
    "notices.per_hour": "So many notices an hour go out one by one on each channel; further ones follow as one digest.",
    "notices.webhook": "The address to which escalations and alerts are posted, signed ([notices](notices.md)).",
    "on_failed_dependency": "Whether a bead waits (`hold`) or goes on (`proceed`) if a bead that it depends on has failed.",
    "organization_id": "A text that agents and control servers are given as it is.",
    "refinery.auto_merge": "Whether the town merges a green pull request; if not, a person does.",
    "refinery.auto_merge_delay_minutes": (
        "So long a pull request must be green before it is merged; 0: at once. Without a value nothing is merged automatically."
    ),
    "refinery.auto_resolve_merge_conflicts": "Whether an agent resolves conflicts of a pull request; if not, a person is asked.",
    "refinery.auto_resolve_pr_feedback": "Whether an agent answers comments and failing checks of a pull request.",
    "refinery.code_review": "Whether an agent reviews work before it is merged.",
    "refinery.gates": "Commands that must succeed before work is submitted and before it is merged. Agents run them.",
    "refinery.merge_proof": (
        "Whether a merge that nothing can check is accepted on the word of the refinery (`when_possible`) or waits (`required`)."
    ),
    "refinery.require_checks": "Whether a pull request without any check is never green.",
    "refinery.require_clean_merge": "Whether the refinery must refuse work that does not merge without conflicts.",
    "refinery.required_checks_only": "Whether only the checks count that the forge requires for the branch.",
    "refinery.review_mode": (
        "What a reviewing agent does with a finding: it requests changes as a new bead (`rework`), or writes it as a comment on "
        "the pull request (`comments`)."
    ),
    "refinery.trusted_authors": (
        "Only pull requests of these users are merged without a person. An empty list: authors are not compared."
    ),
    "role_models": "The model for each role, which goes before `default_model`. Null removes a role.",
    "staged_convoys_default": "Whether a convoy that does not say so waits for `convoy_started`.",
}
"""The effect of each setting of a town, by its path in the configuration."""

ONLY_OF_A_RIG: Final[Mapping[str, str]] = {
    "git_push_flags": "Options that agents of this rig give to `git push`.",
    "upstream": "The repository into which the pull requests of this rig go, if it is another one. The town does not merge there.",
}
"""The settings that only a rig has."""

READ_AS: Final[Mapping[str, tuple[str, ...]]] = {
    "default_model": ("model_for",),
    "role_models": ("model_for",),
    "max_polecats_per_rig": ("max_polecats",),
    "refinery.auto_merge": ("wants_auto_merge",),
    "refinery.auto_merge_delay_minutes": ("auto_merge_delay", "wants_auto_merge"),
}
"""The names under which the code reads a setting, where these are not its own."""
