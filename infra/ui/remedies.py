"""What ends a wait: who can do what, with the command for it. The only table of it, for the terminal and for the page.

An answer names the events that would end a wait; this module says them as the acts of a person. Some waits end outside of the town:
at the forge, or where agents run.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from shared.questions.waiting import Need, Waiting

BLANK: Final = "..."
"""What stands in a command for a value that only the reader knows."""


class Remedy(NamedTuple):
    """`who` can do what it `does`: `{bead}` in it stands for the name of what it is `about`.

    Without a command it is done outside of the town.
    """

    who: str
    does: str
    about: str | None
    command: str | None


class _Act(NamedTuple):
    """What a person does, and the command for it, with the town and what it is about as blanks."""

    does: str
    command: str


_ACTS: Final[Mapping[str, _Act]] = {
    "bead_reopened": _Act("reopen {bead}", "townctl bead reopen {town} {about}"),
    "bead_cancelled": _Act("cancel {bead}", "townctl bead cancel {town} {about}"),
    "bead_updated": _Act("release {bead}", "townctl bead update {town} {about} --release"),
    "bead_created": _Act("create {bead}", 'townctl bead create {town} "..." --id {about}'),
    "convoy_started": _Act("start {bead}", "townctl convoy start {town} {about}"),
    "convoy_closed": _Act("close {bead}", "townctl convoy close {town} {about}"),
    "convoy_changed": _Act("take it out of {bead}", "townctl convoy remove {town} {about} {row}"),
    "town_started": _Act("start the town", "townctl start {town}"),
    "agent_reset": _Act("reset {bead}", "townctl agent reset {town} {about}"),
    "escalation_acknowledged": _Act("acknowledge {bead}", "townctl escalation acknowledge {town} {about}"),
    "mayor_notified": _Act("tell the mayor something", 'townctl mayor say {town} "..."'),
    "pr_adopted": _Act(
        "vouch for its author", "townctl event post {town} --type pr_adopted --bead {about} --payload '{{}}'"
    ),
    "triage_resolved": _Act(
        "decide about {bead}",
        'townctl event post {town} --type triage_resolved --bead {about} --payload \'{{"action": "..."}}\'',
    ),
    "rig_registered": _Act(
        "register its rig again",
        "townctl event post {town} --type rig_registered "
        """--payload '{{"rig_id": "...", "name": "...", "git_url": "..."}}'""",
    ),
}
"""What a person does so that an event comes. Other events come from agents, forges and the town."""

_GIVE_A_RIG: Final = _Act(
    "give {bead} a rig",
    'townctl event post {town} --type bead_updated --bead {about} --payload \'{{"rig_id": "..."}}\'',
)
_SETTINGS: Final[Mapping[str, tuple[str, str]]] = {
    "on_failed_dependency": ("let the town go on without failed beads", "proceed"),
    "max_polecats_per_rig": ("let more agents work in a rig", BLANK),
    "refinery.trusted_authors": ("trust its author", BLANK),
    "refinery.auto_merge": ("let the town merge it", "true"),
    "budget.per_bead": ("raise the budget of a task", BLANK),
    "budget.per_convoy": ("raise the budget of a convoy", BLANK),
}
"""What a person does by changing a setting, and the value that it needs."""

_OUTSIDE: Final[Mapping[str, tuple[str, str, str | None]]] = {
    "awaiting_approval": ("a reviewer", "approve its pull request", None),
    "awaiting_merge": ("a person", "merge its pull request", None),
    "draft": ("its author", "mark its pull request as ready", None),
    "changes_requested": ("a reviewer", "approve its pull request, or take back what was requested", None),
    "forge_denied": ("you", "store a token that the forge accepts", "townctl secret set {town} github < FILE"),
    "forge_unreadable": ("you", "look into it", "townctl doctor {town}"),
    "checks_unreadable": ("you", "store a token that may read checks", "townctl secret set {town} github < FILE"),
    "merge_refused": ("you", "see at its pull request what the forge requires", None),
    "merge_unproven": ("you", "see whether the target branch contains it", None),
    "pr_mismatch": ("you", "see which pull request it is", None),
    "no_agent_program": ("you", "give agents a program", 'townctl run --agent-command "..."'),
}
"""What is done outside of the town, by the reason of the wait."""
_OF_A_PULL_REQUEST: Final = frozenset({"pr_polled", "pr_status_changed"})


def remedies_of(waiting: Waiting, town: str) -> tuple[Remedy, ...]:
    """Everything that a person can do to end this wait, the usual thing first."""
    return tuple(dict.fromkeys(_found(waiting, town)))


def reopening(bead_id: str, town: str) -> Remedy:
    """What a person can do about a failed bead."""
    return _remedy(_ACTS["bead_reopened"], town, bead_id, bead_id)


def setting_to(town: str, setting: str, value: object, *, rig: str | None = None) -> str:
    """The command that gives a setting of a town or of a rig this value; null takes a rig's own value away."""
    word = value if isinstance(value, str) else json.dumps(value)
    of_rig = "" if rig is None else f" --rig {shlex.quote(rig)}"
    return f"townctl setting set {town} {setting} {shlex.quote(word)}{of_rig}"


def _found(waiting: Waiting, town: str) -> Iterator[Remedy]:
    outside = _OUTSIDE.get(waiting.reason or "")
    at_the_forge = any(need.event_type in _OF_A_PULL_REQUEST for need in waiting.needs)
    if outside is not None and (waiting.reason != "awaiting_approval" or at_the_forge):
        who, does, command = outside
        yield Remedy(who, does, waiting.bead_id, None if command is None else command.format(town=town))
    for need in waiting.needs:
        yield from _for(need, waiting, town)


def _for(need: Need, waiting: Waiting, town: str) -> Iterator[Remedy]:
    if need.setting is not None:
        does, value = _SETTINGS.get(need.setting, (f"change the setting {need.setting}", BLANK))
        yield Remedy("you", does, None, f"townctl setting set {town} {need.setting} {value}")
        return
    if need.event_type == "rig_registered" and any(other.setting is not None for other in waiting.needs):
        return  # the setting of the town says it
    act = _ACTS.get(need.event_type)
    if need.event_type == "bead_updated" and any(guard.guard == "no_rig" for guard in waiting.guards):
        act = _GIVE_A_RIG
    is_for_people = "operator" in need.senders or need.event_type == "mayor_notified"
    if act is not None and is_for_people:
        yield _remedy(act, town, need.bead_id or waiting.bead_id, waiting.bead_id)


def _remedy(act: _Act, town: str, about: str, row: str) -> Remedy:
    command = act.command.format(town=town, about=shlex.quote(about), row=shlex.quote(row))
    return Remedy("you", act.does, about, command)
