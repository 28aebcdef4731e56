"""The verbs with which an agent asks its town."""

from typing import Final

from infra.agents.town_agent.verb import Argument, Verb, Who

_STATUSES: Final = ("live", "open", "in_progress", "in_review", "closed", "failed")
_TYPES: Final = ("issue", "message", "escalation", "merge_request", "convoy", "molecule", "agent")
_RIG: Final = Argument("--rig", "only of this rig", stands_for="ID")
_LIVE: Final = Argument("--status", "only with this status (default: live)", choices=_STATUSES, default="live")
_PAGE: Final = (
    Argument("--limit", "the most rows (default: 50)", kind="number"),
    Argument("--cursor", "continue where an earlier answer ended: the cursor that it named"),
)

LOOKING: Final = (
    Verb(
        "bead show",
        "looking:bead_show",
        "show a bead in full: its text, dependencies and history",
        (Argument("bead", "the id of the bead (default: the bead of the order)", optional=True),),
        reads=True,
    ),
    Verb(
        "convoy status",
        "looking:convoy_status",
        "show a convoy with its beads",
        (Argument("convoy", "the id of the convoy"),),
        who=Who.COORDINATOR,
        reads=True,
    ),
    Verb(
        "list beads",
        "looking:beads",
        "list beads, newest first",
        (
            Argument("--status", "only with this status; live: neither closed nor failed", choices=_STATUSES),
            Argument("--type", "only of this type (default: all but agents)", choices=_TYPES),
            Argument("--convoy", "only of this convoy", stands_for="ID"),
            _RIG,
            Argument("--label", "only with this label"),
            Argument("--text", "only with this text in id, title or body"),
            *_PAGE,
        ),
        who=Who.COORDINATOR,
        reads=True,
    ),
    Verb("list convoys", "looking:convoys", "list convoys, newest first", _PAGE, who=Who.COORDINATOR, reads=True),
    Verb("list agents", "looking:agents", "list agents with what they work on", who=Who.COORDINATOR, reads=True),
    Verb(
        "list reviews",
        "looking:reviews",
        "list reviews (merge requests)",
        (_LIVE, _RIG, *_PAGE),
        who=Who.COORDINATOR,
        reads=True,
    ),
    Verb(
        "list escalations", "looking:escalations", "list escalations", (_LIVE, *_PAGE), who=Who.COORDINATOR, reads=True
    ),
    Verb(
        "list mail",
        "looking:mail",
        "list messages; `bead show` shows the text of one",
        (_LIVE, *_PAGE),
        who=Who.COORDINATOR,
        reads=True,
    ),
    Verb(
        "list waiting",
        "looking:waiting",
        "list what waits, why and until when, and what has failed",
        who=Who.COORDINATOR,
        reads=True,
    ),
    Verb(
        "list rigs",
        "looking:rigs",
        "list the rigs: repositories, and the work in each",
        who=Who.COORDINATOR,
        reads=True,
    ),
    Verb(
        "explain bead",
        "looking:explain_bead",
        "show what happened to a bead, and why it waits",
        (Argument("bead", "the id of the bead (default: the bead of the order)", optional=True),),
        reads=True,
    ),
    Verb(
        "explain agent",
        "looking:explain_agent",
        "show what happened to an agent",
        (Argument("agent", "the id of the agent (default: you)", optional=True),),
        reads=True,
    ),
)
