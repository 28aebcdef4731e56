"""Fleet: every town, what needs somebody first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from infra.ui import fleet, pieces, words
from infra.ui.address import Address
from infra.ui.fleet import TownRow
from infra.ui.markup import Child, Html, joined, tag
from infra.ui.shell import Standing, figure, page, title_bar

if TYPE_CHECKING:
    from shared.questions.activity import LastHour

_BAR: Final = 92
_SPARK: Final = 14
"""The height in pixels of the most actions that any town had in two minutes."""
_LONG_AGO: Final = datetime.fromtimestamp(0, UTC)


def fleet_page(standing: Standing, rows: Sequence[TownRow]) -> Html:
    """The whole page."""
    counts = {group: sum(row.says.group == group for row in rows) for group in fleet.GROUPS}
    waits = fleet.totals(rows)
    working = sum(row.working for row in rows)
    agents = sum(len(row.status.agents) for row in rows if row.status is not None)
    title = title_bar(
        "Fleet",
        _lead(counts, len(rows)),
        figure(f"{working} of {agents}", "agents work"),
        figure(f"{sum(waits.values()):,}", "beads wait"),
        figure(fleet.money(sum(row.spent for row in rows)), "today"),
    )
    if not rows:
        nothing = pieces.empty("No town here yet.", command_="townctl town create TOWN")
        return page(standing, title, tag("div", tag("section", nothing, class_="card"), class_="pad"), title="Fleet")
    body = tag("div", _why(standing.address, rows), _table(standing, rows, counts), class_="pad stack")
    return page(standing, title, body, title="Fleet")


def _lead(counts: dict[fleet.Group, int], towns: int) -> Html:
    alarming, person, recovers = counts["alarming"], counts["person"], counts["recovers"]
    first = (
        f"{alarming} of {words.quantity(towns, 'town')} {'is' if alarming == 1 else 'are'} alarming."
        if alarming
        else ""
    )
    parts = [
        f"{words.quantity(person, 'town')} {'waits' if person == 1 else 'wait'} for a person" if person else "",
        f"{words.quantity(recovers, 'town')} {'recovers by itself' if recovers == 1 else 'recover by themselves'}"
        if recovers
        else "",
    ]
    rest = ", ".join(part for part in parts if part)
    if not first and not rest:
        return joined("Nothing needs you.")
    return joined(tag("b", first), " " if first and rest else "", f"{rest}." if rest else "")


def _why(address: Address, rows: Sequence[TownRow]) -> Html:
    waits = fleet.totals(rows)
    whole = sum(waits.values())
    chosen = address.query.get("why")
    bar = tag(
        "div",
        *(
            tag("i", class_=tone, style=f"flex:{waits[category]}")
            for category, (_, tone) in words.CATEGORIES.items()
            if waits[category]
        ),
        class_="bar",
    )
    links = [
        pieces.link(
            address.with_(why=None if chosen == category else category),
            tag("i", class_=tone),
            text,
            " ",
            tag("b", f"{waits[category]:,}"),
            aria_current="true" if chosen == category else None,
        )
        for category, (text, tone) in words.CATEGORIES.items()
        if waits[category]
    ]
    head = (
        tag("b", f"Why {words.quantity(whole, 'bead')} {'waits' if whole == 1 else 'wait'}")
        if whole
        else tag("span", "No bead waits.")
    )
    return tag(
        "section",
        bar if whole else None,
        tag("div", head, *links, class_="legend"),
        class_="card why",
        aria_label="Why beads wait",
    )


def _table(standing: Standing, rows: Sequence[TownRow], counts: dict[fleet.Group, int]) -> Html:
    address = standing.address
    group, why, sort = (address.query.get(name) for name in ("group", "why", "sort"))
    shown = [row for row in rows if (group is None or row.says.group == group) and (why is None or row.waits.get(why))]
    kept = fleet.ordered(shown, sort or "need")
    choices = [(f"All {len(rows)}", address.with_(group=None), group is None)]
    choices += [
        (f"{fleet.GROUPS[each][0]} {count}", address.with_(group=each), group == each)
        for each, count in counts.items()
        if count
    ]
    sorts = tag(
        "select",
        *(
            tag(
                "option",
                f"Sort: {text}",
                data_href=address.with_(sort=None if name == "need" else name).href,
                selected=(sort or "need") == name,
            )
            for name, text in fleet.SORTS.items()
        ),
        class_="choose",
        aria_label="Sort",
    )
    tools = tag(
        "div",
        pieces.segments(*choices, label="Groups of towns"),
        pieces.filter_box("Filter towns", address.query.get("q", "")),
        sorts,
        class_="toolbar",
    )
    heads = ("State", "Town", "What goes on", "For", "Agents", "Beads that wait", "Actions, last hour")
    header = pieces.table_head(*heads, "Today", "Last tick", "Next", right=(7, 8, 9))
    scale = max((sum(row.waits.values()) for row in rows), default=1)
    hours = [row.status.last_hour for row in rows if row.status is not None]
    busiest = max(
        (max(map(sum, zip(each.actions_by_slot, each.failures_by_slot, strict=True))) for each in hours), default=1
    )
    now = standing.now or _LONG_AGO
    body = tag("tbody", *_rows(kept, scale, max(busiest, 1), now, grouped=sort in (None, "need")))
    none = pieces.no_match(address, hidden=bool(kept))
    return tag("section", tools, tag("table", header, body, class_="grid"), none, class_="card", aria_label="Towns")


def _rows(rows: Sequence[TownRow], scale: int, busiest: int, now: datetime, *, grouped: bool) -> Iterator[Html]:
    last = ""
    for row in rows:
        if grouped and row.says.group != last:
            last = row.says.group
            title, what = fleet.GROUPS[row.says.group]
            count = sum(each.says.group == last for each in rows)
            text = joined(tag("b", title), f"{count}", f" · {what}" if what else "")
            yield tag(
                "tr",
                tag("th", text, colspan="10", scope="colgroup"),
                class_="group",
                data_group=last,
                data_key=f"group-{last}",
            )
        yield _row(row, scale, busiest, now)


def _row(row: TownRow, scale: int, busiest: int, now: datetime) -> Html:
    says, town = row.says, row.status
    at = now if town is None else town.now
    state = tag(
        "span",
        pieces.shape(says.shape, says.tone),
        tag("span", says.state),
        class_=f"state {says.tone if says.tone in ('fail', 'attn') else ''}",
    )
    action = None if says.command is None else pieces.copies(says.does or "Copy the command", says.command)
    goes_on = tag("div", tag("span", says.goes_on, class_="sub"), action, class_="goes-on")
    agents: Child = "–"
    if town is not None and town.agents:
        count = min(len(town.agents), 12)
        slots = tag(
            "span",
            *(tag("i", class_="work" if place < row.working else None) for place in range(count)),
            class_="slots",
            aria_hidden="true",
        )
        agents = joined(slots, tag("span", f"{row.working}/{len(town.agents)}", class_="dim"))
    waiting = sum(row.waits.values())
    parts = [(words.CATEGORIES[category][1], row.waits.get(category, 0)) for category in words.CATEGORIES]
    bar = joined(
        tag("span", f"{waiting:,}" if waiting else "–", class_="count"), pieces.bar_of(parts, whole=scale, width=_BAR)
    )
    due: Child = "–"
    if town is not None and says.group != "alarming":
        due = "on an event" if town.only_an_event_wakes_it else pieces.countdown(town.next_due_at, at)
    return tag(
        "tr",
        tag("td", state, class_="first nowrap"),
        tag("td", pieces.link(Address("town", row.town_id), tag("b", row.town_id)), class_="nowrap"),
        tag("td", goes_on, class_="wide"),
        tag("td", pieces.age(says.since, at) if says.since else "", class_="nowrap dim hide-small"),
        tag("td", agents, class_="nowrap"),
        tag("td", bar, class_="nowrap", title=_waits_text(row)),
        tag("td", "–" if town is None else _acted(town.last_hour, busiest), class_="nowrap hide-small"),
        tag("td", fleet.money(row.spent), class_="right"),
        tag("td", pieces.age(row.entry.time, at), class_="right hide-small"),
        tag("td", due, class_="right"),
        data_row=row.town_id,
        data_key=f"town-{row.town_id}",
        data_in=says.group,
    )


def _acted(hour: LastHour, busiest: int) -> Html:
    """A number, and a bar for each two minutes on a scale that all towns share; red where effects failed."""
    slots = zip(hour.actions_by_slot, hour.failures_by_slot, strict=True)
    bars = tag("span", *(_slot(actions, failures, busiest) for actions, failures in slots), class_="spark")
    failed = f"; {words.quantity(hour.failures, 'effect')} failed" if hour.failures else ""
    says = f"{words.quantity(hour.actions, 'action')} in the last hour{failed}"
    count = tag("span", f"{hour.actions:,}" if hour.actions else "–", class_="count")
    return tag("span", count, bars, role="img", aria_label=says, title=says)


def _slot(actions: int, failures: int, busiest: int) -> Html:
    height = max(2, round(_SPARK * min(actions + failures, busiest) / busiest)) if actions or failures else 1
    return tag("i", class_="fail" if failures else "wait" if actions else "line", style=f"height:{height}px")


def _waits_text(row: TownRow) -> str:
    return ", ".join(
        f"{count} {words.CATEGORIES[category][0]}"
        for category in words.CATEGORIES
        if (count := row.waits.get(category, 0))
    )
