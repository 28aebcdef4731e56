"""The two pages of docs that the code makes: `python -m infra.reference.pages` writes them; `--check` only compares."""

import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from infra.reference import event_types, settings
from infra.reference.event_types import EventField, EventType
from infra.reference.settings import SettingWords

ROOT: Final = Path(__file__).resolve().parents[2]
_COLUMNS: Final = 132

_EVENTS: Final = """\
# Events

For everybody who posts events: programs, agents' authors, and people with `townctl event post`. `make reference` makes this page
from the classes in `shared/events`; `townctl event types [TYPE]` shows the same in a terminal.

An event is a fact. It is stored when it is accepted, and the next tick of the town applies it. `townctl event list TOWN` shows
its outcome. The same event may be sent again: under the same id it is applied once.

```
townctl event post TOWN --type bead_cancelled --bead roof --payload '{"by": "ann"}'
townctl event post TOWN --file event.json
curl -X POST "$API/api/towns/TOWN/events" -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" -d @event.json
```

A file, or a request, holds one event, a list of 1 to 100, or `{"events": [...]}`. The envelope of each:

| Field | Type | Meaning |
|---|---|---|
| `event_id` | 8 to 128 of `A-Z a-z 0-9 . _ : -`, required | the same on every retry; other content under it is refused (409) |
| `event_type` | required | one of the types below |
| `agent_id` | id | the agent that the event is about, or that speaks |
| `bead_id` | id | the bead that the event is about |
| `payload` | object | the fields of the type; an unknown field is refused |
| `occurred_at` | time | when it happened, by the sender's clock; the town uses it as an age |

An event may have 64 KiB, an id 1 to 64 characters without control characters. Nothing is converted: `"true"` is not a boolean.

*Senders* are the scopes of town tokens: `agent` (polecats and refineries), `coordinator` (the mayor, and an agent that answers a
triage batch), `container` (the control server of a container), `operator` (people and their programs; `townctl` posts as one).
An operator may send every event. [spec/events.md](spec/events.md) says exactly what each event does, and when it is skipped or
rejected.
"""

_SETTINGS: Final = """\
# Settings

For the people who run a town. `make reference` makes this page from the classes in `shared/domain/config.py`.

```
townctl setting list TOWN                                        every setting with its value
townctl setting show TOWN refinery.merge_proof                   one of them: since when, by whom, from which value, and this page
townctl setting set TOWN max_polecats_per_rig 4 --by ann         changes one
townctl setting set TOWN code_review false --rig website         gives a rig a value of its own
```

A change is the event `town_configured`, also of a rig's own value. The next tick applies it; it holds from the tick after that.
To find a change and to take it back, see [take back a setting](runbook/take-back-a-setting.md).
A town stores only what was set. A setting that is not stored has its *default*. *New towns* store some values from the start.
A rig may have a value of its own, under the name in its column, which goes before the town's. Null takes a value of a rig away.

`code_review` false together with `merge_strategy` `direct` is rejected: nothing could ever land.
"""


def pages() -> Mapping[str, str]:
    """The content of each page, by its path in the project."""
    return {"docs/events.md": "\n".join(_events()), "docs/settings.md": "\n".join(_settings())}


def _events() -> Iterator[str]:
    found = event_types.every_type().types
    yield _EVENTS
    yield "| Event | What has happened | Senders |"
    yield "|---|---|---|"
    for each in found:
        if each.senders:
            yield f"| [`{each.event_type}`](#{each.event_type}) | {each.summary} | {', '.join(each.senders)} |"
    for each in found:
        if each.senders:
            yield from _event(each)
    yield from _own_events([each for each in found if not each.senders])


def _event(event: EventType) -> Iterator[str]:
    yield f"\n## {event.event_type}\n"
    yield f"{_wrapped(event.summary)}\n"
    yield f"{_wrapped(f'What the town does: {event.effect}')}\n"
    only = " Of agents, only the mayor's counts." if event.mayor_only else ""
    yield f"Senders: {', '.join(event.senders)}.{only}{_needs(event)}\n"
    if event.fields:
        yield "| Field | Type | Meaning |"
        yield "|---|---|---|"
        yield from (f"| `{each.name}` | {_type(each)} | {each.meaning} |" for each in event.fields)
        yield ""
    else:
        yield "The payload is empty.\n"
    yield "```json"
    yield json.dumps(event.example, indent=2)
    yield "```"


def _needs(event: EventType) -> str:
    return f" The envelope must have {' and '.join(f'`{name}`' for name in event.needs)}." if event.needs else ""


def _type(field: EventField) -> str:
    if field.required:
        return f"{field.type}, required"
    return field.type if field.default in (None, [], {}) else f"{field.type}; default {_value(field.default)}"


def _own_events(found: list[EventType]) -> Iterator[str]:
    yield "\n## Events of the town itself\n"
    yield "The town makes these when an effect has a result, and `town_brought_back` when an operator has brought it back from the"
    yield "archive. They appear in lists and in the journal; nobody can post them.\n"
    yield "| Event | What has happened | Fields |"
    yield "|---|---|---|"
    for each in found:
        fields = ", ".join(f"`{field.name}`" for field in each.fields if "." not in field.name)
        yield f"| `{each.event_type}` | {each.summary} | {fields} |"
    yield ""


def _settings() -> Iterator[str]:
    yield _SETTINGS
    found = settings.every_setting().settings
    yield "| Setting | Type | Default | New towns | Of a rig |"
    yield "|---|---|---|---|---|"
    for each in found:
        yield f"| [`{each.called}`](#{_anchor(each)}) | {_kind(each)} | {_default(each)} | {_new(each)} | {_of_rig(each)} |"
    for each in found:
        yield f"\n## {each.called}\n"
        yield f"{_wrapped(each.effect)}\n"
        facts = f"Type: {_kind(each)}. Default: {_default(each)}. New towns: {_new(each)}. {_rig_sentence(each)}"
        yield f"{_wrapped(facts)}\n"
        read_in = ", ".join(f"`{name}`" for name in settings.readers(each))
        yield _wrapped(f"Read in: {read_in or 'nothing'}.")
    yield ""


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _COLUMNS, break_long_words=False, break_on_hyphens=False)


def _anchor(setting: SettingWords) -> str:
    return setting.called.replace(".", "")


def _kind(setting: SettingWords) -> str:
    return f"{setting.type}, or null" if setting.nullable else setting.type


def _default(setting: SettingWords) -> str:
    return "none" if setting.default is None else _value(setting.default)


def _new(setting: SettingWords) -> str:
    return _value(setting.new_town) if setting.stored_in_new_towns else "the default"


def _of_rig(setting: SettingWords) -> str:
    return "" if setting.of_rig is None else f"`{setting.of_rig}`"


def _rig_sentence(setting: SettingWords) -> str:
    if setting.name is None:
        return "Only rigs have it."
    return "Rigs have no value of their own." if setting.of_rig is None else f"Of a rig: `{setting.of_rig}`."


def _value(value: Any) -> str:
    return f"`{json.dumps(value)}`" if not isinstance(value, str) else f"`{value}`"


def main() -> int:
    """Write the pages; with --check, only name the stale ones, and return 1 if there are any."""
    stale = [
        name
        for name, text in pages().items()
        if not (ROOT / name).exists() or (ROOT / name).read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv:
        print(f"{', '.join(stale)}: stale; run: make reference" if stale else "up to date")
        return int(bool(stale))
    for name in stale:
        (ROOT / name).write_text(pages()[name], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
