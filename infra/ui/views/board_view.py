"""The board of a town, and the same beads as a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from infra.ui import board, pieces, sentences, words
from infra.ui.board import Blocked, Board, Entry
from infra.ui.markup import Child, Html, joined, tag
from infra.ui.remedies import remedies_of_failure
from infra.ui.views.bead_marks import shape_of, town_chain
from infra.ui.views.bead_table import bead_table

if TYPE_CHECKING:
    from infra.ui.names import Names
    from infra.ui.views.town_view import Town
    from shared.questions.status import TownStatus


def board_card(town: Town) -> Html:
    """The card with the board or the list."""
    address, view = town.standing.address, town.view
    convoy, as_list = address.query.get("convoy"), address.query.get("as") == "list"
    everything = board.board_of(view)
    shown = everything if convoy is None else board.board_of(view, convoy=convoy)
    convoys = board.convoys_of(view)
    choices = [(f"All {everything.count}", address.with_(convoy=None), convoy is None)]
    choices += [
        (f"{title} {count}", address.with_(convoy=each), convoy == each)
        for each, (title, count) in list(convoys.items())[:4]
    ]
    without = everything.count - sum(count for _, count in convoys.values())
    if convoys and without:
        choices.append((f"No convoy {without}", address.with_(convoy="none"), convoy == "none"))
    ways = [("Board", address.with_(as_=None), not as_list), ("List", address.with_(as_="list"), as_list)]
    other = pieces.link(
        ways[0][1] if as_list else ways[1][1],
        "",
        data_other_view=True,
        hidden=True,
        aria_label="The other view",
        tabindex="-1",
    )
    tools = tag(
        "div",
        pieces.segments(*ways, label="Board or list"),
        pieces.segments(*choices, label="Convoys"),
        other,
        pieces.filter_box("Filter beads", address.query.get("q", "")),
        class_="toolbar",
    )
    none = pieces.no_match(address, count=shown.count, hidden=True)
    if not everything.count:
        body: Html = pieces.empty(
            "No bead here yet.",
            command_=f'townctl bead create {view.status.town_id} "..."',
        )
    elif as_list:
        body = bead_table(town, _in_order(shown))
    else:
        body = _columns(town, shown)
    return tag("section", tag("h2", "Beads", class_="skip"), tools, body, none, class_="card", id="board")


def _in_order(shown: Board) -> list[Entry]:
    blocked = [entry for group in shown.blocked for entry in group.entries]
    return [*shown.in_progress, *shown.in_review, *blocked, *shown.waiting, *shown.failed, *shown.done]


def _columns(town: Town, shown: Board) -> Html:
    names, status = town.names, town.view.status
    chain = town_chain(town)
    groups = _first_groups(shown.blocked)
    waiting: list[Html] = [_blocked(group, names, status, chain) for group in groups]
    waiting += [bead_card(entry, names, status, chain) for entry in shown.waiting[: board.SHOWN]]
    all_waiting = [*shown.waiting, *(entry for group in shown.blocked for entry in group.entries)]
    person = sum(words.needs_person(entry.waiting.reason) for entry in all_waiting if entry.waiting is not None)
    blocked = sum(entry.waiting is not None and entry.waiting.reason == "blocked_by" for entry in all_waiting)
    timed = sum(entry.waiting is not None and entry.waiting.due_at is not None for entry in shown.waiting)
    counts = ", ".join(
        f"{count} {what}"
        for count, what in ((blocked, "blocked"), (timed, "by time"), (person, "for a person"))
        if count
    )
    done = tag("ul", *(_done(entry, names, status) for entry in shown.done[:12]), class_="done-list")
    return tag(
        "div",
        _column(
            "Waits",
            "wait",
            shown.waiting_count,
            counts,
            waiting,
            rest=shown.waiting_count
            - sum(len(group.entries) for group in groups)
            - min(len(shown.waiting), board.SHOWN),
            town=town,
            empty="Nothing waits.",
        ),
        *(
            _column(
                title,
                tone,
                len(entries),
                "",
                [bead_card(each, names, status, chain) for each in entries[: board.SHOWN]],
                rest=len(entries) - board.SHOWN,
                town=town,
                empty=empty,
            )
            for title, tone, entries, empty in (
                ("In progress", "work", shown.in_progress, "No agent is at work."),
                ("In review", "review", shown.in_review, "Nothing is in review."),
            )
        ),
        tag(
            "div",
            _head("Failed", "fail", len(shown.failed), "") if shown.failed else None,
            *(bead_card(each, names, status, chain) for each in _holding_first(shown.failed, status)[: board.SHOWN]),
            _head("Done", "done", len(shown.done), "newest first"),
            done,
            tag(
                "div",
                pieces.link(
                    town.standing.address.to("beads", status="closed"), f"12 of {len(shown.done)}", class_="name"
                ),
                class_="more",
            )
            if len(shown.done) > 12
            else None,
        ),
        class_="board",
    )


def _holding_first(failed: Sequence[Entry], status: TownStatus) -> list[Entry]:
    """The failed beads, first those that hold others back."""
    holding = {each.bead_id for each in status.failed if each.holds_back}
    return sorted(failed, key=lambda entry: entry.bead.bead_id not in holding)


def _first_groups(groups: Sequence[Blocked]) -> list[Blocked]:
    """As many groups as a column shows beads, at least one."""
    found: list[Blocked] = []
    count = 0
    for group in groups:
        if count >= board.SHOWN:
            break
        found.append(group)
        count += len(group.entries)
    return found


def _column(
    title: str, shape: str, count: int, said: str, rows: Sequence[Html], *, rest: int, town: Town, empty: str
) -> Html:
    more = None
    if rest > 0:
        more = tag(
            "div",
            pieces.link(
                town.standing.address.with_(as_="list"),
                f"{board.SHOWN} of {board.SHOWN + rest:,}: the list has the rest",
                class_="name",
            ),
            class_="more",
        )
    return tag(
        "div",
        _head(title, shape, count, said),
        *rows,
        more,
        tag("p", empty, class_="empty small") if not rows else None,
    )


def _head(title: str, shape: str, count: int, said: str) -> Html:
    return tag(
        "div",
        pieces.shape(shape, shape),
        tag("b", title),
        tag("span", count, class_="quiet"),
        tag("span", said, class_="meta"),
        class_="colhead",
    )


def bead_card(entry: Entry, names: Names, status: TownStatus, chain: frozenset[str]) -> Html:
    """A bead on the board: its name, what goes on in a sentence, and how long that still takes."""
    bead = entry.bead
    shape, tone = shape_of(entry, status)
    return tag(
        "article",
        pieces.shape(shape, tone),
        tag(
            "div",
            names.link(bead.bead_id),
            joined(" ", pieces.critical()) if bead.bead_id in chain else None,
            class_="title",
        ),
        pieces.age(entry.since, status.now),
        tag("div", *_said(entry, names, status), class_="body"),
        class_="bead",
        data_key=bead.bead_id,
        data_row=f"{bead.title} {bead.bead_id} {' '.join(bead.labels)}",
    )


def _said(entry: Entry, names: Names, status: TownStatus) -> Iterator[Child]:
    bead, waiting, agent = entry.bead, entry.waiting, entry.agent
    failure = next((each for each in status.failed if each.bead_id == bead.bead_id), None)
    if failure is not None:
        yield tag("p", names.linked(words.sentence(failure.message or failure.reason or "It failed.")), class_="sub")
        yield sentences.failed_again(failure, names)
        for remedy in remedies_of_failure(failure, status.town_id):
            yield sentences.helps(remedy, bead.bead_id, names)
        return
    if agent is not None:
        alive = (
            joined("alive ", pieces.age(agent.last_activity_at, status.now), " ago")
            if agent.last_activity_at
            else "has given no sign of life yet"
        )
        says = f" · “{agent.says}”" if agent.says else ""
        yield tag("p", names.link(agent.agent_id), says, " · ", alive, class_="sub")
    if waiting is None:
        return
    if agent is None:
        yield tag("p", sentences.why(waiting, names), class_="sub")
    yield sentences.who_can_help(waiting, names)
    if waiting.due_at is not None and not words.needs_person(waiting.reason):
        guard = waiting.guards[0]
        yield pieces.fuse(
            guard.since or waiting.since,
            waiting.due_at,
            status.now,
            sentences.tone_of_wait(guard.guard, waiting.due_at - status.now),
        )


def _blocked(group: Blocked, names: Names, status: TownStatus, chain: frozenset[str]) -> Html:
    """Beads that wait for the same one, below a sentence that says what that one waits for."""
    count = len(group.entries)
    what = "" if group.waits is None else f", which {_root_waits(group.waits)}"
    title = joined(f"{count} behind ", names.link(group.root), what)
    rows = []
    for entry in group.entries[: board.SHOWN]:
        bead = entry.bead
        mark = joined(" ", pieces.critical()) if bead.bead_id in chain else None
        name = tag("span", names.link(bead.bead_id), mark, _direct(entry, group.root, names))
        rows.append(
            tag(
                "li",
                name,
                pieces.age(entry.since, status.now),
                data_row=f"{bead.title} {bead.bead_id}",
                data_key=bead.bead_id,
            )
        )
    more = count - board.SHOWN
    rest = tag("li", tag("span", f"{board.SHOWN} of {count:,}", class_="quiet")) if more > 0 else None
    return tag(
        "article",
        pieces.shape("blocked", "wait"),
        tag("div", title, class_="title"),
        tag("span"),
        tag("ul", *rows, rest),
        _behind_failed(group, names, status),
        class_="bead",
        data_key=f"behind-{group.root}",
    )


def _behind_failed(group: Blocked, names: Names, status: TownStatus) -> Html | None:
    """What helps beads that wait for a failed one, and why it fails again."""
    failure = next((each for each in status.failed if each.bead_id == group.root), None)
    if failure is None:
        return None
    remedies = (sentences.helps(each, "", names) for each in remedies_of_failure(failure, status.town_id))
    return tag("div", sentences.failed_again(failure, names), *remedies, class_="body")


def _root_waits(reason: str) -> str:
    if reason == "failed":
        return "failed"
    if reason == "agent_working":
        return "is being worked on"
    if reason in words.BEADS:
        return {"in_progress": "is being worked on", "in_review": "is in review", "open": "waits"}.get(reason, reason)
    return (
        f"waits {words.reason_word(reason).text}"
        if words.reason_word(reason).text.startswith(("for", "by"))
        else f"waits: {words.reason_word(reason).text}"
    )


def _direct(entry: Entry, root: str, names: Names) -> Html | None:
    """The beads directly before it, if these are not the root itself."""
    actor = "" if entry.waiting is None else entry.waiting.guards[0].actor or ""
    before = [each for each in actor.split(", ") if each in names.titles and each != root]
    if not before:
        return None
    more = f" and {words.quantity(len(before) - 1, 'other')}" if len(before) > 1 else ""
    return tag("span", "after ", names.link(before[0]), more, class_="sub")


def _done(entry: Entry, names: Names, status: TownStatus) -> Html:
    return tag(
        "li",
        names.link(entry.bead.bead_id),
        pieces.age(entry.bead.closed_at, status.now),
        data_row=f"{entry.bead.title} {entry.bead.bead_id}",
        data_key=entry.bead.bead_id,
    )
