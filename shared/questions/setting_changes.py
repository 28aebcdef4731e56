"""What events changed in the settings of a town and of its rigs: each setting with its value before and after.

The journal has what an event said, not what it replaced. So the settings in a kept image are carried on, event by event, in the
way in which the events themselves change them. Where no image from before is kept, the new values are known and the old ones not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from shared.domain import canonical, strict_json
from shared.domain.config import TownConfig
from shared.domain.errors import UnreadableEvent
from shared.domain.restores import restore_in
from shared.domain.senders import stored_ids
from shared.domain.shapes import answer
from shared.history.journal_rows import JournalRows
from shared.ports.steps import Steps
from shared.ports.town_past import JournalRow, TownPast
from shared.questions.flat_settings import flat
from shared.questions.sent_events import scrubbed, sender_of
from shared.town import database, migrations
from shared.town.town_keys import TownKeys

if TYPE_CHECKING:
    from shared.events.town import RigRegistered, TownConfigured

CHANGING: Final = frozenset({"town_configured", "rig_registered", "rig_removed"})
"""The events that change settings."""
RESTORE: Final = ""
"""Stands for the id of an event where a restore in place brought settings back."""
CARRIED_AT_MOST: Final = 5_000
"""The most ticks over which the settings of a kept image are carried to the first change that is asked for."""
_DEFAULTS: Final[Mapping[str, object]] = TownConfig().model_dump(mode="json")
_NONE: Final = "none"


@answer
class SettingChange:
    """A setting with its value before and after: of the town, or the own value of the rig `rigId`.

    Null is no value: of a rig, the town's value holds. The old value of a town's setting that was not stored is its default. With
    `oldKnown` false nothing is kept that says what it was. What looks like a secret is removed.
    """

    name: str
    rig_id: str | None
    old: Any
    new: Any
    old_known: bool = True

    @property
    def words(self) -> str:
        """The change for people, as in `merge_strategy direct -> pr`."""
        of_rig = "" if self.rig_id is None else f" of rig {self.rig_id}"
        old = f"{shown(self.old)} " if self.old_known else ""
        return f"{self.name}{of_rig} {old}-> {shown(self.new)}"


Changes = Mapping[tuple[int, str], tuple[SettingChange, ...]]
"""What each applied event changed, by its tick and its id; what a restore in place changed, by its tick and RESTORE."""


def shown(value: object) -> str:
    """A value of a setting for people."""
    if value is None:
        return _NONE
    return value if isinstance(value, str) else canonical.dumps(value)


def words_of(changes: Sequence[SettingChange]) -> str:
    """Changes on one line."""
    return ", ".join(each.words for each in changes)


def changes_in(town_id: str, past: TownPast, rows: Sequence[JournalRow]) -> Steps[Changes]:
    """What the events of these rows changed. The rows are in order; those between them that concern no settings may be missing.

    Without an event that changes settings nothing is read. Raises UnknownTown, DamagedImage.
    """
    changing = [row for row in rows if changes_settings(row)]
    if not changing:
        return {}
    first = changing[0]["tick_no"]
    base = yield from past.up_to_tick(town_id, first - 1)
    if base is None or first - base.tick_no > CARRIED_AT_MOST:
        settings = _Settings(None)
    else:
        settings = _settings_in(base.image)
        between = JournalRows(past, town_id)
        yield from between.start_after(base.tick_no)
        while (row := between.next) is not None and row["tick_no"] < first:
            yield from _carry(settings, row, town_id, past)
            yield from between.advance()
    found: dict[tuple[int, str], tuple[SettingChange, ...]] = {}
    for row in rows:
        if row["tick_no"] >= first:
            for event_id, changes in (yield from _carry(settings, row, town_id, past)):
                found[(row["tick_no"], event_id)] = changes
    return found


def between_images(old: bytes, new: bytes) -> tuple[SettingChange, ...]:
    """What differs in the settings of two images of a town."""
    return _settings_in(old).replace(_settings_in(new))


def changes_settings(row: JournalRow) -> bool:
    """Whether an event of this row, or the restore that it records, may have changed settings."""
    return restore_in(row) is not None or any(
        event["event_type"] in CHANGING and event["outcome"] == "applied" for event in row["outputs"]["events"]
    )


def concerns_settings(row: JournalRow) -> bool:
    """The same, or that an event of this row may change them in a later tick."""
    return changes_settings(row) or any(event["event_type"] in CHANGING for event in row["inputs"]["new_events"])


@dataclass(frozen=True, slots=True)
class _Rig:
    """A rig with its own values."""

    name: str
    git_url: str
    default_branch: str
    config: dict[str, object]

    def flat(self) -> dict[str, object]:
        """What people set of it, by name."""
        own = {name: value for name, value in self.config.items() if value is not None}
        return {"name": self.name, "git_url": self.git_url, "default_branch": self.default_branch, **own}


@dataclass
class _Settings:
    """The settings of a town and its rigs; `config` is None if they are not known. `said` are events that were not applied."""

    config: dict[str, object] | None
    rigs: dict[str, _Rig] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def apply(self, event_type: str, payload: str) -> tuple[SettingChange, ...]:
        """Apply an event that the town applied."""
        from shared.events import parse  # noqa: PLC0415 - most histories that are listed change no settings
        from shared.events.removals import RigRemoved  # noqa: PLC0415
        from shared.events.town import RigRegistered, TownConfigured  # noqa: PLC0415

        try:
            event = parse(event_type, payload)
        except UnreadableEvent:
            return ()
        if isinstance(event, TownConfigured):
            return tuple(self._configure(event))
        if isinstance(event, RigRegistered):
            return tuple(self._register(event))
        return tuple(self._remove(event.rig_id)) if isinstance(event, RigRemoved) else ()

    def replace(self, other: "_Settings") -> tuple[SettingChange, ...]:
        """Take over the settings that a restore in place brought back."""
        found = [] if self.config is None or other.config is None else list(self._apart(other.config, other.rigs))
        self.config, self.rigs, self.said = other.config, other.rigs, other.said
        return tuple(found)

    def _apart(self, config: dict[str, object], rigs: Mapping[str, _Rig]) -> Iterator[SettingChange]:
        yield from _between(dict(_values(_DEFAULTS, self.config or {})), dict(_values(_DEFAULTS, config)), None)
        for rig_id in sorted({*self.rigs, *rigs}):
            yield from _between(_flat_rig(self.rigs.get(rig_id)), _flat_rig(rigs.get(rig_id)), rig_id)

    def _configure(self, event: "TownConfigured") -> Iterator[SettingChange]:
        if self.config is None:
            yield from (_unknown(name, None, value) for name, value, _ in flat(_shape(event.config), event.config))
            for rig_id, told in sorted(event.rigs.items()):
                yield from (_unknown(name, rig_id, value) for name, value in sorted(told.items()))
            return
        wanted, rigs = event.merged_into(self.config), dict(self.rigs)
        for rig_id in event.rigs.keys() & rigs.keys():
            rig = rigs[rig_id]
            rigs[rig_id] = replace(rig, config=event.of_rig(rig_id, rig.config, rig.git_url))
        yield from self._apart(wanted, rigs)
        self.config, self.rigs = wanted, rigs

    def _register(self, event: "RigRegistered") -> Iterator[SettingChange]:
        if self.config is None:
            told = {"name": event.name, "git_url": event.git_url, **(event.config or {})}
            yield from (_unknown(name, event.rig_id, value) for name, value in sorted(told.items()))
            return
        for rig_id in [each for each, rig in self.rigs.items() if rig.name == event.name and each != event.rig_id]:
            yield from self._remove(rig_id)
        known = self.rigs.get(event.rig_id)
        kept, branch = ({}, "main") if known is None else (known.config, known.default_branch)
        overrides = event.overrides(kept)
        wanted = _Rig(
            event.name, event.git_url, event.default_branch or branch, kept if overrides is None else overrides
        )
        yield from _between(_flat_rig(known), wanted.flat(), event.rig_id)
        self.rigs[event.rig_id] = wanted

    def _remove(self, rig_id: str) -> Iterator[SettingChange]:
        yield from _between(_flat_rig(self.rigs.pop(rig_id, None)), {}, rig_id)


def _carry(
    settings: _Settings, row: JournalRow, town_id: str, past: TownPast
) -> Steps[list[tuple[str, tuple[SettingChange, ...]]]]:
    """Apply the events of a row. Returns what each event changed."""
    if restore_in(row) is not None:
        kept = yield from past.after_tick(town_id, row["tick_no"])
        return [(RESTORE, settings.replace(_settings_in(kept[0].image) if kept else _Settings(None)))]
    for envelope in row["inputs"]["new_events"]:
        if envelope["event_type"] in CHANGING:
            for event_id in stored_ids(envelope["event_id"], sender_of(envelope)):
                settings.said.setdefault(event_id, envelope["payload"])
    return [
        (event["event_id"], settings.apply(event["event_type"], settings.said.pop(event["event_id"], "")))
        for event in row["outputs"]["events"]
        if event["event_type"] in CHANGING and event["outcome"] == "applied"
    ]


def _settings_in(image: bytes) -> _Settings:
    with migrations.readable(image) as sql:
        rigs = sql.execute("SELECT id, name, git_url, default_branch, config FROM rigs ORDER BY id").fetchall()
        return _Settings(
            TownKeys(sql).config,
            {
                rig_id: _Rig(name, git_url, branch, strict_json.stored(config))
                for rig_id, name, git_url, branch, config in rigs
            },
            _pending(sql),
        )


def _pending(sql: database.Database) -> dict[str, str]:
    """The events that the image has and no tick has applied yet."""
    rows = sql.execute("SELECT event_id, event_type, payload FROM town_events WHERE processed_at IS NULL ORDER BY seq")
    return {event_id: payload for event_id, event_type, payload in rows if event_type in CHANGING}


def _between(old: Mapping[str, object], new: Mapping[str, object], rig_id: str | None) -> Iterator[SettingChange]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield SettingChange(name, rig_id, scrubbed(old.get(name)), scrubbed(new.get(name)))


def _unknown(name: str, rig_id: str | None, value: object) -> SettingChange:
    return SettingChange(name, rig_id, None, scrubbed(value), old_known=False)


def _flat_rig(rig: _Rig | None) -> dict[str, object]:
    return {} if rig is None else rig.flat()


def _values(defaults: Mapping[str, object], stored: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    return ((name, value) for name, value, _ in flat(defaults, stored))


def _shape(config: Mapping[str, object]) -> dict[str, object]:
    """The defaults of the sections that are given, without their other parts: so only what is given is listed."""
    found: dict[str, object] = {}
    for name, given in config.items():
        default = _DEFAULTS.get(name)
        if isinstance(default, Mapping) and default and isinstance(given, Mapping):
            found[name] = {part: default[part] for part in given if part in default}
    return found
