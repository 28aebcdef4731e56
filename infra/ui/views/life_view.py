"""Bead and agent: the life as a strip and a story, why it waits, what it is connected with, what its agent printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from infra.ui import fleet, life, pieces, sentences, times, words
from infra.ui.life import Chapter
from infra.ui.markup import Child, Html, joined, tag
from infra.ui.shell import page
from infra.ui.short_ids import short
from infra.ui.views import life_cards, stories
from infra.ui.views.aside import about_of

if TYPE_CHECKING:
    from infra.ui.names import Names
    from infra.ui.views.town_view import Town
    from shared.questions.agent_log import AgentLog
    from shared.questions.explain import Explanation
    from shared.questions.story import StoryEntry

_SHAPES: Final = {
    "event": "event",
    "rule": "rule",
    "effect": "effect",
    "observed": "crash",
    "audit": "event",
    "invariant": "attn",
    "tick": "past",
}
_KINDS: Final = {
    "attempt": "work",
    "worked": "work",
    "waited": "blocked",
    "recovery": "lost",
    "review": "review",
    "rested": "blocked",
    "ended": "done",
}


def life_page(town: Town, told: Explanation, log: AgentLog | None, log_problem: str | None) -> Html:
    """The whole page of a bead or agent."""
    is_agent = told.kind == "agent"
    names = town.names
    chapters = life.chapters_of(told.story, is_agent=is_agent)
    story = tag(
        "section",
        _strip(chapters, town, names),
        *(_chapter(each, town, names, told) for each in chapters),
        _next(told, town, names),
        class_="card story",
        id="story",
    )
    main = tag("div", story, life_cards.log_card(town, log, log_problem), class_="stack")
    beside = tag(
        "aside",
        life_cards.why(told, town, names),
        life_cards.connected(told, town, names),
        life_cards.facts(told, town),
        class_="stack",
        aria_label="Why, connections, facts",
    )
    return page(
        town.standing,
        _head(told, town, names, chapters),
        *_notes(told),
        tag("div", main, beside, class_="cols"),
        title=f"{names.of(told.id)} · {town.standing.address.town}",
    )


def _head(told: Explanation, town: Town, names: Names, chapters: Sequence[Chapter]) -> Html:
    address, row = town.standing.address, told.row or {}
    status = str(row.get("status", ""))
    word = words.agent_word(status) if told.kind == "agent" else words.bead_word(status)
    title = names.of(told.id) if told.id in names.titles else names.tidy(str(row.get("title", told.id)))
    waits_since = None if told.now is None else told.now.since
    since = (
        chapters[-1].start if chapters and told.kind == "bead" else waits_since
    )  # the chapters of a mayor have no turns
    now = town.view.status.now
    state = joined(
        word.text,
        joined(" for ", pieces.age(since, now)) if since is not None and status not in ("closed", "failed") else "",
    )
    gone = "" if told.gone is None else told.gone.says
    convoy = next((bead.convoy for bead in town.view.beads if bead.bead_id == told.id), None)
    bead = next((bead for bead in town.view.beads if bead.bead_id == told.id), None)
    line: list[Child] = [joined(told.kind.capitalize(), " ", tag("code", short(told.id), title=told.id))]
    if convoy is not None:
        line.append(joined("Convoy ", names.link(convoy)))
    if row.get("rig_id"):
        line.append(f"Rig {row['rig_id']}")
    if bead is not None:
        line.append(f"Priority {bead.priority}")
    if row.get("role"):
        line.append(str(row["role"]).capitalize())
    if told.used is not None:
        line.append(joined("Spent ", tag("b", fleet.money(told.used.cost_micros))))
    to = address.to("timeline", span="all", q=title)
    command = f"townctl explain {told.kind} {told.id} --town {address.town}"
    buttons = tag(
        "div",
        pieces.link(to, pieces.shape("timeline", "ink"), "In the timeline", class_="button"),
        pieces.copies("Copy the command", command),
        class_="buttons",
    )
    top = tag(
        "div",
        pieces.shape(word.shape, word.tone, word.text),
        tag("h1", title),
        tag("p", gone or state, class_="lead"),
        tag("span", class_="grow"),
        buttons,
        class_="titlebar life",
    )
    return joined(top, tag("div", *(tag("span", each) for each in line), class_="under-title"))


def _notes(told: Explanation) -> Iterator[Html]:
    for note in told.notes:
        yield tag("div", pieces.shape("attn", "attn"), tag("span", note), class_="banner")


def _strip(chapters: Sequence[Chapter], town: Town, names: Names) -> Html | None:
    if not chapters:
        return None
    now = town.view.status.now
    whole = max(sum(each.length(now).total_seconds() for each in chapters if each.kind != "ended"), 1)
    bars = []
    for each in chapters:
        share = each.length(now).total_seconds() / whole
        if each.kind == "ended":
            continue
        label = f"{_short(each, names)} {times.exact(each.length(now))}" if share > 0.12 else ""
        kind = _KINDS[each.kind]
        cross = (
            tag("span", pieces.shape("crash", "fail", "crashed"), class_="crossed")
            if each.crashed_at is not None
            else None
        )
        bars.append(
            tag(
                "span",
                label,
                cross,
                class_=f"span {kind}",
                style=f"flex:{max(share, 0.012):.4f} 1 0",
                title=f"{_short(each, names)}: {times.exact(each.length(now))}",
            )
        )
    end = "now" if chapters[-1].kind != "ended" else times.clock(chapters[-1].start)
    ends = tag("div", tag("span", times.clock(chapters[0].start)), tag("span", end), class_="strip-ends")
    return tag("div", tag("div", *bars, class_="life-strip"), ends, class_="strip-box")


def _short(chapter: Chapter, names: Names) -> str:
    about = "" if chapter.about is None else names.of(chapter.about)
    return {
        "waited": "waited",
        "attempt": about,
        "worked": about,
        "recovery": "given up" if chapter.failed else "recovery",
        "review": "review",
        "rested": "rested",
        "ended": "ended",
    }[chapter.kind]


def _title(chapter: Chapter, names: Names) -> Html:
    about = Html("") if chapter.about is None or chapter.kind == "ended" else names.link(chapter.about)
    if chapter.kind == "attempt":
        ended = (
            tag("span", " crashed" if chapter.crashed_at else " lost", class_="text-fail") if chapter.failed else None
        )
        return joined(tag("b", f"Attempt {chapter.number}, ", about), ended)
    if chapter.kind == "worked":
        return joined(
            tag("b", "Worked on ", about), tag("span", " crashed" if chapter.crashed_at else "", class_="text-fail")
        )
    titles = {
        "waited": "Waited",
        "recovery": "Taken back, and not tried again" if chapter.failed else "Recovery by itself",
        "review": "Review",
        "rested": "Rested",
        "ended": "Failed" if chapter.about == "failed" else "Done",
    }
    return tag("b", titles[chapter.kind])


def _chapter(chapter: Chapter, town: Town, names: Names, told: Explanation) -> Html:
    now = town.view.status.now
    long: Child = times.exact(chapter.length(now)) + ("" if chapter.end or chapter.kind == "ended" else " so far")
    if chapter.kind == "ended":
        long = ""
    head = tag(
        "div",
        tag("span", f"{chapter.start:%H:%M}", class_="at"),
        tag("span", _title(chapter, names)),
        tag("span", long, class_="aside small"),
        class_="chapter-head",
    )
    rows = [_entry(entry, town, names, told) for entry in chapter.entries]
    lines = None
    last = told.last_lines
    if last is not None and chapter.failed and chapter.about == last.agent_id:
        lines = tag(
            "div",
            "\n".join(last.lines),
            class_="lines fail",
            tabindex="0",
            role="region",
            aria_label="The newest lines of the log",
        )
    return tag("div", head, tag("ol", *rows), lines, class_="chapter")


def _entry(entry: StoryEntry, town: Town, names: Names, told: Explanation) -> Html:
    shape = _SHAPES.get(entry.by, "event")
    crashed = entry.by == "observed"
    tone = "fail" if crashed or entry.by == "invariant" else "plain"
    text = stories.told_sentence(entry, told.id, names)
    chip = joined(" ", pieces.chip(entry.code, about_of(entry.code))) if entry.by == "rule" else ""
    quiet = entry.outcome not in (None, "applied", "ok", "started")
    outcome = f" {entry.outcome}" if quiet and not crashed else ""
    reason = (
        tag("div", names.linked(entry.reason), class_="sub")
        if entry.reason and entry.reason not in ("dispatched", "started")
        else None
    )
    opens = tag("span") if entry.tick is None else pieces.tick_link(town.standing.address, entry.tick)
    return tag(
        "li",
        tag("time", times.clock(entry.time), title=times.absolute(entry.time), class_="at"),
        pieces.shape(shape, tone),
        tag(
            "div",
            tag("span", text, class_="text-fail strong" if crashed else None),
            tag("span", outcome, class_="text-attn"),
            chip,
            reason,
        ),
        opens,
    )


def _next(told: Explanation, town: Town, names: Names) -> Html | None:
    now = told.now
    if now is None or not now.comes:
        return None
    rows = []
    for act in now.comes[:3]:
        text = joined(sentences.act(act.action, names), " ", pieces.chip(act.rule, about_of(act.rule)))
        rows.append(
            tag(
                "li",
                tag("span", "in ", pieces.countdown(act.due_at, town.view.status.now), class_="at text-work"),
                pieces.shape("time", "plain"),
                tag("div", text),
                tag("span", "comes next", class_="quiet small"),
            )
        )
    return tag("div", tag("ol", *rows), class_="chapter")
