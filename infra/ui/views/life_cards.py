"""What stands beside the story of a bead or agent: why it waits, what it is connected with, facts, its log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from infra.ui import pieces, sentences, words
from infra.ui.markup import Child, Html, joined, tag
from infra.ui.remedies import Remedy, before_reopening, remedies_of
from infra.ui.views import stories
from infra.ui.views.aside import about_of

if TYPE_CHECKING:
    from infra.ui.names import Names
    from infra.ui.views.town_view import Town
    from shared.questions.agent_log import AgentLog
    from shared.questions.explain import Explanation
    from shared.questions.failures import FailedLine
    from shared.questions.present import CurrentWait
    from shared.questions.town_view import TownView

_BUTTONS: Final = 3
"""The most commands that have a button."""


def why(told: Explanation, town: Town, names: Names) -> Html | None:
    """Why it waits, in a sentence, with what ends the wait and who can help."""
    now = told.now
    if now is None or not now.guards:
        return None
    status = town.view.status
    guard = now.guards[0]
    title = "Why it waits" if now.reason is not None else "What comes next"
    parts: list[Child] = [tag("p", sentences.why(now, names), class_="guard")]
    if now.due_at is not None:
        parts.append(
            pieces.fuse(
                guard.since or now.since,
                now.due_at,
                status.now,
                sentences.tone_of_wait(guard.guard, now.due_at - status.now),
            )
        )
    rows: list[tuple[str, Child]] = [("Guard", joined(guard.says, " ", tag("code", guard.guard)))]
    rows += [("Also", joined(other.says, " ", tag("code", other.guard))) for other in now.guards[1:4]]
    if now.rule is not None:
        rows.append(("Then", joined(pieces.chip(now.rule, about_of(now.rule)), " ", about_of(now.rule))))
    remedies = before_reopening(remedies_of(now, status.town_id), told.failed, status.town_id)
    rows.append(("Who can help", _helpers(now, remedies, names)))
    mayor = status.mayor_told if (told.row or {}).get("role") == "mayor" else None
    if mayor is not None:
        rows.append(
            ("Told last", joined(names.linked(mayor.says), ", ", pieces.age(mayor.at, status.now, suffix=" ago")))
        )
    if told.failed is not None:
        rows.append(("But", _but(told.failed, told.id, names)))
    if now.cause is not None and now.cause.tick is not None:
        rows.append(
            (
                "Because of",
                joined(
                    stories.told_sentence(now.cause, told.id, names),
                    ", ",
                    pieces.tick_link(town.standing.address, now.cause.tick),
                ),
            )
        )
    if now.root is not None:
        rows.append(("At the root", names.link(now.root.bead_id)))
    ends = words.needs_person(now.reason) or now.reason is None
    button = _buttons(remedies, names) if ends else None
    return pieces.card(
        title,
        tag("div", *parts, pieces.facts(*rows), button, class_="body-pad"),
        aside=joined("for this reason for " if now.reason is not None else "for ", pieces.age(now.since, status.now)),
        class_="why-card",
    )


def _but(failed: FailedLine, row: str, names: Names) -> Html | None:
    """Why it does not help only to reopen the failed bead: this one, or the one for which this one waits."""
    said = list(sentences.failed_again(failed, names))
    if not said:
        return None
    about = None if failed.bead_id == row else tag("p", names.link(failed.bead_id), ": ", class_="sub")
    return tag("div", about, *said)


def _buttons(remedies: Sequence[Remedy], names: Names) -> Html | None:
    """A button for each command that helps, in the order in which they are needed; a single one needs no name of its own."""
    found = [(remedy, remedy.command) for remedy in remedies if remedy.command is not None][:_BUTTONS]
    if not found:
        return None
    only = "Copy the command that helps" if len(found) == 1 else None
    buttons = (pieces.copies(only or _label(remedy, names), command) for remedy, command in found)
    return tag("div", *buttons, class_="buttons inset")


def _label(remedy: Remedy, names: Names) -> str:
    does = remedy.does.replace("{bead}", "it" if remedy.about is None else names.of(remedy.about))
    return f"{does[:1].upper()}{does[1:]}"


def _helpers(now: CurrentWait, remedies: Sequence[Remedy], names: Names) -> Child:
    who = [sentences.helps(each, now.bead_id, names) for each in remedies]
    if who:
        return joined(*who)
    senders = dict.fromkeys(words.SENDERS.get(sender, sender) for need in now.needs for sender in need.senders)
    if senders:
        return joined(
            ", ".join(senders),
            f" ({', '.join(dict.fromkeys(need.event_type.replace('_', ' ') for need in now.needs))})",
        )
    return "time" if now.due_at is not None else "nobody has to"


def connected(told: Explanation, town: Town, names: Names) -> Html | None:
    """What it is connected with, both ways."""
    groups = list(_groups(told, town.view, names))
    if not groups:
        return None
    parts: list[Html] = []
    for title, ids in groups:
        parts.append(tag("h3", title, class_="quiet small"))
        parts.append(
            tag(
                "ul",
                *(_connection(each, town, names) for each in ids[:8]),
                tag("li", f"{len(ids) - 8} more", class_="quiet") if len(ids) > 8 else None,
            )
        )
    return pieces.card("Connected", tag("div", *parts, class_="body-pad connected"))


def _groups(told: Explanation, view: TownView, names: Names) -> Iterator[tuple[str, list[str]]]:
    me = told.id
    titles = (("blocks", "Waits for"), ("tracks", "Belongs to"), ("parent-child", "Below"))
    for kind, title in titles:
        found = [
            edge.depends_on
            for edge in view.edges
            if edge.bead_id == me and edge.kind == kind and edge.depends_on in names.titles
        ]
        if found:
            yield title, found
    for kind, title in (("blocks", "Holds up"), ("tracks", "Holds together"), ("parent-child", "Above")):
        found = [
            edge.bead_id
            for edge in view.edges
            if edge.depends_on == me and edge.kind == kind and edge.bead_id in names.titles
        ]
        reviews = [each for each in found if names.sources.get(each) == me]
        others = [each for each in found if each not in reviews]
        if reviews:
            yield "Review", reviews
        if others:
            yield title, others
    if told.kind == "agent":
        hook = (told.row or {}).get("current_hook_bead_id")
        if hook in names.titles:
            yield "Works on", [str(hook)]
        before = dict.fromkeys(
            each
            for entry in reversed(told.story)
            for word in entry.what.split(" ")
            if (each := word.strip(":,")) in names.titles and each not in names.agents and each != hook
        )
        if before:
            yield "Worked on", list(before)
        return
    agents = dict.fromkeys(
        each
        for entry in reversed(told.story)
        for word in entry.what.split(" ")
        if (each := word.strip(":,")) in names.agents
    )
    if agents:
        yield "Agents", list(agents)


def _connection(id_: str, town: Town, names: Names) -> Html:
    agent = next((each for each in town.view.status.agents if each.agent_id == id_), None)
    if agent is not None:
        word = words.agent_word(agent.status)
        does: Child = (
            joined("now at ", names.link(agent.hook))
            if agent.hook is not None and agent.hook in names.titles
            else word.text.lower()
        )
        return tag(
            "li", pieces.shape(word.shape, word.tone), names.link(id_), tag("span", does, class_="quiet right small")
        )
    bead = next((each for each in town.view.beads if each.bead_id == id_), None)
    word = words.bead_word("open" if bead is None else bead.status)
    at = None if bead is None else bead.closed_at
    said: Child = (
        joined(word.text.lower(), " ", pieces.age(at, town.view.status.now, suffix=" ago"))
        if at is not None
        else word.text.lower()
    )
    return tag(
        "li", pieces.shape(word.shape, word.tone), names.link(id_), tag("span", said, class_="quiet right small")
    )


def facts(told: Explanation, town: Town) -> Html:
    """What is known of it, as names and values."""
    row: Mapping[str, Any] = told.row or {}
    now = town.view.status.now
    bead = next((each for each in town.view.beads if each.bead_id == told.id), None)
    used = told.used
    rows: list[tuple[str, Child]] = [("Id", tag("code", told.id))]
    if bead is not None:
        rows += [
            ("Starts tried", bead.attempts),
            ("Labels", ", ".join(bead.labels) or "none"),
            ("Filed", pieces.age(bead.created_at, now, suffix=" ago")),
            ("Updated", pieces.age(bead.updated_at, now, suffix=" ago")),
        ]
    for name, title in (
        ("generation", "Starts"),
        ("observed_status", "Process"),
        ("agent_status_message", "Says"),
        ("last_dispatch_outcome", "Last start"),
    ):
        if row.get(name) not in (None, ""):
            rows.append((title, str(row[name])))
    if told.signs_of_life:
        rows.append(("Signs of life", told.signs_of_life))
    if used is not None:
        rows.append(
            ("Tokens", f"{used.input_tokens:,} in · {used.output_tokens:,} out · {used.cached_tokens:,} cached")
        )
    review = next((each for each in town.view.reviews if each.bead_id == told.id), None)
    if review is not None:
        rows += [
            ("Branch", tag("code", review.branch)),
            ("Into", tag("code", review.target_branch)),
            ("Merge", tag("code", review.merge_commit[:12]) if review.merge_commit else None),
        ]
        if review.pr_url:
            rows.append(("Pull request", pieces.outside_link(review.pr_url, review.pr_url, class_="name")))
    if told.now is not None:
        rows += [("Unapplied", f"{event.type}: {event.outcome} {event.error or ''}") for event in told.now.events]
    return pieces.card("Facts", tag("div", pieces.facts(*rows), class_="body-pad"))


def log_card(town: Town, log: AgentLog | None, problem: str | None) -> Html | None:
    """What its agent printed."""
    address = town.standing.address
    kind = address.query.get("log", "log")
    choices = [
        ("Log", address.with_(log=None), kind == "log"),
        ("Transcript", address.with_(log="transcript"), kind == "transcript"),
    ]
    tools: list[Child] = [tag("h2", "Log", class_="skip"), pieces.segments(*choices, label="Log or transcript")]
    if log is None:
        said = pieces.empty(problem or "No log is kept of it.")
        return tag("section", tag("div", *tools, class_="toolbar"), said, class_="card", id="log")
    lines = log.text.splitlines()
    shown = lines[-200:]
    who = joined(town.names.link(log.agent_id), f", start {log.generation}")
    count = (
        f"Newest {len(shown)} of {len(lines)} lines. Secrets are masked."
        if len(lines) > len(shown)
        else words.quantity(len(lines), "line")
    )
    tools += [tag("span", class_="grow"), tag("span", who, class_="small")]
    return tag(
        "section",
        tag("div", *tools, class_="toolbar"),
        tag("div", "\n".join(shown), class_="lines log", tabindex="0", role="region", aria_label="Log"),
        tag("div", count, class_="more"),
        class_="card",
        id="log",
    )
