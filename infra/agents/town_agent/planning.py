"""What the mayor changes in its town: beads, convoys, agents, escalations. A polecat can only propose beads."""

from collections.abc import Sequence

from infra.agents.town_agent import events
from infra.agents.town_agent.order import Caller
from infra.agents.town_agent.talk import Given, Talk
from shared.adapters import outside_files
from shared.domain import strict_json
from shared.domain.states import Label, Role


def bead_create(talk: Talk, given: Given) -> None:
    """Create a bead, or propose one."""
    is_proposal = talk.caller.role is not Role.MAYOR
    if is_proposal:
        _require_proposal(talk.caller, given)
    bead = {
        "bead_id": given.id,
        "type": "issue",
        "title": given.title,
        "body": given.body,
        "rig_id": given.rig or talk.caller.rig_id,
        "priority": given.priority,
        "labels": given.label,
        "depends_on": given.depends_on,
        "convoy_id": given.convoy,
        "metadata": dict(_pair(text) for text in given.metadata) or None,
    }
    said = events.bead_created(talk.caller, bead)
    talk.tell(said)
    talk.say(said["payload"]["bead"]["bead_id"])
    if is_proposal:
        talk.note("proposed: it is held until the mayor or an operator decides about it")


def bead_update(talk: Talk, given: Given) -> None:
    """Change the given fields of a bead."""
    fields: dict[str, object] = {
        "title": given.title,
        "body": given.body,
        "priority": given.priority,
        "labels": given.label or None,
        "remove_labels": given.remove_label or None,
        "metadata": {key: value or None for key, value in map(_pair, given.metadata)} or None,
        "rig_id": given.rig,
    }
    if all(value is None for value in fields.values()):
        raise ValueError("bead update: nothing to change; name a field, for example --body TEXT")
    talk.tell(events.bead_updated(talk.caller, given.bead, fields, at=talk.clock.now()))


def bead_release(talk: Talk, given: Given) -> None:
    """A held bead may be worked on."""
    fields = {"remove_labels": [Label.HELD]}
    talk.tell(events.bead_updated(talk.caller, given.bead, fields, at=talk.clock.now()))


def bead_cancel(talk: Talk, given: Given) -> None:
    """Nobody shall work on a bead."""
    talk.tell(events.bead_cancelled(talk.caller, given.bead, status=given.status, at=talk.clock.now()))


def bead_reopen(talk: Talk, given: Given) -> None:
    """A failed bead is worked on again."""
    talk.tell(events.bead_reopened(talk.caller, given.bead, reason=given.reason, at=talk.clock.now()))


def convoy_create(talk: Talk, given: Given) -> None:
    """Create a convoy with its tasks."""
    rig_id = given.rig or talk.caller.rig_id
    if not rig_id:
        raise ValueError("convoy create: the order names no rig; name one with --rig ID (`town-agent list rigs`)")
    convoy: dict[str, object] = {
        "convoy_id": given.id,
        "title": given.title,
        "rig_id": rig_id,
        "merge_mode": given.merge_mode,
        "staged": True if given.staged else None,
        "tasks": _tasks(given),
    }
    said = events.convoy_created(talk.caller, convoy)
    talk.tell(said)
    talk.say(said["payload"]["convoy_id"])


def convoy_start(talk: Talk, given: Given) -> None:
    """The tasks of a staged convoy may be worked on."""
    talk.tell(events.convoy_started(talk.caller, given.convoy, at=talk.clock.now()))


def convoy_change(talk: Talk, given: Given) -> None:
    """Add beads to a convoy and take others out."""
    if not given.add and not given.remove:
        raise ValueError("convoy change: nothing to change; name beads with --add BEAD or --remove BEAD")
    said = events.convoy_changed(talk.caller, given.convoy, add=given.add, remove=given.remove, at=talk.clock.now())
    talk.tell(said)


def convoy_close(talk: Talk, given: Given) -> None:
    """End a convoy and everything in it."""
    talk.tell(events.convoy_closed(talk.caller, given.convoy, at=talk.clock.now()))


def agent_reset(talk: Talk, given: Given) -> None:
    """Take an agent off its bead."""
    talk.tell(events.agent_reset(talk.caller, given.agent, at=talk.clock.now()))


def agent_nudge(talk: Talk, given: Given) -> None:
    """Remind a working agent of something."""
    if not given.text.strip():
        raise ValueError("agent nudge: TEXT is empty; use: town-agent agent nudge AGENT TEXT")
    talk.tell(events.agent_nudged(talk.caller, given.agent, given.text.strip(), at=talk.clock.now()))


def acknowledge(talk: Talk, given: Given) -> None:
    """An escalation was seen."""
    talk.tell(events.escalation_acknowledged(talk.caller, given.escalation))


def _require_proposal(caller: Caller, given: Given) -> None:
    """Raises ValueError for what the town refuses from an agent that is not the mayor."""
    refused = {
        "--convoy": given.convoy is not None,
        "--depends-on": bool(given.depends_on),
        "--rig": given.rig not in (None, caller.rig_id),
        "--label": any(label.startswith("gt:") and label != Label.HELD for label in given.label),
    }
    for option, is_given in refused.items():
        if is_given:
            raise ValueError(
                f"bead create: leave out {option}: a polecat proposes an issue of its own rig with title, body, priority, "
                "labels of its own and metadata, and the mayor decides the rest"
            )


def _tasks(given: Given) -> list[dict[str, object]]:
    """The tasks, from their titles or from the JSON list. Raises ValueError."""
    if bool(given.task) == bool(given.tasks):
        raise ValueError("convoy create: name the tasks either with --task TITLE, once for each, or with --tasks JSON")
    tasks = [{"title": title} for title in given.task] or _described(given.tasks)
    if not given.in_order:
        return tasks
    return [
        {**task, **({"depends_on": [number - 1]} if number and "depends_on" not in task else {})}
        for number, task in enumerate(tasks)
    ]


def _described(said: object) -> list[dict[str, object]]:
    if isinstance(said, str):
        try:
            said = strict_json.foreign(said, limit=outside_files.LARGEST)
        except ValueError as error:
            raise ValueError(f"convoy create: --tasks is not JSON ({error})") from error
    if not isinstance(said, Sequence) or isinstance(said, str) or not all(isinstance(task, dict) for task in said):
        raise ValueError('convoy create: --tasks is not a JSON list of objects, such as [{"title": "Write the lexer"}]')
    return [dict(task) for task in said]


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ValueError(f"--metadata: {text!r} is not of the form KEY=VALUE")
    return key, value
