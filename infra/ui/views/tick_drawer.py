"""One tick as a chain: what it was given, which rules acted and why, actions, effects, the rows that changed, the checks."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from infra.ui import pieces, sentences, times, words
from infra.ui.markup import Child, Html, joined, tag
from infra.ui.views.aside import codes, telling, tick_sentence
from shared.domain import strict_json
from shared.domain.times import readable_time, to_text
from shared.questions.process_ends import ENDED_WELL
from shared.questions.sent_events import bead_of, payload_of, said_by, scrubbed
from shared.questions.setting_changes import shown

if TYPE_CHECKING:
    from infra.ui.names import Names
    from infra.ui.shell import Standing
    from shared.history.differences import Difference
    from shared.questions.setting_history import SettingsEvent
    from shared.replay.tick_view import TickView

ABSENT: Final = "(no such row)"
_ROWS_IN_FULL: Final = (
    "beads",
    "agent_metadata",
    "review_metadata",
    "convoy_metadata",
    "escalation_metadata",
    "rigs",
    "town",
)
_LONGEST_PAYLOAD: Final = 4_000
_SHOWN: Final = 14


def tick_drawer(standing: Standing, seen: TickView, names: Names, steps: Iterable[tuple[int, int]]) -> Html:
    """The drawer beside the timeline."""
    address, names = standing.address, names.more(seen.names)
    past, row = seen.past, seen.past.row
    told = telling(seen.marks)
    title = tick_sentence(told, names) if told else joined("Nothing but signs of life")
    now = standing.now or past.time
    arrows = {
        step: pieces.link(
            address.with_(tick=str(tick)),
            pieces.shape("left" if step < 0 else "right", "ink", "Earlier tick" if step < 0 else "Later tick"),
            class_="iconbutton",
            data_step=step,
            hidden=abs(step) > 1,
        )
        for step, tick in steps
    }
    head = tag(
        "div",
        tag(
            "span",
            f"Tick {past.tick} · ",
            tag("b", times.clock(past.time), title=times.absolute(past.time)),
            " · ",
            pieces.age(past.time, now, suffix=" ago"),
            class_="sub",
        ),
        tag("span", class_="grow"),
        *arrows.values(),
        pieces.link(
            address.with_(tick=None), pieces.shape("close", "ink", "Close"), class_="iconbutton", data_close=True
        ),
        class_="drawer-head",
    )
    at = to_text(past.time)
    actions = tag(
        "div",
        pieces.link(
            address.to("town").at_time(at), pieces.shape("past", "ink"), "Town at this moment", class_="button"
        ),
        pieces.link(
            address.to("machine", replay="1").at_time(at),
            pieces.shape("recover", "ink"),
            "Replay from here",
            class_="button",
        ),
        class_="buttons",
    )
    if past.restore is not None:
        restored = [line for each in past.settings for line in settings(each)]
        parts: list[Html | None] = [_part("Restored", tag("p", names.linked(past.restore.says())), *restored)]
    else:
        parts = [
            _given(seen, names),
            _rules(row, names),
            _actions(row, names),
            _effects(seen, names),
            _changes(seen, names),
            _checks(seen),
        ]
    discarded = (
        tag(
            "p",
            f"The town does not remember this tick: tick {past.discarded_by} restored an older state.",
            class_="text-attn small",
        )
        if past.discarded_by
        else None
    )
    return tag(
        "aside",
        head,
        tag("h2", title, class_="drawer-title"),
        actions,
        discarded,
        *parts,
        class_="drawer",
        aria_label=f"Tick {past.tick}",
        id="drawer",
    )


def _part(name: str, *content: Child) -> Html:
    return tag("section", tag("h3", name), tag("div", *content), class_="part")


def _line(shape: str, text: Child, outcome: Child = "", tone: str = "plain") -> Html:
    return tag(
        "div", pieces.shape(shape, tone), tag("span", text), tag("span", outcome, class_="quiet right"), class_="line"
    )


def _given(seen: TickView, names: Names) -> Html:
    row = seen.past.row
    changed = {each.event_id: each for each in seen.past.settings}
    inputs, outputs = row["inputs"], row["outputs"]
    lines: list[Html] = []
    due, now = readable_time(inputs.get("due_at")), readable_time(row["now"])
    if due is not None and now is not None:
        late = now - due
        lines.append(
            _line(
                "time",
                f"Due at {times.clock(due)}",
                f"{late.total_seconds():.1f} s late" if late.total_seconds() > 0 else "by an event",
            )
        )
    for agent, found in inputs["observations"].get("agents", {}).items():
        if end := str(found.get("exit_reason") or ""):
            lines.append(
                _line(
                    "eye",
                    joined(
                        "The process of ",
                        names.link(agent),
                        " has ended: ",
                        tag("b", end, class_=None if end in ENDED_WELL else "text-fail"),
                    ),
                    "seen",
                )
            )
    sent = {event["event_id"]: event for event in inputs["new_events"]}
    for event in outputs["events"]:
        source = sent.get(event["event_id"], {})
        kind = event["event_type"] or source.get("event_type", "event")
        said = sentences.filled(
            _event_words(kind), names, bead=bead_of(source) if source else None, agent=source.get("agent_id"), change=""
        )
        message = _message_of(source)
        ok = event["outcome"] == "applied"
        text = joined(
            said,
            tag("span", f" “{message}”", class_="quiet") if message else None,
            tag("div", event["error"], class_="text-fail small") if event.get("error") else None,
            *settings(changed.get(event["event_id"])),
            _content(source),
        )
        lines.append(_line("event", text, event["outcome"], "plain" if ok else "attn"))
    if inputs.get("more_waiting"):
        lines.append(_line("event", "More events wait for the next tick"))
    return _part(
        "Given",
        *(lines[:40] or [tag("p", "Nothing new", class_="quiet")]),
        tag("p", f"{len(lines) - 40} more", class_="quiet") if len(lines) > 40 else None,
    )


def settings(event: SettingsEvent | None) -> Iterator[Html]:
    """What an event changed in the settings: each with its value before and after."""
    for each in () if event is None else event.changes:
        of_rig = "" if each.rig_id is None else f" of rig {each.rig_id}"
        before = tag("del", shown(each.old)) if each.old_known else tag("span", "not known", class_="quiet")
        yield tag(
            "div",
            tag("code", f"{each.name}{of_rig}"),
            tag("span", before, " ", tag("ins", shown(each.new))),
            class_="change",
        )


def _content(event: Mapping[str, Any]) -> Html | None:
    """Who sent an event, and what it says, without what looks like a secret."""
    if not event:
        return None
    by, said = said_by(event), scrubbed(payload_of(event))
    text = json.dumps(said, indent=2, ensure_ascii=False)
    parts = (
        tag("p", "By ", tag("b", by or "not said"), f", source {event.get('source')}", class_="small"),
        tag("p", tag("code", str(event.get("event_id", ""))), class_="small"),
        tag("pre", text[:_LONGEST_PAYLOAD] + (" …" if len(text) > _LONGEST_PAYLOAD else ""), class_="payload"),
    )
    return tag("details", tag("summary", f"Content{'' if by is None else f', by {by}'}"), *parts, class_="small")


def _event_words(kind: str) -> str:
    return words.EVENTS.get(kind, kind.replace("_", " "))


def _message_of(event: Mapping[str, Any]) -> str:
    """What an event says in words."""
    try:
        payload = strict_json.stored(event.get("payload") or "{}")
    except ValueError:
        return ""
    for name in ("message", "summary", "text", "reason"):
        if isinstance(payload, dict) and isinstance(payload.get(name), str):
            return str(payload[name])[:160]
    return ""


def _rules(row: Mapping[str, Any], names: Names) -> Html | None:
    acted: dict[str, Any] = {}
    for judged in row["outputs"]["actions"]:
        acted.setdefault(judged["rule"], judged)
    if not acted:
        return None
    lines = []
    known = codes()
    for rule, judged in acted.items():
        code, about = known.get(rule, (rule, ""))
        reason = judged["action"].get("reason")
        guard = tag("div", "Because: ", names.linked(str(reason)), class_="sub") if reason else None
        lines.append(
            _line("rule", joined(pieces.chip(code, about), " ", tag("span", about or rule, class_="strong"), guard))
        )
    rest = tag(
        "p",
        f"{len(known) - len([each for each in acted if each in known])} other rules looked and had nothing to do.",
        class_="quiet small",
    )
    return _part("Rules", *lines, rest)


def _actions(row: Mapping[str, Any], names: Names) -> Html | None:
    lines = []
    for judged in row["outputs"]["actions"]:
        text = joined(
            sentences.act(judged["action"], names),
            tag("div", judged["reason"], class_="text-attn small") if judged["reason"] else None,
        )
        lines.append(_line("rule", text, judged["outcome"], "plain" if judged["outcome"] == "applied" else "attn"))
    return _part("Actions", *lines) if lines else None


def _effects(seen: TickView, names: Names) -> Html | None:
    lines = [
        _line("effect", sentences.mark(mark, names), mark.says or "") for mark in seen.marks if mark.kind == "effect"
    ]
    return _part("Effects", *lines) if lines else None


def _changes(seen: TickView, names: Names) -> Html:
    whole: dict[str, list[int]] = {}
    tables: list[Html] = []
    for (table, key), group in groupby(seen.changes, key=lambda each: (each.table, each.key)):
        found = list(group)
        if found[0].column == "*" or table not in _ROWS_IN_FULL:
            added = whole.setdefault(table, [0, 0, 0])
            added[0 if found[0].expected == ABSENT else 1 if found[0].got == ABSENT else 2] += 1
            continue
        head = tag(
            "div",
            names.link(key) if key in names.titles else tag("code", key),
            " ",
            tag("span", table, class_="quiet"),
            class_="row-name",
        )
        tables.append(tag("div", head, *(_change(each, names) for each in found), class_="row-change"))
    told = [
        said
        for number, text in ((0, "added"), (1, "removed"), (2, "changed"))
        if (said := _counted(whole, number, text))
    ]
    if not seen.changes:
        return _part(
            "Rows changed",
            tag(
                "p",
                seen.note if seen.equal is None and seen.note else "None but those that every tick changes",
                class_="quiet",
            ),
        )
    more = tag("p", f"{len(tables) - _SHOWN} more rows", class_="quiet") if len(tables) > _SHOWN else None
    counts = (tag("p", text, class_="small") for text in told)
    note = tag("p", words.sentence(seen.note), class_="quiet small") if seen.equal is None and seen.note else None
    return _part("Rows changed", *tables[:_SHOWN], more, *counts, note)


def _counted(whole: Mapping[str, list[int]], number: int, text: str) -> str:
    found = {table: counts[number] for table, counts in whole.items() if counts[number]}
    if not found:
        return ""
    total = sum(found.values())
    return f"{total} row{'' if total == 1 else 's'} {text}: " + ", ".join(
        f"{table} {count}" for table, count in sorted(found.items())
    )


def _change(each: Difference, names: Names) -> Html:
    before, after = _value(each.expected, names), _value(each.got, names)
    return tag(
        "div", tag("code", each.column), tag("span", tag("del", before), " ", tag("ins", after)), class_="change"
    )


def _value(value: object, names: Names) -> Child:
    if value is None:
        return "null"
    text = str(value)
    at = readable_time(text) if text[:2] == "20" else None
    if at is not None:
        return tag("span", f"{at:%H:%M:%S}.{at.microsecond // 1000:03}", title=text)
    return names.of(text) if text in names.titles else text[:120]


def _checks(seen: TickView) -> Html:
    violations = [mark for mark in seen.marks if mark.kind == "violation"]
    lines: list[Html] = [_line("fail", mark.says or mark.name, "", "fail") for mark in violations] or [
        _line("done", "No invariant is violated", "", "done")
    ]
    if seen.equal:
        lines.append(_line("done", "Run again: exactly the same rows", "", "done"))
    elif seen.equal is False:
        lines.append(_line("fail", "Run again: other rows than were committed", "", "fail"))
    row = seen.past.row
    due = readable_time(row["outputs"].get("next_due_at"))
    said = f"Code {row['code_version'][:7]}"
    if due is not None:
        said += f" · next due at {times.clock(due)}"
    return _part("Checks", *lines, tag("p", said, class_="quiet small"))
