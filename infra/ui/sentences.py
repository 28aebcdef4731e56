"""Sentences about a town, with names that are links: why something waits, what the rules will do, what has happened."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from infra.ui import pieces, words
from infra.ui.address import Address
from infra.ui.markup import Child, Html, between, joined, tag
from infra.ui.remedies import OF_A_RIG_ITSELF, SINCE, Remedy, again, changed_before, remedies_of
from shared.domain import limits
from shared.questions.setting_changes import words_of

if TYPE_CHECKING:
    from infra.ui.names import Names
    from shared.questions.failures import FailedLine
    from shared.questions.marks import Mark
    from shared.questions.waiting import Waiting

_BLANK: Final = re.compile(r"\{(agent|bead|change)\}")
_LOSES: Final = frozenset({"heartbeat", "progress", "stalled", "bead_lost", "review_stuck", "review_abandoned"})
"""Waits at whose end something is taken away from somebody."""
_NO_NEWS: Final = frozenset({"poll_interval", "poll_turn", "forgetting", "token_fresh", "mayor_idle", "progress"})


def why(waiting: Waiting, names: Names) -> Html:
    """Why a bead waits: what the API says, with names, and what it waits for at the end of the chain."""
    first = waiting.guards[0]
    parts: list[Child] = [_sentence(names.linked(first.says))]
    others = [each for each in (first.actor or "").split(", ") if each in names.titles and each not in first.says]
    if others and waiting.reason in ("blocked_by", "awaiting_review", "failed_dependency", "agent_working"):
        parts = [_after(waiting, [names.link(each) for each in others[:3]], more=len(others) - 3)]
    if waiting.queue is not None:
        parts.append(f" Number {waiting.queue.position} of {waiting.queue.length} in its queue.")
    return joined(*parts)


def _after(waiting: Waiting, links: list[Html], *, more: int) -> Html:
    rest = f" and {words.quantity(more, 'other')}" if more > 0 else ""
    named = joined(between(" and ", links), rest)
    if waiting.reason == "awaiting_review":
        return joined("Its review has not ended: ", named, ".")
    if waiting.reason == "failed_dependency":
        return joined(named, " failed.")
    if waiting.reason == "agent_working":
        return joined(_sentence(waiting.guards[0].says), " Next: ", named, ".")
    return joined("After ", named, ".")


def who_can_help(waiting: Waiting, names: Names) -> Html | None:
    """The person who can end a wait that only a person ends, and how; None if it ends otherwise."""
    remedy = next(iter(remedies_of(waiting, names.town_id)), None) if words.needs_person(waiting.reason) else None
    return None if remedy is None else helps(remedy, waiting.bead_id, names)


def helps(remedy: Remedy, row: str, names: Names) -> Html:
    """What a person can do about a row: `You: reopen Write the preface`."""
    before, blank, after = remedy.does.partition("{bead}")
    about: Child = None
    if blank:
        about = "it" if remedy.about in (row, None) else names.link(remedy.about or "")
    who = f"{remedy.who[:1].upper()}{remedy.who[1:]}"
    return tag("div", pieces.shape("person", "attn"), joined(f"{who}: {before}", about, after), class_="who")


def failed_again(failed: FailedLine, names: Names) -> Iterator[Html]:
    """Why it does not help only to reopen a failed bead, and what was changed before it failed, with links."""
    for event in failed.changed:
        tick = Address("timeline", names.town_id, "", names.at, {"tick": str(event.tick)})
        said = joined(f"{SINCE[:1].upper()}{SINCE[1:]}: ", tag("b", changed_before(event)), ", ")
        yield tag("p", said, pieces.link(tick, f"tick {event.tick}", class_="name"), class_="sub again")
    why_ = again(failed)
    if why_ is not None:
        yield tag("p", f"Reopened, {why_}", class_="sub again")


def act(action: Mapping[str, Any], names: Names) -> Html:
    """What an action does."""
    bead = action.get("bead_id") or action.get("mr_bead_id") or action.get("convoy_id") or action.get("source_bead_id")
    return filled(
        words.ACTIONS.get(action["type"], action["type"].replace("_", " ")),
        names,
        bead=bead,
        agent=action.get("agent_id"),
        change=change_of(action),
    )


def change_of(action: Mapping[str, Any]) -> str:
    """A change of status in words: `in progress → open`."""
    if "from" not in action or "to" not in action:
        return "changes"
    return f"{words.STATUS.get(action['from'], action['from'])} → {words.STATUS.get(action['to'], action['to'])}"


def mark(found: Mark, names: Names) -> Html:
    """What a mark stands for."""
    bead = next((each for each in found.about if each not in names.agents), None)
    agent = next((each for each in found.about if each in names.agents), None)
    if found.kind == "observed":
        return joined("The process of ", names.link(agent or ""), f" has ended: {found.name}")
    if found.kind == "violation":
        return joined("Invariant ", found.name, ": ", names.linked(found.says or ""))
    if found.kind == "restore":
        return joined(_sentence(found.says or "the town was restored"))
    if found.settings:
        return joined(settings_of(found, "Changed: "))
    table = {"event": words.EVENTS, "effect": words.EFFECTS}.get(found.kind, words.ACTIONS)
    change, _, _ = (found.says or "").partition(": ")
    if " -> " in change:
        before, _, after = change.partition(" -> ")
        change = f"{words.STATUS.get(before, before)} → {words.STATUS.get(after, after)}"
    return filled(table.get(found.name, found.name.replace("_", " ")), names, bead=bead, agent=agent, change=change)


def settings_of(found: Mark, before: str = "") -> str:
    """What a mark changed in the settings, and who did it: `merge_strategy of rig r none -> pr, by ben`."""
    new = next((each.rig_id for each in found.settings if each.name == "git_url" and each.old is None), None)
    own = [each for each in found.settings if new is None or each.name not in OF_A_RIG_ITSELF]
    parts = [] if new is None else [f"rig {new} registered"]
    parts += [f"{before}{words_of(own)}"] if own else []
    said = ", ".join(parts) + ("" if found.by is None else f", by {found.by}")
    return f"{said[:1].upper()}{said[1:]}" if before else said


def filled(template: str, names: Names, *, bead: str | None, agent: str | None, change: str) -> Html:
    """A template with the names of what it is about."""
    parts: list[Child] = []
    end = 0
    for found in _BLANK.finditer(template):
        parts.append(template[end : found.start()])
        end = found.end()
        if found[1] == "change":
            parts.append(change)
        elif found[1] == "agent":
            parts.append(names.link(agent) if agent else "the agent" if found.start() else "The agent")
        else:
            parts.append(names.link(bead) if bead else "a bead" if found.start() else "A bead")
    return joined(*parts, template[end:])


def tone_of_wait(guard: str | None, left: timedelta) -> str:
    """The tone of a fuse: amber if something is about to be taken away, grey for a wait without news, blue otherwise."""
    if guard in _LOSES and left < timedelta(minutes=3):
        return "attn"
    return "wait" if guard in _NO_NEWS else "work"


def is_silent(last: datetime | None, now: datetime) -> bool:
    """Whether an agent at work has given no sign of life for so long that it may be lost soon."""
    return last is not None and now - last > limits.UNHEARD_AFTER


def _sentence(text: Html | str) -> Html:
    """A clause as a sentence: with a capital at the start and a full stop at the end."""
    shown = joined(text)
    if shown and shown[0] != "<":
        shown = Html(shown[0].upper() + shown[1:])
    return Html(shown if shown.endswith((".", "?", "!")) else f"{shown}.")
