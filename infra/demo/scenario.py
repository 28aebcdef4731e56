"""The scenario of the demo: a rig, a convoy of four dependent beads, and a bead that stands alone.

One polecat crashes after it has pushed its work and before it reports it, and one review requests changes; the rules bring both
beads to their end. All ids are fixed, so posting the scenario is idempotent.
"""

from typing import Any, Final

from infra.agents.posting import PostedEvent

TOWN_ID: Final = "demo"
RIG_ID: Final = "rig-demo"
CONVOY_ID: Final = "c0de0000-0000-4000-8000-000000000001"
BEAD_ID: Final = "bead0000-0000-4000-8000-000000000001"
HOST: Final = "git.demo.invalid"
PROJECT: Final = "town/work"
GIT_URL: Final = f"https://{HOST}/{PROJECT}.git"
"""A URL whose host cannot exist; `git_seed.redirect({GIT_URL: directory})` makes git use a local repository instead."""

CONFIG: Final[dict[str, Any]] = {
    "merge_strategy": "direct",
    "staged_convoys_default": False,
    "agent_runtime": {"kind": "local"},
}
"""The differences from a new town's configuration: agents land work directly, because there is no forge, and convoys start at
once.
"""

PULL_REQUESTS: Final[dict[str, Any]] = {
    "merge_strategy": "pr",
    "refinery": {"review_mode": "comments", "auto_merge_delay_minutes": 1, "auto_resolve_pr_feedback": True},
}
"""The further differences if work lands by pull requests: merges wait one minute, and agents resolve comments."""

_TASKS: Final[list[dict[str, Any]]] = [
    {"title": "Define the grammar", "depends_on": []},
    {"title": "Write the lexer", "depends_on": [0], "body": "Turn text into tokens.\n\ndemo: crash-once"},
    {"title": "Write the parser", "depends_on": [0], "body": "Turn tokens into a tree.\n\ndemo: changes-once"},
    {"title": "Wire them together", "depends_on": [1, 2]},
]

_BEAD_TITLE: Final = "Greet the reader"


def opening_events() -> list[PostedEvent]:
    """The events that are posted at the start, in this order."""
    rig = {"rig_id": RIG_ID, "name": "work", "git_url": GIT_URL, "default_branch": "main"}
    convoy = {"convoy_id": CONVOY_ID, "title": "Build a parser", "rig_id": RIG_ID, "tasks": _TASKS}
    bead = {"bead_id": BEAD_ID, "type": "issue", "title": _BEAD_TITLE, "rig_id": RIG_ID}
    return [
        {"event_id": "demo:rig", "event_type": "rig_registered", "payload": rig},
        {"event_id": "demo:convoy", "event_type": "convoy_created", "payload": convoy},
        {"event_id": "demo:bead", "event_type": "bead_created", "payload": {"bead": bead}},
    ]


def works() -> list[tuple[str, str]]:
    """Title and body of everything that agents implement."""
    return [*((str(task["title"]), str(task.get("body", ""))) for task in _TASKS), (_BEAD_TITLE, "")]
