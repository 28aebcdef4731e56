"""What people do with beads, convoys and agents: each command posts one event, whose outcome the next tick decides.

They are `townctl event post` with names for the fields. The API takes the same events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter
from rich.text import Text

from infra.townctl.arguments import AgentId, BeadId, TownName, content_of, json_of
from infra.townctl.output import Answer
from infra.townctl.paging import the_one
from infra.townctl.place import Place, Subject, ThePlace, posted
from shared.domain.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

ConvoyId = Annotated[str, Parameter(help="The convoy's id, a prefix that no other bead has, or its title.")]
By = Annotated[str | None, Parameter(help="Who asks for it, for the audit trail.")]
PriorityOption = Annotated[
    Literal["low", "medium", "high", "critical"] | None, Parameter(help="The order in which beads get agents.")
]
Labels = Annotated[
    list[str] | None, Parameter(name="--label", help="A label; may be given several times.", negative="")
]
RigOption = Annotated[str | None, Parameter(help="The rig; optional if the town has only one.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class NewBead:
    """What a new issue is, besides its title."""

    rig: RigOption = None
    body: Annotated[str | None, Parameter(help="The details; `-` is standard input.")] = None
    priority: PriorityOption = None
    label: Labels = None
    depends_on: Annotated[
        list[str] | None, Parameter(help="A bead that must be done first; may be given several times.", negative="")
    ] = None
    convoy: Annotated[str | None, Parameter(help="The convoy that it joins.")] = None
    by: By = None
    held: Annotated[bool, Parameter(negative="", help="No agent gets it until `bead update --release`.")] = False
    id: Annotated[str | None, Parameter(help="Its id; default: a new one.")] = None


def create_bead(
    town_id: TownName,
    title: Annotated[str, Parameter(help="One line that says what is to be done.")],
    /,
    *,
    wanted: NewBead | None = None,
    place: ThePlace,
) -> Answer:
    """Create an issue, which gets an agent as soon as nothing holds it back."""
    from shared.adapters import ids

    wanted = wanted or NewBead()
    labels = [*(wanted.label or ()), *(("gt:held",) if wanted.held else ())]
    bead = {
        "bead_id": wanted.id or ids.message_id(),
        "type": "issue",
        "title": title,
        "body": _text_of(wanted.body),
        "rig_id": _rig(place, town_id, wanted.rig),
        "priority": wanted.priority,
        "labels": labels or None,
        "depends_on": _ids(place, town_id, wanted.depends_on or ()) or None,
        "convoy_id": wanted.convoy,
        "created_by": wanted.by,
    }
    return _post(place, town_id, "bead_created", {"bead": _given(bead)}, shown=f"bead {bead['bead_id']}")


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class BeadChange:
    """What a bead is from now on."""

    title: Annotated[str | None, Parameter(help="The new title.")] = None
    body: Annotated[str | None, Parameter(help="The new details; `-` is standard input.")] = None
    priority: PriorityOption = None
    release: Annotated[bool, Parameter(negative="", help="Take the label gt:held off.")] = False
    remove_label: Annotated[
        list[str] | None, Parameter(help="A label to take off; may be given several times.", negative="")
    ] = None


def update_bead(
    town_id: TownName,
    bead: BeadId,
    /,
    *,
    change: BeadChange | None = None,
    by: By = None,
    place: ThePlace,
) -> Answer:
    """Change a live bead: its title, details or priority, or the labels that hold it."""
    new = change or BeadChange()
    removed = [*(new.remove_label or ()), *(("gt:held",) if new.release else ())]
    payload = _given(
        {"title": new.title, "body": _text_of(new.body), "priority": new.priority, "remove_labels": removed or None}
    )
    if not payload:
        hint = "give --title, --body, --priority, --release or --remove-label"
        raise Refused("nothing to change", status=400, path="bead", hint=hint)
    return _about(place, town_id, "bead_updated", {**payload, **_given({"by": by})}, bead=bead)


def cancel_bead(
    town_id: TownName,
    bead: BeadId,
    /,
    *,
    not_needed: Annotated[
        bool, Parameter(negative="", help="Close it as not needed: what depends on it goes on, instead of waiting.")
    ] = False,
    by: By = None,
    place: ThePlace,
) -> Answer:
    """Cancel a bead with its reviews; of a convoy, also the live beads in it. Their agents stop."""
    status = "closed" if not_needed else "failed"
    return _about(place, town_id, "bead_cancelled", _given({"cancel_status": status, "by": by}), bead=bead)


def reopen_bead(
    town_id: TownName,
    bead: BeadId,
    /,
    *,
    reason: Annotated[str | None, Parameter(help="Why it is tried again.")] = None,
    by: By = None,
    place: ThePlace,
) -> Answer:
    """Try a failed bead again, with all of its attempts reset."""
    return _about(place, town_id, "bead_reopened", _given({"reason": reason, "by": by}), bead=bead)


def delete_bead(town_id: TownName, bead: BeadId, /, *, by: By = None, place: ThePlace) -> Answer:
    """Delete a bead that is over, with its reviews and parts. It is rejected while something needs the bead."""
    return _about(place, town_id, "bead_deleted", _given({"by": by}), bead=bead)


def remove_rig(
    town_id: TownName,
    rig: Annotated[str, Parameter(help="The rig's id or name.")],
    /,
    *,
    by: By = None,
    place: ThePlace,
) -> Answer:
    """Remove a rig that has no work. Its beads stay, without a rig; its stored tokens stay until `townctl secret remove`."""
    return _post(place, town_id, "rig_removed", _given({"rig_id": _rig(place, town_id, rig), "by": by}))


def create_convoy(
    town_id: TownName,
    title: Annotated[str, Parameter(help="One line, from which its branch is named.")],
    tasks: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True,
            help='A file with a JSON list of tasks, as in [{"title": "..."}, {"title": "...", "depends_on": [0]}]; '
            "`-` is standard input.",
        ),
    ],
    /,
    *,
    rig: RigOption = None,
    staged: Annotated[
        bool | None, Parameter(help="Whether it waits for `convoy start`; default: the town's setting.")
    ] = None,
    convoy_id: Annotated[str | None, Parameter(name="--id", help="Its id; default: a new one.")] = None,
    by: By = None,
    place: ThePlace,
) -> Answer:
    """Create a convoy: issues that are done and landed together."""
    from shared.adapters import ids

    chosen = convoy_id or ids.message_id()
    payload = {
        "convoy_id": chosen,
        "title": title,
        "rig_id": _rig(place, town_id, rig),
        "staged": staged,
        "by": by,
        "tasks": json_of(content_of(tasks, what="tasks"), what="tasks"),
    }
    if payload["rig_id"] is None:
        hint = f"`townctl rig list {town_id}` shows the rigs; name one with --rig"
        raise Refused("a convoy needs a rig", status=400, path="rig", hint=hint)
    return _post(place, town_id, "convoy_created", _given(payload), shown=f"convoy {chosen}")


def start_convoy(town_id: TownName, convoy: ConvoyId, /, *, by: By = None, place: ThePlace) -> Answer:
    """Start a staged convoy, or let one that is held be landed again."""
    return _about_convoy(place, town_id, "convoy_started", convoy, _given({"by": by}))


def close_convoy(town_id: TownName, convoy: ConvoyId, /, *, by: By = None, place: ThePlace) -> Answer:
    """Close a convoy, whatever the state of its tasks: live ones are closed, and their agents stop."""
    return _about_convoy(place, town_id, "convoy_closed", convoy, _given({"by": by}))


def add_to_convoy(
    town_id: TownName,
    convoy: ConvoyId,
    beads: Annotated[list[str], Parameter(help="The beads that join it.")],
    /,
    *,
    by: By = None,
    place: ThePlace,
) -> Answer:
    """Add beads to a convoy."""
    return _about_convoy(
        place, town_id, "convoy_changed", convoy, _given({"add": _ids(place, town_id, beads), "by": by})
    )


def remove_from_convoy(
    town_id: TownName,
    convoy: ConvoyId,
    beads: Annotated[list[str], Parameter(help="The beads that leave it.")],
    /,
    *,
    by: By = None,
    place: ThePlace,
) -> Answer:
    """Take beads out of a convoy."""
    return _about_convoy(
        place, town_id, "convoy_changed", convoy, _given({"remove": _ids(place, town_id, beads), "by": by})
    )


def edit_convoy(
    town_id: TownName,
    convoy: ConvoyId,
    /,
    *,
    title: Annotated[str | None, Parameter(help="The new title; its branch keeps the name.")] = None,
    body: Annotated[str | None, Parameter(help="The new details; `-` is standard input.")] = None,
    mode: Annotated[
        Literal["review-then-land", "review-and-merge"] | None,
        Parameter(help="How it is merged; only of a staged convoy."),
    ] = None,
    by: By = None,
    place: ThePlace,
) -> Answer:
    """Change a live convoy: its title, its details, or, while it is staged, how it is merged."""
    payload = _given({"title": title, "body": _text_of(body), "merge_mode": mode})
    if not payload:
        raise Refused("nothing to change", status=400, path="convoy", hint="give --title, --body or --mode")
    return _about_convoy(place, town_id, "convoy_changed", convoy, {**payload, **_given({"by": by})})


def acknowledge(
    town_id: TownName,
    escalation: Annotated[str, Parameter(help="The escalation's id, a prefix that no other bead has, or its title.")],
    /,
    *,
    by: By = None,
    place: ThePlace,
) -> Answer:
    """Say that a person has seen an escalation: it is not raised again."""
    return _about(place, town_id, "escalation_acknowledged", _given({"by": by}), bead=escalation)


def reset_agent(town_id: TownName, agent: AgentId, /, *, by: By = None, place: ThePlace) -> Answer:
    """Stop an agent and give its bead back, with the attempts of both reset."""
    agent_id = _row(place, town_id, "agent", agent)
    return _post(place, town_id, "agent_reset", _given({"by": by}), agent_id=agent_id)


def nudge_agent(
    town_id: TownName,
    agent: AgentId,
    text: Annotated[str, Parameter(help="What it is told; `-` is standard input.")],
    /,
    *,
    mode: Annotated[
        Literal["immediate", "wait-idle", "queue"],
        Parameter(help="immediate interrupts it; wait-idle and queue let it finish."),
    ] = "immediate",
    by: By = None,
    place: ThePlace,
) -> Answer:
    """Tell a running agent something."""
    target = _row(place, town_id, "agent", agent)
    payload = {"target": target, "text": _text_of(text), "mode": mode, "by": by}
    return _post(place, town_id, "agent_nudged", _given(payload))


def _about(place: Place, town_id: str, event_type: str, payload: dict[str, Any], *, bead: str) -> Answer:
    return _post(place, town_id, event_type, payload, bead_id=_row(place, town_id, "bead", bead))


def _about_convoy(place: Place, town_id: str, event_type: str, convoy: str, payload: dict[str, Any]) -> Answer:
    return _post(place, town_id, event_type, {"convoy_id": _row(place, town_id, "bead", convoy), **payload})


def _row(place: Place, town_id: str, kind: Subject, word: str) -> str:
    return the_one(place, town_id, kind, word)


def _ids(place: Place, town_id: str, words: Sequence[str]) -> list[str]:
    return [the_one(place, town_id, "bead", each) for each in words]


def _rig(place: Place, town_id: str, word: str | None) -> str | None:
    """The id of the rig that a word names; of the only one if none is named. Raises Refused."""
    known = place.rigs(town_id).rigs
    if word is None:
        return known[0].rig_id if len(known) == 1 else None
    found = next((each.rig_id for each in known if word in (each.rig_id, each.name)), None)
    if found is None:
        hint = f"`townctl rig list {town_id}` shows the rigs"
        raise Refused(f"town {town_id} has no rig {word}", status=404, path="rig", hint=hint)
    return found


def _text_of(given: str | None) -> str | None:
    return content_of("-", what="body").decode(errors="replace") if given == "-" else given


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _post(
    place: Place, town_id: str, event_type: str, payload: dict[str, Any], *, shown: str = "", **about: str
) -> Answer:
    stored = posted(place, town_id, event_type, payload, **about)
    what = f"{shown}: " if shown else ""
    said = f"{what}accepted {', '.join(stored.accepted)}; the next tick decides: townctl event list {town_id} --type {event_type}"
    return Answer(stored, (Text(said),))
