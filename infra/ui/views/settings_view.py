"""The settings of a town: each with its value, its default, what it does and its last change; at a past time as they were then."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from infra.ui import pieces, times, words
from infra.ui.address import Address
from infra.ui.markup import Html, joined, tag
from infra.ui.remedies import taking_back
from infra.ui.shell import Standing, figure, page, title_bar
from shared.questions.setting_changes import shown

if TYPE_CHECKING:
    from infra.reference.settings import SettingWords
    from shared.questions.rosters import RigSettings, Setting, TownSettings
    from shared.questions.setting_changes import SettingChange
    from shared.questions.setting_history import SettingHistory, SettingsEvent

_WORDS: Final = re.compile(r"[^._]+[._]?|[._]")
Changed = tuple["SettingsEvent", "SettingChange"]
_HISTORY_SHOWN: Final = 40
_OF_A_SETTING: Final = 20


def settings_page(standing: Standing, settings: TownSettings, history: SettingHistory) -> Html:
    """The whole page. The setting that the address names is opened below its row; one that only rigs have, above the table."""
    address = standing.address
    reference = {each.called: each for each in _reference()}
    changed = [(event, change) for event in history.events for change in event.changes]
    set_ = sum(each.stored for each in settings.settings)
    chosen = reference.get(address.query.get("setting", ""))
    when = f"as of tick {settings.tick}"
    title = title_bar(
        "Settings",
        f"{len(settings.settings)} settings of {settings.town_id}, {when}",
        figure(set_, "set"),
        figure(len(changed), "changes known"),
    )
    box = pieces.filter_box("Filter settings", address.query.get("q", ""))
    left = tag(
        "div",
        _chosen(chosen, settings, history, standing) if chosen is not None and chosen.name is None else None,
        tag("div", box, class_="toolbar bare"),
        _table(settings, reference, history, standing),
        *(_rig(rig) for rig in settings.rigs),
        class_="stack",
    )
    right = tag("div", _history(changed, history, standing), class_="stack")
    return page(standing, title, tag("div", left, right, class_="cols"), title=f"{settings.town_id} · Settings")


def places(address: Address) -> list[dict[str, str]]:
    """Every setting, for the finder."""
    return [
        {
            "text": each.called,
            "id": each.called,
            "kind": "setting" if each.name is not None else "setting of a rig",
            "href": _address(address, each.called).href,
        }
        for each in _reference()
    ]


def _reference() -> Sequence[SettingWords]:
    from infra.reference.settings import every_setting

    return every_setting().settings


def _address(address: Address, name: str) -> Address:
    return address.to("settings", setting=name)


def _table(
    settings: TownSettings, reference: dict[str, SettingWords], history: SettingHistory, standing: Standing
) -> Html:
    rows = (
        row for each in settings.settings for row in _rows(each, reference.get(each.name), settings, history, standing)
    )
    head = pieces.table_head("Setting", "Value", "Default", "Last change", "What it does")
    none = pieces.no_match(standing.address, count=len(settings.settings), hidden=bool(settings.settings))
    return tag("section", tag("table", head, tag("tbody", *rows), class_="grid"), none, class_="card")


def _rows(
    setting: Setting, about: SettingWords | None, settings: TownSettings, history: SettingHistory, standing: Standing
) -> Iterator[Html]:
    """The row of a setting, and below it all that is known of it if the address names it."""
    of_rig = None if about is None else about.of_rig
    changed = next(history.of(setting.name, of_rig), None)
    value = tag("b", shown(setting.value)) if setting.stored else tag("span", shown(setting.value), class_="quiet")
    own = (tag("b", f"{shown(each)} for {rig.rig_id}", class_="rig-value") for rig, each in settings.own_values(of_rig))
    effect = "" if about is None else about.does
    is_open = standing.address.query.get("setting") == setting.name
    to = _address(standing.address, setting.name) if not is_open else standing.address.with_(setting=None)
    name = pieces.link(to, _breakable(setting.name), class_="name", aria_expanded="true" if is_open else "false")
    yield tag(
        "tr",
        tag("td", name, class_="first setting-name"),
        tag("td", value, *own, class_="wide value"),
        tag("td", tag("span", shown(setting.default), class_="quiet"), class_="value"),
        tag("td", "" if changed is None else _last(*changed, standing), class_="sub"),
        tag("td", effect, class_="sub wide hide-small"),
        data_row=f"{setting.name} {effect}",
        data_key=setting.name,
        data_opened=setting.name if is_open else None,
    )
    if is_open and about is not None:
        panel = _chosen(about, settings, history, standing)
        yield tag("tr", tag("td", panel, colspan="5"), class_="opened", data_key=f"opened-{setting.name}")


def _last(event: SettingsEvent, change: SettingChange, standing: Standing) -> Html:
    """The newest change of a setting: of the town's value, or of a rig's own."""
    of_rig = "" if change.rig_id is None else f", of {change.rig_id}"
    return joined(
        pieces.tick_link(standing.address, event.tick),
        " ",
        pieces.age(event.time, standing.now or event.time, suffix=" ago"),
        f"{of_rig}, was {_old(change)}",
        f", by {event.by}" if event.by else "",
    )


def _breakable(name: str) -> Html:
    """A name that a narrow column breaks between its words, not inside one."""
    return Html("<wbr>".join(joined(part) for part in _WORDS.findall(name)))


def _chosen(setting: SettingWords, settings: TownSettings, history: SettingHistory, standing: Standing) -> Html:
    value = next((each for each in settings.settings if each.name == setting.name), None)
    found = list(history.of(setting.name, setting.of_rig))
    own = [f"{shown(each)} in {rig.rig_id}, instead of the town's" for rig, each in settings.own_values(setting.of_rig)]
    facts = pieces.facts(
        ("Value", None if value is None else f"{shown(value.value)} ({'set' if value.stored else 'the default'})"),
        ("Of rigs", "; ".join(own)),
        ("Default", shown(setting.default)),
        ("Takes", setting.type.replace("`", "") + (", or null" if setting.nullable else "")),
        ("Does", setting.does),
        ("Name in rigs", setting.of_rig or "rigs have no value of their own"),
    )
    lines = [_line(event, change, standing) for event, change in found[:_OF_A_SETTING]]
    none = tag("p", "No change of it is known.", class_="quiet")
    back = None if standing.is_past or not found else taking_back(settings.town_id, found[0][1])
    close = pieces.link(
        standing.address.with_(setting=None), pieces.shape("close", "ink", "Close"), class_="iconbutton"
    )
    return pieces.card(
        setting.called,
        tag(
            "div",
            facts,
            tag("h3", "Its changes"),
            *(lines or [none]),
            tag("p", "To take the newest one back:", class_="sub") if back else None,
            pieces.command(back) if back else None,
            class_="body-pad",
        ),
        aside=close,
        id_="setting",
    )


def _line(event: SettingsEvent, change: SettingChange, standing: Standing) -> Html:
    address = standing.address
    of_rig = "" if change.rig_id is None else f" of rig {change.rig_id}"
    return tag(
        "div",
        tag(
            "span",
            pieces.link(_address(address, change.name), f"{change.name}{of_rig}", class_="name"),
            " ",
            tag("del", _old(change)),
            " ",
            tag("ins", shown(change.new)),
        ),
        tag(
            "div",
            pieces.tick_link(address, event.tick),
            f", {times.clock(event.time)}, ",
            pieces.age(event.time, standing.now or event.time, suffix=" ago"),
            ", by a restore in place"
            if event.event_id is None
            else f", {'sender not said' if event.by is None else f'by {event.by}'}, ",
            None if event.event_id is None else tag("code", event.event_id),
            " · ",
            pieces.link(address.to("machine").just_before(event.time), "the town before it", class_="name"),
            class_="sub",
        ),
        class_="change-line",
    )


def _old(change: SettingChange) -> str:
    return shown(change.old) if change.old_known else "not known"


def _history(changed: Sequence[Changed], history: SettingHistory, standing: Standing) -> Html:
    lines = [_line(event, change, standing) for event, change in changed[:_HISTORY_SHOWN]]
    return pieces.card("Changes", tag("div", *(lines or [_none()]), *_looked(changed, history), class_="body-pad"))


def _none() -> Html:
    return tag("p", "No change of a setting is known.", class_="quiet")


def _looked(changed: Sequence[Changed], history: SettingHistory) -> Iterator[Html]:
    """How far back the changes are known."""
    if len(changed) > _HISTORY_SHOWN:
        yield tag(
            "p", f"The newest {_HISTORY_SHOWN} of {words.quantity(len(changed), 'change')}.", class_="quiet small"
        )
    if history.since is not None:
        until = "where the kept history begins" if history.whole else "the newest part of the kept history"
        said = f"Looked at: the ticks from {history.since_tick} on, {times.absolute(history.since)}, {until}."
        yield tag("p", said, class_="quiet small")


def _rig(rig: RigSettings) -> Html:
    own = pieces.facts(*((each.name, shown(each.value)) for each in rig.overrides))
    none = tag("p", "It has no values of its own: the town's hold.", class_="quiet")
    where = tag("p", rig.git_url, ", branch ", tag("code", rig.default_branch), class_="sub")
    return pieces.card(
        f"Rig {rig.name}", tag("div", where, own if rig.overrides else none, class_="body-pad"), aside=rig.rig_id
    )
