"""Marks: what a tick did, one for each event, rule, effect and observation, with the beads and agents that each is about."""

from collections.abc import Iterator, Mapping
from typing import Final, Literal

from shared.domain.restores import restore_in
from shared.domain.shapes import Time, answer
from shared.events import BY_TYPE
from shared.history.rerun import time_of
from shared.ports.town_past import JournalRow
from shared.questions.process_ends import ENDED_WELL
from shared.questions.sent_events import bead_of, said_by
from shared.questions.setting_changes import RESTORE, Changes, SettingChange, words_of
from shared.rules import RULES

MarkKind = Literal["event", "rule", "effect", "observed", "violation", "restore"]
CODES: Final = {rule.name: rule.code for rule in RULES}


@answer
class Mark:
    """Something that a tick did or learned, and the beads and agents that it is about.

    `name` is the type of the event, action or effect, the reason of an exit, or the name of the invariant. `code` is the rule's.
    `says` is a change of status or a reason, if there is one. `eventId` is the id of an event, `by` who sent it, and `settings`
    what it changed in the settings.
    """

    tick: int
    time: Time
    kind: MarkKind
    name: str
    about: tuple[str, ...]
    code: str | None = None
    says: str | None = None
    outcome: str | None = None
    event_id: str | None = None
    by: str | None = None
    settings: tuple[SettingChange, ...] = ()

    @property
    def is_crash(self) -> bool:
        """Whether it is the end of a process that had neither done its work nor been stopped."""
        return self.kind == "observed" and self.name not in ENDED_WELL


class Marks:
    """The marks of the rows that were read. `effects` are kind and subject of each known effect."""

    def __init__(self, effects: Mapping[str, tuple[str, str]], changes: Changes) -> None:
        self.found: list[Mark] = []
        self._effects = effects
        self._changes = changes
        self._seen: dict[str, object] = {}

    def read(self, row: JournalRow) -> int:
        """Read the next row, and return the number of its events that leave no mark."""
        tick, at = row["tick_no"], time_of(row)
        restore = restore_in(row)
        if restore is not None:
            changed = self._changes.get((tick, RESTORE), ())
            self.found.append(Mark(tick, at, "restore", "restored", (), says=restore.says(), settings=changed))
            return 0
        events = list(self._events(row))
        self.found += self._observed(row)
        self.found += events
        self.found += _actions(row)
        self.found += self._claims(row)
        self.found += [
            Mark(tick, at, "violation", broken["name"], tuple(_ids_in(broken["subject"])), says=broken["message"])
            for broken in row["outputs"]["violations"]
        ]
        return len(row["outputs"]["events"]) - len(events)

    def _events(self, row: JournalRow) -> Iterator[Mark]:
        given = {event["event_id"]: event for event in row["inputs"]["new_events"]}
        for event in row["outputs"]["events"]:
            known = BY_TYPE.get(event["event_type"])
            if known is not None and known.transient and event["outcome"] == "applied":
                continue
            source = given.get(event["event_id"], {})
            named = (bead_of(source), source["agent_id"]) if source else ()
            about = tuple(each for each in named if each is not None)
            changed = self._changes.get((row["tick_no"], event["event_id"]), ())
            yield Mark(
                row["tick_no"],
                time_of(row),
                "event",
                event["event_type"] or source.get("event_type", ""),
                about,
                says=event.get("error") or words_of(changed) or None,
                outcome=event["outcome"],
                event_id=event["event_id"],
                by=said_by(source) if source else None,
                settings=changed if event["outcome"] == "applied" else (),
            )

    def _observed(self, row: JournalRow) -> Iterator[Mark]:
        """The ends of processes that were seen, each once for a generation."""
        for agent, seen in row["inputs"]["observations"].get("agents", {}).items():
            end = seen.get("exit_reason")
            is_news = self._seen.get(agent) != (seen.get("generation"), end)
            self._seen[agent] = (seen.get("generation"), end)
            if end is not None and is_news:
                yield Mark(row["tick_no"], time_of(row), "observed", str(end), (agent,), says=seen.get("status"))

    def _claims(self, row: JournalRow) -> Iterator[Mark]:
        for claim in row["outputs"]["effects"]:
            kind, subject = self._effects.get(claim["effect_id"], ("effect", ""))
            about = (subject,) if subject else ()
            yield Mark(row["tick_no"], time_of(row), "effect", kind, about, says=f"try {claim['attempt']}")


def _actions(row: JournalRow) -> Iterator[Mark]:
    for judged in row["outputs"]["actions"]:
        action = judged["action"]
        change = f"{action['from']} -> {action['to']}" if "from" in action and "to" in action else None
        reason = judged["reason"] or action.get("reason")
        says = ": ".join(str(each) for each in (change, reason) if each) or None
        yield Mark(
            row["tick_no"],
            time_of(row),
            "rule",
            action["type"],
            tuple(dict.fromkeys(_subjects(action))),
            code=CODES.get(judged["rule"], judged["rule"]),
            says=says,
            outcome=judged["outcome"],
        )


def _subjects(action: Mapping[str, object]) -> Iterator[str]:
    for name in ("bead_id", "agent_id", "mr_bead_id", "convoy_id", "source_bead_id"):
        subject = action.get(name)
        if isinstance(subject, str) and subject:
            yield subject


def _ids_in(subject: str) -> Iterator[str]:
    yield subject.rpartition(" ")[2]
