"""`townctl setting`: the settings of a town and of its rigs, what each of them does, and changing one.

A change is the event `town_configured`, also for a rig's own value.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl.arguments import TownName
from infra.townctl.output import Answer, plain, table
from infra.townctl.paging import present
from infra.townctl.people import when
from infra.townctl.place import ThePlace, posted
from infra.ui.remedies import setting_to
from shared.domain import strict_json
from shared.domain.errors import Refused
from shared.domain.times import text_or_none, to_text
from shared.questions.flat_settings import part_of

if TYPE_CHECKING:
    from infra.reference.settings import SettingWords
    from shared.questions.rosters import RigSettings, Setting, TownSettings
    from shared.questions.setting_changes import SettingChange
    from shared.questions.setting_history import SettingHistory, SettingsEvent

_VALUE_SIZE: Final = 64 << 10
_VALUE_DEPTH: Final = 16
_CHANGES_SHOWN: Final = 10

SettingName = Annotated[str, Parameter(help="The setting, such as refinery.merge_proof.")]


def list_(town_id: TownName, /, *, place: ThePlace) -> Answer:
    """List every setting of a town with its value, and the values that rigs have of their own."""
    found = place.settings(town_id)
    return Answer(found, _list_view(found))


def show(town_id: TownName, name: SettingName, /, *, place: ThePlace) -> Answer:
    """Show one setting of a town: its value, since when it holds and who set it, its last changes, and what it does."""
    from shared.domain.shapes import document

    setting = the_setting(name)
    found, history = place.settings(town_id), place.setting_history(town_id)
    value = next((each for each in found.settings if each.name == setting.name), None)
    rigs = {rig.rig_id: own for rig, own in found.own_values(setting.of_rig)}
    changed = list(history.of(setting.name, setting.of_rig))
    said = {
        "townId": town_id,
        "name": setting.called,
        "value": None if value is None else value.value,
        "stored": value is not None and value.stored,
        "rigs": rigs,
        "changes": [{**document(event), "changes": [document(change)]} for event, change in changed],
        "lookedBackTo": text_or_none(history.since),
    }
    told = _history_view(value, changed, history, present(place, town_id))
    back = _ways_back(setting, found, changed)
    about = table("", "", rows=list(facts(setting)))
    return Answer(said, (*_show_view(setting, value, found, name), *told, *back, about))


def set_(
    town_id: TownName,
    name: SettingName,
    value: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True, help="The value, as JSON or as text: 4, true, pr, null, '[\"make test\"]'."
        ),
    ],
    /,
    *,
    rig: Annotated[str | None, Parameter(help="Set the rig's own value; null takes it away.")] = None,
    by: Annotated[str | None, Parameter(help="Who asks for it, as `setting show` and the history name it.")] = None,
    place: ThePlace,
) -> Answer:
    """Set one setting of a town, or of a rig with --rig: post the event that changes it, which the next tick applies."""
    setting, given = the_setting(name), _value_of(value)
    event = (
        _of_a_town(setting, given) if rig is None else _of_a_rig(setting, given, _the_rig(place.settings(town_id), rig))
    )
    if by is not None:
        event["payload"]["by"] = by
    stored = posted(place, town_id, **event)
    said = f"accepted {', '.join(stored.accepted)}; the next tick applies it: townctl setting show {town_id} {setting.called}"
    return Answer(stored, (Text(said),))


def the_setting(name: str) -> SettingWords:
    """The setting with this name, also by a rig's name for it. Raises Refused."""
    from infra.reference.settings import every_setting
    from shared.domain.field_errors import did_you_mean

    known = every_setting().settings
    found = [each for each in known if name in (each.name, each.of_rig)]
    if not found:
        near = [each.called for each in known if name.rpartition(".")[2] in each.called]
        also = f"did you mean {', '.join(near)}? " if near else did_you_mean(name, _names(known))
        hint = f"{also}`townctl setting list TOWN` and docs/settings.md list them all"
        raise Refused(f"there is no setting {name}", status=404, path="setting", hint=hint)
    return found[0]


def _names(known: Iterable[SettingWords]) -> Iterator[str]:
    """Every name of these settings, also without its section."""
    for each in known:
        yield from {each.called, each.called.rpartition(".")[2], each.of_rig or each.called}


def facts(setting: SettingWords) -> Iterator[tuple[str, str]]:
    """What is known of a setting, for a table."""
    from infra.reference.settings import readers

    yield "effect", setting.does
    yield "type", setting.type.replace("`", "") + (", or null" if setting.nullable else "")
    yield "default", shown(setting.default)
    yield "new towns", shown(setting.new_town) if setting.stored_in_new_towns else "the default"
    if setting.name is None:
        yield "of a rig", "only rigs have it"
    else:
        yield "of a rig", setting.of_rig or "rigs have no value of their own"
    yield "read in", ", ".join(readers(setting)) or "nothing reads it"


def shown(value: Any) -> str:
    """A value in a table."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)


def _list_view(found: TownSettings) -> Iterator[RenderableType]:
    yield Text(f"{found.town_id} as of tick {found.tick}" + (", paused" if found.paused else ""))
    rows = [(each.name, shown(each.value), "set" if each.stored else "default") for each in found.settings]
    yield table("setting", "value", "", rows=rows)
    for rig in found.rigs:
        yield Text(plain(f"rig {rig.rig_id} ({rig.name}): {rig.git_url}, branch {rig.default_branch}"))
        if rig.overrides:
            yield table("setting", "value", rows=[(each.name, shown(each.value)) for each in rig.overrides])
    yield Text(f"what one of them does: townctl setting show {found.town_id} SETTING")


def _show_view(
    setting: SettingWords, value: Setting | None, found: TownSettings, asked: str
) -> Iterator[RenderableType]:
    if asked != setting.called:
        yield Text(plain(f"{asked} is what a rig has in place of {setting.called}"))
    own = list(found.own_values(setting.of_rig))
    if value is not None:
        source = "set" if value.stored else "the default"
        where = "" if not own else ", but in no rig" if len(own) == len(found.rigs) else ", but not in every rig"
        said = f"{setting.called} of {found.town_id} is {shown(value.value)} ({source}){where}"
        yield Text(plain(said), style="bold")
    before = "" if value is None else ", which goes before the town's"
    for rig, mine in own:
        yield Text(plain(f"rig {rig.name} ({rig.rig_id}) has its own: {shown(mine)}{before}"), style="bold")
    if value is None and not own:
        yield Text("no rig has it", style="bold")


def _history_view(
    value: Setting | None,
    changed: list[tuple[SettingsEvent, SettingChange]],
    history: SettingHistory,
    now: datetime,
) -> Iterator[RenderableType]:
    """Since when the value holds, and the changes before."""
    last = next(((event, change) for event, change in changed if change.rig_id is None), None)
    if value is not None and last is not None:
        event, change = last
        before = shown(change.old) if change.old_known else "a value that is not known"
        yield Text(
            plain(f"since tick {event.tick}, {to_text(event.time)} ({when(event.time, now)}); before, it was {before}")
        )
        sent = f", sent by {event.by}" if event.by else "; it does not say who sent it"
        yield Text(
            plain("set by a restore in place" if event.event_id is None else f"set by event {event.event_id}{sent}")
        )
    elif value is not None and history.since is not None:
        kept = "where the kept history begins" if history.whole else "as far back as was looked"
        of_town = " of the town's value" if changed else ""
        since = f"tick {history.since_tick}, {to_text(history.since)}"
        yield Text(plain(f"no change{of_town} is known since {since}: {kept}"))
    if changed:
        rows = [
            (
                event.tick,
                when(event.time, now),
                change.rig_id,
                shown(change.old) if change.old_known else "not known",
                shown(change.new),
                event.by,
                event.event_id or event.event_type,
            )
            for event, change in changed[:_CHANGES_SHOWN]
        ]
        yield table("tick", "when", "rig", "before", "after", "by", "event", rows=rows)
        if len(changed) > _CHANGES_SHOWN:
            yield Text(f"the newest {_CHANGES_SHOWN} of {len(changed)} changes")


def _ways_back(
    setting: SettingWords, found: TownSettings, changed: list[tuple[SettingsEvent, SettingChange]]
) -> Iterator[RenderableType]:
    """The commands that take back the last change of the town's value, and that of each rig's own."""
    newest: dict[str | None, SettingChange] = {}
    for _, change in changed:
        newest.setdefault(change.rig_id, change)
    own = {rig.rig_id: mine for rig, mine in found.own_values(setting.of_rig)}
    for rig in found.rigs:
        mine, last = own.get(rig.rig_id), newest.get(rig.rig_id)
        old = None if last is None or not last.old_known else part_of(last.old, (setting.of_rig or "").split(".")[1:])
        if old is not None and old != mine:
            back = setting_to(found.town_id, setting.called, old, rig=rig.rig_id)
            yield Text(plain(f"to take back what rig {rig.name} has of its own: {back}"))
        elif mine is not None:
            away = setting_to(found.town_id, setting.called, None, rig=rig.rig_id)
            yield Text(plain(f"to take away what rig {rig.name} has of its own: {away}"))
    last = newest.get(None)
    if last is not None and last.old_known and setting.name is not None:
        yield Text(plain(f"to take it back: {setting_to(found.town_id, setting.called, last.old)}"))


def _value_of(text: str) -> Any:
    """A value as JSON if it is JSON, else as text."""
    try:
        return strict_json.parse(text.encode(errors="replace"), limit=_VALUE_SIZE, depth=_VALUE_DEPTH)
    except Refused:
        return text


def _of_a_town(setting: SettingWords, value: Any) -> dict[str, Any]:
    if setting.name is None:
        hint = f"name the rig: townctl setting set TOWN {setting.called} VALUE --rig RIG"
        raise Refused(f"only rigs have the setting {setting.called}", status=400, path="rig", hint=hint)
    from shared.domain.config import TownConfig

    config = _nested(setting.name, value)
    _require_valid(TownConfig, config, setting)
    return {"event_type": "town_configured", "payload": {"config": config}}


def _of_a_rig(setting: SettingWords, value: Any, rig: RigSettings) -> dict[str, Any]:
    if setting.of_rig is None:
        hint = "leave --rig out: the town's value holds for every rig"
        raise Refused(f"rigs have no value of their own for {setting.called}", status=400, path="rig", hint=hint)
    from shared.domain.config import RigConfig

    own = _nested(setting.of_rig, value)
    _require_valid(RigConfig, own, setting)
    return {"event_type": "town_configured", "payload": {"rigs": {rig.rig_id: own}}}


def _the_rig(found: TownSettings, word: str) -> RigSettings:
    rig = next((each for each in found.rigs if word in (each.rig_id, each.name)), None)
    if rig is None:
        hint = f"`townctl rig list {found.town_id}` shows the rigs"
        raise Refused(f"town {found.town_id} has no rig {word}", status=404, path="rig", hint=hint)
    return rig


def _nested(path: str, value: Any) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    return {first: _nested(rest, value) if rest else value}


def _require_valid(model: Any, config: dict[str, Any], setting: SettingWords) -> None:
    from shared.domain.config import why_refused

    models = config.get("role_models")
    if isinstance(models, dict):  # null stands for the removal of a role
        config = {"role_models": {role: model for role, model in models.items() if model is not None}}
    why = why_refused(model, config)
    if why:
        allowed = setting.type.replace("`", "") + (", or null" if setting.nullable else "")
        problem = f"{setting.called} cannot have this value: it takes {allowed}; {why}"
        hint = f"`townctl explain setting {setting.called}` and docs/settings.md say what it does"
        raise Refused(problem, status=400, path="value", hint=hint)
