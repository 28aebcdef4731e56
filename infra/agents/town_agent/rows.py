"""Answers of a town as short plain text for a model: one line for each row. All that others may have written is quoted."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from shared.domain.quoting import block, line, name

Row = Mapping[str, Any]

_EVENTS_SHOWN: Final = 3
_HELD_SHOWN: Final = 5
_TOLD_ELSEWHERE: Final = frozenset(
    {
        "beadId",
        "type",
        "status",
        "title",
        "body",
        "priority",
        "rigId",
        "createdAt",
        "createdBy",
        "dependsOn",
        "dependents",
        "audit",
    }
)


def bead_row(bead: Row) -> str:
    """A bead of a list."""
    labels = f"labels {line(bead['labels'])}" if bead.get("labels") else None
    rig = None if bead.get("rigId") is None else f"rig {name(bead['rigId'])}"
    return _joined(
        name(bead["beadId"]), bead["type"], bead["status"], bead["priority"], rig, labels, line(bead["title"])
    )


def convoy_row(convoy: Row) -> str:
    """A convoy of a list."""
    done = f"{convoy['done']} of {convoy['total']} done"
    return _joined(name(convoy["beadId"]), convoy["state"], done, line(convoy["title"]))


def agent_row(agent: Row) -> str:
    """An agent of a list."""
    hook = "works on nothing" if agent["hook"] is None else f"works on {name(agent['hook'])}"
    active = None if agent["lastActivityAt"] is None else f"active {agent['lastActivityAt']}"
    says = None if agent["says"] is None else f"says {line(agent['says'])}"
    return _joined(name(agent["agentId"]), name(agent["identity"]), agent["role"], agent["status"], hook, active, says)


def rig_row(rig: Row) -> str:
    """A rig, with the work in it."""
    return _joined(
        name(rig["rigId"]),
        line(rig["name"]),
        name(rig["gitUrl"]),
        f"default branch {name(rig['defaultBranch'])}",
        f"live issues {rig['liveIssues']}",
        f"agents at work {rig['agentsAtWork']}",
    )


def waiting_row(waiting: Row) -> str:
    """Why a bead waits."""
    why = ", ".join(line(guard["says"]) for guard in waiting["guards"][:1])
    until = "until an event ends it" if waiting["dueAt"] is None else f"until {waiting['dueAt']}"
    root = waiting.get("root")
    behind = None if root is None else f"behind {name(root['beadId'])} ({root['reason'] or root['status']})"
    return _joined(
        name(waiting["beadId"]),
        waiting["reason"] or "at work",
        f"since {waiting['since']}",
        until,
        why,
        behind,
        _ended_by(waiting),
    )


def _ended_by(waiting: Row) -> str | None:
    """What would end a wait: the events, else who acts on it."""
    events = [
        each["eventType"] + ("" if each["beadId"] is None else f" of {name(each['beadId'])}")
        for each in waiting["needs"][:_EVENTS_SHOWN]
    ]
    if events:
        return f"would end with {', or '.join(events)}"
    return None if waiting["actor"] is None else f"waits for {line(waiting['actor'])}"


def failed_row(failed: Row) -> str:
    """A bead that has failed."""
    why = None if failed["message"] is None else line(failed["message"])
    held = failed.get("holdsBack", ())[:_HELD_SHOWN]  # a deployment that is older than the agent does not say it
    back = f"holds back {', '.join(map(name, held))}" if held else None
    start = failed.get("newestStart")
    ended = None if start is None else f"its last start {line(start['ended'])}"
    said = None if failed.get("lastLine") is None else f"last line {line(failed['lastLine'])}"
    return _joined(name(failed["beadId"]), "failed", failed["reason"], why, ended, said, back, line(failed["title"]))


def page(rows: Iterator[str], cursor: str | None, *, of: str) -> Iterator[str]:
    """The rows of a list, and how to continue."""
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007 - the count is needed behind the loop
        yield row
    if not count and cursor is None:
        yield f"no {of}"
    if cursor is not None:
        yield f"there may be more: repeat with the cursor {cursor}"


def whole_bead(bead: Row) -> Iterator[str]:
    """A bead in full."""
    yield _joined(name(bead["beadId"]), bead["type"], bead["status"], bead["priority"])
    rig = "" if bead["rigId"] is None else f", rig {name(bead['rigId'])}"
    by = "" if bead["createdBy"] is None else f" by {line(bead['createdBy'])}"
    yield f"created {bead['createdAt']}{by}{rig}"
    yield f"title: {line(bead['title'])}"
    if bead["body"] is not None:
        yield "body:"
        yield block(bead["body"])
    yield from _fields(bead)
    for key, words in (("dependsOn", "depends on"), ("dependents", "needed by")):
        for edge in bead[key]:
            yield f"{words} {name(edge['beadId'])} ({edge['type']}, {edge['status']})"
    if bead["audit"]:
        yield "history, oldest first:"
    for entry in bead["audit"]:
        change = [None if entry[key] is None else line(entry[key]) for key in ("oldValue", "newValue")]
        agent = None if entry["agentId"] is None else f"agent {name(entry['agentId'])}"
        moved = " -> ".join(each for each in change if each is not None) or None
        yield "  " + _joined(entry["createdAt"], entry["eventType"], moved, agent)


def explanation(found: Row) -> Iterator[str]:
    """The history of a bead or agent, and why it waits now."""
    for entry in found["story"]:
        said = [None if entry[key] is None else line(entry[key]) for key in ("what", "outcome", "reason")]
        yield _joined(entry["time"], entry["code"], *said)
    if found["gone"] is not None:
        yield line(found["gone"]["says"])
    now = found["now"]
    if now is not None:
        yield f"now: {waiting_row(now)}"
        yield from (f"  {line(text)}" for text in now["says"])
    yield from (f"note: {line(text)}" for text in found["notes"])


def _fields(bead: Row) -> Iterator[str]:
    """What else is set, also in the parts for reviews, convoys, agents and escalations."""
    for key, value in bead.items():
        if key in _TOLD_ELSEWHERE or value in (None, [], {}):
            continue
        if key in ("review", "convoy", "agent", "escalation"):
            yield from (f"{key} {part}: {_value(said)}" for part, said in value.items() if said is not None)
        else:
            yield f"{key}: {_value(value)}"


def _value(value: object) -> str:
    return (
        str(value).lower() if isinstance(value, bool | int) else name(value) if isinstance(value, str) else line(value)
    )


def _joined(*parts: str | None) -> str:
    return "  ".join(part for part in parts if part is not None)
