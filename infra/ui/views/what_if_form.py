"""The form of a what-if: a setting, events left out or added, a shift of the time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from infra.ui import pieces, sentences, times, words
from infra.ui.markup import Child, Html, tag
from shared.domain import strict_json

if TYPE_CHECKING:
    from infra.ui.names import Names
    from infra.ui.views.machine import Machine


LARGEST: Final = 64 << 10
"""The most bytes of JSON that the form takes."""
_EVENTS: Final = 60
_LONGEST: Final = 48
_ADDED_ID: Final = "what-if-added-event"


def form(machine: Machine, names: Names) -> Html:
    """The form."""
    address = machine.town.standing.address
    asked = asked_of(address.query.get("what"))
    options = [tag("option", "no change", value="")]
    settings = () if machine.settings is None else machine.settings.settings
    changed = _change_in(asked, frozenset(each.name for each in settings))
    options += [
        tag(
            "option",
            f"{setting.name} ({pieces.cut(json.dumps(setting.value), _LONGEST)})",
            value=setting.name,
            selected=setting.name == changed[0],
        )
        for setting in settings
    ]
    now = machine.timeline.end
    events = [
        mark
        for mark in machine.timeline.marks
        if mark.kind == "event"
        and mark.event_id
        and mark.time >= machine.town.view.at
        and not mark.name.endswith("_result")
    ]
    left_out = set(asked.get("leaveOut", ()))
    boxes = [
        tag(
            "label",
            tag("input", type="checkbox", name="leave", value=mark.event_id, checked=mark.event_id in left_out),
            tag(
                "span",
                sentences.mark(mark, names),
                tag("span", f" {times.clock(mark.time)}, {mark.name}", class_="quiet small"),
            ),
            class_="check",
            data_key=f"leave-{mark.event_id}",
        )
        for mark in events[:_EVENTS]
    ]
    more = (
        tag("p", f"The first {_EVENTS} of {len(events)} events.", class_="quiet small")
        if len(events) > _EVENTS
        else None
    )
    added = next(iter(asked.get("add", ())), None)
    kinds = [tag("option", "no event", value="")] + [
        tag("option", kind, value=kind, selected=added is not None and added["event"]["event_type"] == kind)
        for kind in sorted(words.EVENTS)
        if not kind.endswith("_result")
    ]
    payload = "{}" if added is None else json.dumps(added["event"].get("payload", {}))
    shift = int(asked.get("shiftMs", 0)) // 1000
    fields: list[Child] = [
        tag("label", "Setting", tag("select", *options, name="setting"), class_="form-row"),
        tag(
            "p",
            f"With its value at {times.clock(machine.town.view.at)}; it holds from there on, until an event changes it. "
            "A rig's own value is not here: leave out the event that set it, or add a town_configured.",
            class_="quiet small",
        ),
        tag(
            "label",
            "becomes",
            tag(
                "input",
                type="text",
                name="value",
                value="" if changed[0] == "" else json.dumps(changed[1]),
                placeholder="for example 4",
                autocomplete="off",
            ),
            class_="form-row",
        ),
        tag(
            "fieldset",
            tag("legend", "Leave out events"),
            *(boxes or [tag("p", "No event came after this time.", class_="quiet small")]),
            more,
            class_="leave-out",
        ),
        tag(
            "details",
            tag("summary", "Add an event"),
            tag("label", "Type", tag("select", *kinds, name="type"), class_="form-row"),
            tag(
                "label",
                "Bead",
                tag(
                    "input",
                    type="text",
                    name="bead",
                    value="" if added is None else added["event"].get("bead_id") or "",
                    autocomplete="off",
                ),
                class_="form-row",
            ),
            tag(
                "label",
                "Payload",
                tag("input", type="text", name="payload", value=payload, autocomplete="off"),
                class_="form-row",
            ),
            open=added is not None,
        ),
        tag(
            "label",
            tag("span", "Shift every tick by ", tag("b", f"{shift} s", id="shift-said")),
            tag(
                "input",
                type="range",
                name="shift",
                min="-600",
                max="600",
                step="5",
                value=shift,
                data_echo="shift-said",
            ),
            class_="form-row wide-row",
        ),
    ]
    run = tag("button", pieces.shape("play", "ink"), "Run what if", type="submit", class_="button primary")
    buttons = tag(
        "div",
        run,
        pieces.link(address.with_(what=None), "Clear", class_="button") if asked else None,
        tag("span", "", data_status=True, class_="quiet small"),
        class_="buttons inset",
    )
    if not machine.town.view.is_past:
        body: Child = tag(
            "p", "Choose a time on the slider, then a change: what would have happened since?", class_="sub"
        )
    else:
        body = tag("form", *fields, buttons, data_do="what_if", id="what-if")
    return pieces.card(
        "What if", tag("div", body, class_="body-pad"), aside=f"changes nothing; up to {times.clock(now)}"
    )


def asked_of(text: str | None) -> dict[str, Any]:
    """The overrides that an address carries; none if it carries something else."""
    try:
        found = strict_json.foreign(text or "{}", limit=LARGEST)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def overrides_of(fields: Mapping[str, Sequence[str]], at: str) -> dict[str, Any]:
    """The overrides that the form asks for. Raises ValueError with a sentence."""
    found: dict[str, Any] = {}
    setting, value = _one(fields, "setting"), _one(fields, "value")
    if setting and value:
        try:
            found["config"] = _nested(setting, strict_json.foreign(value, limit=LARGEST))
        except ValueError:
            found["config"] = _nested(setting, value)
    if leave := [each for each in fields.get("leave", ()) if each]:
        found["leaveOut"] = leave
    if kind := _one(fields, "type"):
        try:
            payload = strict_json.foreign(_one(fields, "payload") or "{}", limit=LARGEST)
        except ValueError:
            raise ValueError("The payload is not JSON.") from None
        event: dict[str, Any] = {"event_id": _ADDED_ID, "event_type": kind, "payload": payload}
        if bead := _one(fields, "bead"):
            event["bead_id"] = bead
        found["add"] = [{"at": at, "event": event}]
    if shift := int(_one(fields, "shift") or 0):
        found["shiftMs"] = shift * 1000
    return found


def _one(fields: Mapping[str, Sequence[str]], name: str) -> str:
    return str(next(iter(fields.get(name, ())), "")).strip()


def _nested(name: str, value: object) -> dict[str, Any]:
    """`refinery.mode` as nested objects."""
    first, _, rest = name.partition(".")
    return {first: _nested(rest, value) if rest else value}


def _change_in(asked: Mapping[str, Any], known: frozenset[str]) -> tuple[str, Any]:
    """The setting that the overrides change, under its name, and its value; two empty texts if there is none."""
    name, value = "", asked.get("config", {})
    while isinstance(value, Mapping) and value and name not in known:
        part, value = next(iter(value.items()))
        name = f"{name}.{part}" if name else part
    return (name, value) if name in known else ("", "")
