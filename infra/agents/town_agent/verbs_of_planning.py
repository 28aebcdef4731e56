"""The verbs with which the mayor changes its town. A polecat can only propose beads."""

from typing import Final

from infra.agents.town_agent.verb import PRIORITIES, Argument, Verb, Who

_MERGE_MODES: Final = ("review-then-land", "review-and-merge")
_TELL_THE_MAYOR: Final = "tell the mayor with `town-agent mail send --to mayor TEXT`"
_A_BEAD: Final = Argument("bead", "the id of the bead")
_A_CONVOY: Final = Argument("convoy", "the id of the convoy")
_AN_AGENT: Final = Argument("agent", "the id of the agent")

BEADS: Final = (
    Verb(
        "bead create",
        "planning:bead_create",
        "create a bead and print its id; of a polecat, it is a proposal that the mayor decides about",
        (
            Argument("--title", "the title", required=True, stands_for="TEXT"),
            Argument(
                "--body", "the description: what is to be done, and how one sees that it is done", stands_for="TEXT"
            ),
            Argument("--rig", "the id of the rig (default: the rig of the order)", stands_for="ID"),
            Argument("--label", "a label", kind="texts"),
            Argument("--priority", "the priority", choices=PRIORITIES),
            Argument("--depends-on", "a bead that blocks this one", kind="texts", stands_for="BEAD"),
            Argument("--convoy", "the id of the convoy that it belongs to", stands_for="BEAD"),
            Argument("--metadata", "metadata", kind="texts", stands_for="KEY=VALUE"),
            Argument("--id", "the id of the bead (default: derived from its content)"),
        ),
        who=Who.PLANNER,
        event="bead_created",
        instead="as a reviewer, use `town-agent request-changes`",
    ),
    Verb(
        "bead update",
        "planning:bead_update",
        "as the mayor, change a bead that is not finished; what you leave out stays",
        (
            _A_BEAD,
            Argument("--title", "the new title", stands_for="TEXT"),
            Argument("--body", "the new description", stands_for="TEXT"),
            Argument("--priority", "the new priority", choices=PRIORITIES),
            Argument("--label", "a label; the given ones replace all present ones", kind="texts"),
            Argument("--remove-label", "a label to take off", kind="texts", stands_for="LABEL"),
            Argument(
                "--metadata",
                "metadata to set; `KEY=` removes it",
                kind="texts",
                stands_for="KEY=VALUE",
            ),
            Argument("--rig", "the id of its rig, if it has none yet", stands_for="ID"),
        ),
        who=Who.MAYOR,
        event="bead_updated",
        instead=_TELL_THE_MAYOR,
    ),
    Verb(
        "bead release",
        "planning:bead_release",
        "as the mayor, let a held bead be worked on",
        (_A_BEAD,),
        who=Who.MAYOR,
        event="bead_updated",
        instead=_TELL_THE_MAYOR,
    ),
    Verb(
        "bead cancel",
        "planning:bead_cancel",
        "as the mayor, end a bead that nobody shall work on",
        (
            _A_BEAD,
            Argument(
                "--status",
                "closed: what depends on it goes on; failed: what depends on it is held (default: closed)",
                choices=("closed", "failed"),
                default="closed",
            ),
        ),
        who=Who.MAYOR,
        event="bead_cancelled",
        instead=_TELL_THE_MAYOR,
    ),
    Verb(
        "bead reopen",
        "planning:bead_reopen",
        "as the mayor, have a failed bead worked on again",
        (_A_BEAD, Argument("--reason", "why it can succeed now", stands_for="TEXT")),
        who=Who.MAYOR,
        event="bead_reopened",
        instead=_TELL_THE_MAYOR,
    ),
)

_TASKS: Final = {
    "type": "array",
    "description": "the tasks, in order; depends_on names earlier tasks by their position, from 0",
    "items": {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "body": {"type": "string"},
            "priority": {"type": "string", "enum": list(PRIORITIES)},
            "labels": {"type": "array", "items": {"type": "string"}},
            "depends_on": {"type": "array", "items": {"type": "integer"}},
        },
        "required": ["title"],
        "additionalProperties": False,
    },
}

CONVOYS: Final = (
    Verb(
        "convoy create",
        "planning:convoy_create",
        "as the mayor, create a convoy of tasks and print its id",
        (
            Argument("--title", "the title", required=True, stands_for="TEXT"),
            Argument("--rig", "the id of the rig (default: the rig of the order)", stands_for="ID"),
            Argument("--task", "the title of a task", kind="texts", stands_for="TITLE"),
            Argument(
                "--tasks",
                "a JSON list of {title, body?, priority?, labels?, depends_on?: [positions from 0]}",
                stands_for="JSON",
                or_stdin=True,
                schema=_TASKS,
            ),
            Argument("--in-order", "make each task depend on the one before it", kind="flag"),
            Argument(
                "--merge-mode",
                "how its work reaches the default branch (default: as the town is set)",
                choices=_MERGE_MODES,
            ),
            Argument("--staged", "create the convoy without starting its tasks", kind="flag"),
            Argument("--id", "the id of the convoy (default: derived from its content)"),
        ),
        who=Who.MAYOR,
        event="convoy_created",
        instead=_TELL_THE_MAYOR,
    ),
    Verb(
        "convoy start",
        "planning:convoy_start",
        "as the mayor, let the tasks of a staged convoy be worked on",
        (_A_CONVOY,),
        who=Who.MAYOR,
        event="convoy_started",
        instead=_TELL_THE_MAYOR,
    ),
    Verb(
        "convoy change",
        "planning:convoy_change",
        "as the mayor, add beads to a convoy, or take them out",
        (
            _A_CONVOY,
            Argument("--add", "a bead to add", kind="texts", stands_for="BEAD"),
            Argument("--remove", "a bead to take out", kind="texts", stands_for="BEAD"),
        ),
        who=Who.MAYOR,
        event="convoy_changed",
        instead=_TELL_THE_MAYOR,
    ),
    Verb(
        "convoy close",
        "planning:convoy_close",
        "as the mayor, end a convoy and everything in it, finished or not",
        (_A_CONVOY,),
        who=Who.MAYOR,
        event="convoy_closed",
        instead=_TELL_THE_MAYOR,
    ),
)

AGENTS: Final = (
    Verb(
        "agent reset",
        "planning:agent_reset",
        "as the mayor, take an agent off its bead; another start begins afresh",
        (_AN_AGENT,),
        who=Who.MAYOR,
        event="agent_reset",
        instead=_TELL_THE_MAYOR,
    ),
    Verb(
        "agent nudge",
        "planning:agent_nudge",
        "as the mayor, remind a working agent of something",
        (_AN_AGENT, Argument("text", "what to tell it", kind="words")),
        who=Who.MAYOR,
        event="agent_nudged",
        instead=_TELL_THE_MAYOR,
    ),
    Verb(
        "ack",
        "planning:acknowledge",
        "as the mayor, note that an escalation was seen",
        (Argument("escalation", "the id of the escalation"),),
        who=Who.MAYOR,
        event="escalation_acknowledged",
        instead=_TELL_THE_MAYOR,
    ),
)
