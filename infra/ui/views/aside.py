"""What stands beside the present: what happens next and when, and what has just happened."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Final

from infra.ui import pieces, sentences, words
from infra.ui.markup import Child, Html, joined, tag

if TYPE_CHECKING:
    from infra.ui.names import Names
    from infra.ui.shell import Standing
    from infra.ui.views.town_view import Town
    from shared.questions.marks import Mark
    from shared.questions.present import ComingAct
    from shared.questions.timeline import Timeline

SHOWN: Final = 8
_SILENT_RULES: Final = frozenset({"C1"})


def next_card(town: Town) -> Html:
    """What happens next if nothing else happens: the dry run of the next tick, then the first acts of the rules."""
    view, names = town.view, town.names
    status = view.status
    tick = status.as_of.tick + 1
    rows = [*_dry(town), *_coming(town)]
    left_out = max(len(rows) - SHOWN, 0) + view.comes_omitted
    rows = rows[:SHOWN]
    if status.next_due_at is not None and not rows:
        rows = [
            tag(
                "li",
                pieces.countdown(status.next_due_at, status.now),
                tag("span", f"Tick {tick} looks again"),
                data_key="due",
            )
        ]
    events = [each for each in status.waiting if words.needs_person(each.reason) and each.due_at is None][:6]
    only = None
    if events:
        items = (
            tag(
                "li",
                pieces.shape("person", "attn"),
                tag("span", _needed(each.reason, each.bead_id, names)),
                data_key=f"needs-{each.bead_id}",
            )
            for each in events
        )
        only = joined(tag("h3", "Only an event changes"), tag("ul", *items))
    said: Child = f"dry run of tick {tick}" if town.next is not None else "what the rules will do"
    nothing = None
    if not rows and only is None:
        nothing = pieces.empty("Nothing happens until an event comes.")
    more = tag("div", f"{left_out} more later", class_="more") if left_out else None
    note = tag("div", town.no_next, class_="more") if town.no_next else None
    return tag(
        "section",
        tag("div", tag("h2", "What happens next"), tag("span", said, class_="aside small"), class_="card-head"),
        tag("ol", *rows),
        more,
        only,
        nothing,
        note,
        class_="card next",
        id="next",
    )


def _needed(reason: str | None, bead: str, names: Names) -> Html:
    word = words.reason_word(reason).text
    return joined(names.link(bead), f": {word}")


def _dry(town: Town) -> list[Html]:
    """What the next tick does, if it were now."""
    if town.next is None:
        return []
    found = []
    names, status = town.names, town.view.status
    due = status.next_due_at or status.now
    for rule, judged in groupby(town.next.actions, key=lambda action: action.rule):
        acts = [sentences.act(each.action, names) for each in judged]
        code = codes().get(rule, ("", ""))
        body = tag("div", _sentence_of(acts), " ", pieces.chip(code[0] or rule, code[1]))
        found.append(
            tag(
                "li",
                pieces.countdown(min(due, status.now) if status.inbox_batches else due, status.now),
                body,
                data_key=f"dry-{rule}",
            )
        )
    return found


def _coming(town: Town) -> list[Html]:
    names, status = town.names, town.view.status
    told = set() if town.next is None else {action.rule for action in town.next.actions}
    rows = []
    acts = [act for act in town.view.comes if act.name not in told or act.due_at > status.now]
    for (due, name), group in groupby(acts, key=lambda act: (act.due_at, act.name)):
        same = list(group)
        rows.append(_act(same, town, names, key=f"{name}-{pieces.milliseconds(due)}"))
    return rows


def _act(same: Sequence[ComingAct], town: Town, names: Names, *, key: str) -> Html:
    first, now = same[0], town.view.status.now
    code = codes().get(first.name, (first.rule, ""))
    acts = [sentences.act(each.action, names) for each in same]
    body: list[Child] = [tag("div", _sentence_of(acts), " ", pieces.chip(code[0], code[1]))]
    left = first.due_at - now
    tone = sentences.tone_of_wait(first.guard, left)
    if first.since is not None and tone == "attn":
        body.append(pieces.fuse(first.since, first.due_at, now, tone))
    return tag("li", pieces.countdown(first.due_at, now), tag("div", *body), data_key=key)


def _sentence_of(acts: Sequence[Html]) -> Html:
    more = f" and {len(acts) - 2} more" if len(acts) > 2 else ""
    return joined("; ".join(acts[:2]) and Html("; ".join(acts[:2])), more)


def recent_card(town: Town) -> Html:
    """What has just happened, newest first."""
    to = town.standing.address.to("timeline")
    head = tag(
        "div",
        tag("h2", "What just happened"),
        tag("span", pieces.link(to, "Timeline", class_="name"), class_="aside small"),
        class_="card-head",
    )
    if town.recent is None:
        return tag("section", head, pieces.skeleton(4), class_="card next")
    rows = happened(town.recent, town.names.more(town.recent.names), town.standing, SHOWN)
    nothing = None if rows else pieces.empty("Nothing in the last hours.")
    return tag("section", head, tag("ol", *rows), nothing, class_="card next", id="recent")


def happened(recent: Timeline, names: Names, standing: Standing, most: int) -> list[Html]:
    """The newest ticks that did something, as sentences that open the tick."""
    found: list[Html] = []
    now = standing.now or recent.end
    for tick, group in groupby(reversed(recent.marks), key=lambda mark: mark.tick):
        if len(found) == most:
            break
        marks = list(group)[::-1]
        told = telling(marks)
        if not told:
            continue
        chips = dict.fromkeys(mark.code for mark in told if mark.code is not None)
        body = tag(
            "div", tick_sentence(told, names), *(joined(" ", pieces.chip(code, about_of(code))) for code in chips)
        )
        at = pieces.age(told[0].time, now)
        opens = tag(
            "a", at, href=standing.address.to("timeline", tick=str(tick)).href, title=f"tick {tick}", class_="age"
        )
        found.append(tag("li", opens, body, data_key=f"tick-{tick}"))
    return found


def telling(marks: Sequence[Mark]) -> list[Mark]:
    """The marks of a tick that tell its story: what ended or was decided before what was merely answered."""
    acts = [
        mark
        for mark in marks
        if mark.kind in ("rule", "observed", "restore", "violation")
        and mark.outcome in (None, "applied")
        and mark.code not in _SILENT_RULES
    ]
    said = [
        mark
        for mark in marks
        if mark.kind == "event" and not mark.name.endswith("_result") and mark.name != "container_status"
    ]
    return [*said, *acts] or [mark for mark in marks if mark.kind == "event"]


def tick_sentence(marks: Sequence[Mark], names: Names) -> Html:
    """What a tick did, in words: at most three things."""
    shown = [sentences.mark(mark, names) for mark in marks]
    shown = list(dict.fromkeys(shown))
    more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
    return joined(Html("; ".join(shown[:3])), more)


def codes() -> dict[str, tuple[str, str]]:
    """The code of each rule and what it does, by its name in the journal."""
    from shared.rules import RULES

    return {rule.name: (rule.code, _about(rule.judge.__doc__, rule.code)) for rule in RULES}


def about_of(code: str) -> str:
    """What the rule with this code does."""
    return next((about for each, about in codes().values() if each == code), "")


def _about(text: str | None, code: str) -> str:
    """What a rule does, without its code."""
    said = " ".join((text or "").split()).removeprefix(f"{code}:").strip()
    return said[:1].upper() + said[1:]
