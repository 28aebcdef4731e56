"""Time machine: a slider over commits, the town then, replay with its proof, what if, restore."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from infra.ui import pieces, times, words
from infra.ui.markup import Child, Html, joined, tag
from infra.ui.shell import page
from infra.ui.views import slider, what_if_form, what_if_result
from shared.questions.setting_changes import words_of

if TYPE_CHECKING:
    from infra.ui.views.machine import Machine
    from shared.replay.replayed import Replay

_CELLS: Final = 240
_NAMED: Final = 8


def machine_page(machine: Machine) -> Html:
    """The whole page."""
    town = machine.town
    names = town.names.more(machine.timeline.names)
    left = tag("div", what_if_form.form(machine, names), _restore(machine), _proof(machine), class_="stack")
    right = tag("div", what_if_result.result(machine, names), class_="stack", id="result")
    return page(
        town.standing,
        tag("h1", "Time machine", class_="skip"),
        tag("div", slider.slider(machine, names), class_="pad top-pad"),
        tag("div", left, right, class_="cols machine"),
        title=f"{town.standing.address.town} · Time machine",
    )


def _proof(machine: Machine) -> Html:
    address, replay = machine.town.standing.address, machine.replay
    if replay is None:
        to = address.with_(replay="1")
        said = (
            "Run the recorded ticks from here on again, and compare each with its commit."
            if machine.town.view.is_past
            else "Choose a time on the slider: the ticks from there on are run again and compared with what was committed."
        )
        button = (
            pieces.link(to, pieces.shape("play", "ink"), "Replay from here", class_="button")
            if machine.town.view.is_past
            else None
        )
        return pieces.card(
            "Proof",
            tag(
                "div",
                tag("p", said, class_="sub"),
                tag("div", button, class_="buttons inset") if button else None,
                class_="body-pad",
            ),
        )
    return pieces.card(
        "Proof",
        tag("div", *_proven(replay, machine), class_="body-pad"),
        aside=f"{times.clock(replay.from_)} – {times.clock(replay.to)}",
    )


def _proven(replay: Replay, machine: Machine) -> Iterator[Html]:
    ticks = replay.ticks
    if not ticks:
        yield tag("p", "No tick ran in this window.", class_="sub")
        return
    first, last = ticks[0].tick, ticks[-1].tick
    if replay.exact:
        yield tag(
            "p", pieces.shape("done", "done"), " ", tag("b", f"Ticks {first} to {last} are exactly what happened.")
        )
        yield tag(
            "p",
            f"Run again from commit {replay.started_from.txid}: all {len(ticks)} gave the same rows with the "
            f"installed code {replay.as_of.code_version[:7]}.",
            class_="sub",
        )
    elif replay.divergence is not None:
        apart = replay.divergence
        yield tag(
            "p",
            pieces.shape("fail", "fail"),
            " ",
            tag("b", f"Tick {apart.tick} differs from history.", class_="text-fail"),
        )
        for each in apart.differences[:3]:
            yield tag(
                "p",
                f"{each.table} {each.key} {each.column}: committed {each.expected!r}, now {each.got!r}",
                class_="sub",
            )
        yield tag("p", apart.reason, class_="sub")
    else:
        yield tag(
            "p",
            pieces.shape("attn", "attn"),
            " ",
            tag("b", replay.stopped or "Other code made some of these ticks, so this is a what-if, not a proof."),
        )
    address = machine.town.standing.address
    cells = (
        tag(
            "a",
            pieces.shape("crash", "fail", f"tick {tick.tick} differs") if tick.equal is False else "",
            href=address.to("timeline", tick=str(tick.tick)).href,
            class_=f"cell {'apart' if tick.equal is False else 'strong-cell' if tick.actions else ''}",
            title=f"tick {tick.tick}: {'the same' if tick.equal else 'differs' if tick.equal is False else 'not comparable'}",
            aria_label=f"tick {tick.tick}",
        )
        for tick in ticks[:_CELLS]
    )
    yield tag("div", *cells, class_="cells")
    yield tag("p", f"{first} – {last} · strong: the tick did something", class_="quiet small")
    if replay.cursor is not None:
        yield tag("p", "The window goes on: choose a later time for the rest.", class_="quiet small")


def _restore(machine: Machine) -> Html | None:
    town = machine.town
    if not town.view.is_past:
        return None
    status, now = town.view.status, machine.present.status
    later = now.as_of.txid - status.as_of.txid
    running = sum(agent.status in ("working", "stalled") for agent in now.agents)
    before = {review.bead_id for review in town.view.reviews if review.status == "closed"}
    merged = [
        review.bead_id
        for review in machine.present.reviews
        if review.status == "closed" and review.bead_id not in before
    ]
    names = town.names.more(machine.timeline.names)
    lines: list[Child] = [
        tag("b", f"{words.quantity(later, 'later commit')} {'is' if later == 1 else 'are'} left behind."),
        " They stay restorable for the town's restore window.",
    ]
    if running:
        lines.append(f" {words.quantity(running, 'running agent')} {'is' if running == 1 else 'are'} stopped.")
    if merged:
        lines.append(
            joined(
                " ",
                tag("b", words.quantity(len(merged), "merge")),
                " made since then stay in the repository, and the town will not know: ",
                ", ".join(names.of(each) for each in merged[:3]),
                ".",
            )
        )
    lines += _left(machine)
    command = f"townctl restore {status.town_id} --txid {status.as_of.txid} --in-place"
    note = (
        None
        if town.standing.writes
        else tag(
            "p",
            "Read-only: the button copies the command; ",
            tag("code", "townctl ui --write"),
            " does it.",
            class_="quiet small",
        )
    )
    body = tag(
        "div",
        tag("p", pieces.shape("attn", "attn"), " ", *lines),
        tag(
            "div",
            pieces.copies(f"Restore to commit {status.as_of.txid}", command, sure=f"Leave {later} behind: restore now"),
            class_="buttons inset",
        ),
        note,
        class_="body-pad",
    )
    return pieces.card(f"Restore to commit {status.as_of.txid}", body)


def _left(machine: Machine) -> Iterator[Html]:
    """The beads and settings of now that the restored commit does not have, as the command line names them too."""
    left = machine.left
    if left is None:
        yield joined(" What else goes back cannot be said here: ", tag("code", "townctl restore --to"), " says it.")
        return
    if left.beads:
        more = left.bead_count - len(left.beads[:_NAMED])
        named = ", ".join(each.title for each in left.beads[:_NAMED])
        yield joined(
            " ",
            tag("b", words.quantity(left.bead_count, "bead")),
            f" filed since then will be gone: {named}",
            f" and {more} more." if more else ".",
        )
    if left.settings:
        yield joined(" Settings that go back: ", tag("b", words_of(left.settings)), ".")
