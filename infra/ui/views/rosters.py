"""Agents, reviews, escalations and mail of a town, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from infra.ui import fleet, pieces, sentences, words
from infra.ui.markup import Child, Html, joined, tag
from infra.ui.names import pull_number

if TYPE_CHECKING:
    from infra.ui.views.town_view import Town
    from shared.questions.lanes import Lane
    from shared.questions.status import AgentLine
    from shared.questions.town_lists import ReviewEntry

STRIP: Final = timedelta(minutes=40)
_WIDE: Final = 110


def agents_card(town: Town, *, all_of_them: bool = False) -> Html:
    """The agents, worst first."""
    status = town.view.status
    roles = {
        role: sum(agent.role == role for agent in status.agents) for role in ("polecat", "refinery", "mayor", "triage")
    }
    said = ", ".join(
        words.quantity(count, role, "refineries" if role == "refinery" else "")
        for role, count in roles.items()
        if count
    )
    if not status.agents:
        return pieces.card("Agents", pieces.empty("No agent has been started yet."), id_="agents")
    lanes = {} if town.recent is None else {lane.id: lane for lane in town.recent.lanes}
    ordered = sorted(status.agents, key=lambda agent: _worst(agent, status.now))
    shown = ordered if all_of_them else ordered[:12]
    heads = ("Agent", "Does", "Last sign of life", "Last 40 min", "Starts", "Tokens", "Spend")
    head = pieces.table_head(*heads, right=(4, 5, 6))
    rows = (_agent(agent, town, lanes.get(agent.agent_id)) for agent in shown)
    more = (
        tag(
            "div",
            pieces.link(town.standing.address.to("agents"), f"{len(shown)} of {len(ordered)}", class_="name"),
            class_="more",
        )
        if len(shown) < len(ordered)
        else None
    )
    return pieces.card(
        joined("Agents ", tag("span", said, class_="quiet")),
        tag("table", head, tag("tbody", *rows), class_="grid"),
        more,
        id_="agents",
    )


def _worst(agent: AgentLine, now: datetime) -> tuple[int, str, str]:
    order = {"dead": 0, "stalled": 0, "working": 2, "waiting": 3, "idle": 4}
    silent = agent.status == "working" and sentences.is_silent(agent.last_activity_at, now)
    return (1 if silent else order.get(agent.status, 5), agent.role, agent.identity)


def _agent(agent: AgentLine, town: Town, lane: Lane | None) -> Html:
    names, now = town.names, town.view.status.now
    word = words.agent_word(agent.status)
    silent = agent.status == "working" and sentences.is_silent(agent.last_activity_at, now)
    shape, tone = ("attn", "attn") if silent else (word.shape, word.tone)
    does: Child = word.text
    if agent.hook is not None:
        says = f" · “{agent.says}”" if agent.says else " · silent" if silent else ""
        does = joined(names.link(agent.hook), says)
    used = agent.used
    tokens = "–" if used is None else f"{used.input_tokens + used.output_tokens + used.cached_tokens:,}"
    return tag(
        "tr",
        tag(
            "td",
            tag("span", pieces.shape(shape, tone, word.text), names.link(agent.agent_id), class_="state"),
            class_="first nowrap",
        ),
        tag("td", does, class_="sub wide"),
        tag(
            "td",
            pieces.age(agent.last_activity_at, now, suffix=" ago")
            if agent.last_activity_at
            else tag("span", "never", class_="quiet"),
            class_="nowrap",
        ),
        tag("td", strip(lane, now), class_="hide-small"),
        tag("td", agent.generation, class_="right hide-small"),
        tag("td", tokens, class_="right hide-small"),
        tag("td", "–" if used is None else fleet.money(used.cost_micros), class_="right"),
        data_row=f"{agent.identity} {agent.agent_id}",
        data_key=agent.agent_id,
    )


def strip(lane: Lane | None, now: datetime) -> Html:
    """What an agent did in the last 40 minutes, as a strip."""
    start = now - STRIP
    bars = []
    for span in () if lane is None else lane.spans:
        left = max((span.start - start) / STRIP, 0) * _WIDE
        right = min(((span.end or now) - start) / STRIP, 1) * _WIDE
        if right > 0 and right > left:
            bars.append(
                tag(
                    "rect",
                    x=f"{left:.1f}",
                    y="2",
                    width=f"{max(right - left, 1):.1f}",
                    height="8",
                    rx="1",
                    class_=f"fill-{'review' if span.doing == 'reviews' else 'work'}",
                )
            )
    base = tag("line", x1="0", x2=_WIDE, y1="6", y2="6", class_="base")
    return tag("svg", base, *bars, class_="strip", viewBox=f"0 0 {_WIDE} 12", aria_hidden="true")


def reviews_card(town: Town, *, entries: Sequence[ReviewEntry] | None = None) -> Html:
    """The reviews that are open, with their pull requests and what each waits for."""
    live = [review for review in town.view.reviews if review.status in ("open", "in_progress", "in_review")]
    merged = sum(review.status == "closed" for review in town.view.reviews)
    shown = live if entries is None else entries
    said = f"{len(live)} open, {merged} merged lately"
    if not shown:
        return pieces.card(
            joined("Reviews ", tag("span", said, class_="quiet")), pieces.empty("No review is open."), id_="reviews"
        )
    head = pieces.table_head("Pull request", "What it waits for", "Reviewer", "Since", "Next look", right=(4,))
    rows = (_review(review, town) for review in shown)
    return pieces.card(
        joined("Reviews ", tag("span", said, class_="quiet")),
        tag("table", head, tag("tbody", *rows), class_="grid"),
        id_="reviews",
    )


def _review(review: ReviewEntry, town: Town) -> Html:
    names, status = town.names, town.view.status
    waiting = next((each for each in status.waiting if each.bead_id == review.bead_id), None)
    agent = next((each for each in status.agents if each.hook == review.bead_id), None)
    number = pull_number(review.pr_url)
    name = names.of(review.source) if review.source is not None else names.of(review.bead_id)
    title = names.link(review.bead_id, shown=f"{number} {name}" if number else f"Review of {name}")
    word = words.bead_word("in_review" if review.status in ("open", "in_progress") else review.status)
    why: Child = "merged" if review.status == "closed" else "failed" if review.status == "failed" else ""
    if agent is not None:
        why = joined(names.link(agent.agent_id), " reviews it", f" · “{agent.says}”" if agent.says else "")
    elif waiting is not None:
        why = joined(sentences.why(waiting, names), sentences.who_can_help(waiting, names))
    refused = next((each.said for each in status.refused_by_forge if each.bead_id == review.bead_id), None)
    if refused is not None:
        why = joined(why, tag("div", f"The forge: {refused}", class_="text-fail small"))
    reviewer: Child = "–" if review.reviewer is None else names.link(review.reviewer)
    pull = (
        None
        if review.pr_url is None
        else pieces.outside_link(review.pr_url, review.branch, class_="mono name", title=review.pr_url)
    )
    branch = pull or tag("span", review.branch, class_="mono quiet")
    return tag(
        "tr",
        tag(
            "td",
            tag("span", pieces.shape(word.shape, word.tone, word.text), tag("span", title), class_="state wrap"),
            tag("div", branch, class_="sub branch"),
            class_="first wide",
        ),
        tag("td", why, class_="sub wide"),
        tag("td", reviewer, class_="nowrap"),
        tag(
            "td",
            pieces.age(review.closed_at or (waiting.since if waiting else review.created_at), status.now),
            class_="nowrap",
        ),
        tag(
            "td",
            pieces.countdown(waiting.due_at, status.now) if waiting is not None and waiting.due_at else "–",
            class_="right",
        ),
        data_row=f"{review.title} {review.branch} {review.bead_id} {number or ''}",
        data_key=review.bead_id,
    )


def letters_card(town: Town) -> Html:
    """Escalations that are open, messages that are unread, and what the mayor said."""
    view, names = town.view, town.names
    status = view.status
    open_ones = [each for each in view.escalations if each.status not in ("closed", "failed")]
    items: list[Html] = []
    for each in open_ones:
        waiting = next((wait for wait in status.waiting if wait.bead_id == each.bead_id), None)
        again = (
            joined(" · raised again in ", pieces.countdown(waiting.due_at, status.now))
            if waiting is not None and waiting.due_at
            else ""
        )
        text = tag(
            "span", names.link(each.bead_id), f" · {each.severity}", " · acknowledged" if each.acknowledged else ""
        )
        button = (
            None
            if each.acknowledged
            else pieces.copies(
                "Acknowledge",
                f"townctl escalation acknowledge {status.town_id} {each.bead_id}",
            )
        )
        items.append(
            _letter(
                "attn",
                "attn",
                text,
                joined(pieces.age(each.created_at, status.now, suffix=" ago"), again),
                button,
                each.bead_id,
            )
        )
    for mail in status.unread_mail:
        told = f" · told {words.quantity(mail.told, 'time')}" if mail.told else " · not told yet"
        items.append(
            _letter(
                "mail",
                "ink",
                tag("span", names.link(mail.bead_id), " to ", names.link(mail.to)),
                joined(pieces.age(mail.since, status.now, suffix=" ago"), told),
                None,
                mail.bead_id,
            )
        )
    for said in status.mayor_said[:5]:
        answer = pieces.copies("Answer", f'townctl mayor say {status.town_id} "..."')
        items.append(
            _letter(
                "mail",
                "ink",
                tag("span", tag("b", "Mayor"), f" · “{said.text}”"),
                pieces.age(said.at, status.now, suffix=" ago"),
                answer,
                f"said-{said.at}",
            )
        )
    counts = f"{len(open_ones)} open, {len(status.unread_mail)} unread"
    body = (
        tag("ul", *items, class_="letters")
        if items
        else pieces.empty("No escalation is open, and no message is unread.")
    )
    return pieces.card(joined("Escalations and mail ", tag("span", counts, class_="quiet")), body, id_="letters")


def _letter(shape: str, tone: str, text: Html, meta: Child, button: Html | None, key: str) -> Html:
    return tag("li", pieces.shape(shape, tone), text, tag("span", meta, class_="meta right"), button, data_key=key)
