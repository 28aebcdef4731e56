"""Town: the board, the convoys, agents, reviews, escalations and mail; beside them what happens next and what just happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from infra.ui import board, fleet, pieces, sentences, words
from infra.ui.markup import Child, Html, joined, tag
from infra.ui.names import Names
from infra.ui.shell import Standing, banner, figure, page, title_bar
from infra.ui.views import aside, board_view, convoy_view, rosters

if TYPE_CHECKING:
    from shared.questions.dry_run import DryRun
    from shared.questions.timeline import Timeline
    from shared.questions.town_view import TownView
    from shared.questions.waiting import Waiting


_NOUNS: Final[Mapping[str, str]] = {
    "merge_request": "review",
    "convoy": "convoy",
    "escalation": "escalation",
    "message": "message",
}


@dataclass(frozen=True, slots=True)
class Town:
    """What the views of a town are made of: one answer, with the names in it, and what the page around it says."""

    standing: Standing
    view: TownView
    names: Names
    recent: Timeline | None = None
    next: DryRun | None = None
    no_next: str | None = None
    """Why there is no dry run: these credentials may not ask for one."""


def town_page(town: Town) -> Html:
    """The whole page."""
    view, standing = town.view, town.standing
    main = tag(
        "div",
        board_view.board_card(town),
        *convoy_view.convoy_cards(town),
        rosters.agents_card(town),
        rosters.reviews_card(town),
        rosters.letters_card(town),
        class_="stack",
    )
    beside = tag("aside", aside.next_card(town), aside.recent_card(town), class_="stack", aria_label="Next and last")
    return page(
        standing,
        lead(town),
        *banners(town),
        pills(town),
        tag("div", main, beside, class_="cols"),
        title=f"{view.status.town_id} · Town",
    )


def lead(town: Town) -> Html:
    """The title of the town, and one sentence that names what needs somebody."""
    status = town.view.status
    entries = board.board_of(town.view)
    busy = sum(agent.status in fleet.BUSY for agent in status.agents)
    figures: list[Child] = [figure(f"{busy} of {len(status.agents)}", "agents work")] if status.agents else []
    figures += [
        figure(entries.waiting_count, "wait"),
        figure(len(entries.in_review), "in review"),
        figure(len(entries.failed), "failed") if entries.failed else None,
        figure(len(entries.done), "done"),
        figure(fleet.money(fleet.spent_today(status)), "today") if status.spend else None,
    ]
    return title_bar(status.town_id, _sentence(town), *(each for each in figures if each is not None))


def _sentence(town: Town) -> Html:
    status, names = town.view.status, town.names
    person = [each for each in status.waiting if words.needs_person(each.reason)]
    silent = [
        agent
        for agent in status.agents
        if agent.status == "working" and sentences.is_silent(agent.last_activity_at, status.now)
    ]
    parts: list[Child] = []
    if person:
        parts.append(tag("b", f"{_counted(person, town)} {'waits' if len(person) == 1 else 'wait'} for a person."))
    if silent:
        parts.append(
            joined(
                names.link(silent[0].agent_id),
                " has been silent for ",
                pieces.age(silent[0].last_activity_at, status.now),
                ".",
            )
        )
    if status.alarms and any(alarm.raised for alarm in status.alarms):
        parts.insert(
            0,
            tag(
                "b",
                f"Alarm: {', '.join(alarm.alarm.replace('-', ' ') for alarm in status.alarms if alarm.raised)}.",
                class_="text-fail",
            ),
        )
    if not parts:
        if status.waiting or any(agent.status == "working" for agent in status.agents):
            parts.append("It goes on by itself.")
        elif status.next_due_at is not None:
            parts.append(
                joined("Nothing waits. The next tick is due in ", pieces.countdown(status.next_due_at, status.now), ".")
            )
        else:
            parts.append("Nothing waits. Only an event changes something.")
    return joined(*(joined(part, " ") for part in parts))


def _counted(waiting: Sequence[Waiting], town: Town) -> str:
    """How many of each kind wait: `2 beads and 1 review`."""
    types = {bead.bead_id: bead.type for bead in town.view.status.beads}
    nouns = Counter(_NOUNS.get(types.get(each.bead_id, "issue"), "bead") for each in waiting)
    counted = [words.quantity(count, noun) for noun, count in nouns.items()]
    return " and ".join(filter(None, (", ".join(counted[:-1]), counted[-1])))


def banners(town: Town) -> list[Html]:
    """What is said of the whole town, one line each."""
    status = town.view.status
    found: list[Html] = []
    if status.paused:
        found.append(
            banner(
                joined(
                    "Paused: events are stored and applied, and no rule acts until you start it. ",
                    pieces.copies("Start", f"townctl start {status.town_id}"),
                )
            )
        )
    if status.draining:
        found.append(banner("Drains: nothing is started until the container is replaced.", "time"))
    if status.settling:
        found.append(
            banner("Settles after an outage or a restore: time-based recovery waits for fresh signs of life.", "time")
        )
    if status.breaker.open:
        found.append(
            banner(
                f"The breaker is open: {words.quantity(status.breaker.failures, 'bead')} failed to start, "
                "and nothing is started until it closes.",
                "fail",
            )
        )
    if status.set_aside is not None:
        found.append(
            banner(
                joined(
                    "Set aside: its runs ended their processes. ",
                    pieces.copies("Resume", f"townctl town resume {status.town_id}"),
                ),
                "fail",
            )
        )
    found += [
        banner(joined(f"Invariant {broken.invariant}: ", town.names.linked(broken.message)), "fail")
        for broken in status.violations
    ]
    found += [banner(f"Unreadable row in {row.table}, {row.key}: {row.problem}", "fail") for row in status.unreadable]
    found += [banner(note) for note in town.view.notes]
    return found


def pills(town: Town) -> Html:
    """The anchors of a small screen."""
    view = town.view
    links = [
        ("#next", "Now"),
        ("#board", f"Beads {board.board_of(view).count}"),
        ("#convoys", "Convoys"),
        ("#agents", f"Agents {len(view.status.agents)}"),
        ("#reviews", "Reviews"),
    ]
    return tag("nav", *(tag("a", text, href=to) for to, text in links), class_="pills", aria_label="Parts of the page")


def recent_acts(town: Town, most: int) -> Sequence[Html]:
    """What just happened, newest first."""
    if town.recent is None:
        return ()
    names = town.names.more(town.recent.names)
    return aside.happened(town.recent, names, town.standing, most)
