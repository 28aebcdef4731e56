"""Masks the texts that people wrote in a town and its inputs. The ticks must still make the same decisions."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from shared.domain import canonical, ids, strict_json
from shared.domain.errors import Refused
from shared.domain.orders import rearm_of
from shared.domain.report import TickReport
from shared.domain.senders import sender_in, stored_ids
from shared.domain.tick import Envelope
from shared.images import rewriting
from shared.images.rewriting import DumpedRow
from shared.ports.town_past import JournalRow, journal_row
from shared.replay.recordings.changes import Changes
from shared.replay.recordings.masking import SECRET, Masks
from shared.town.known_events import content_digest, content_of_event, digest_of

_IDS: Final = frozenset(
    """
    agent_bead_id agent_id assignee_agent_bead_id bead_event_id bead_id claim container_process_id current_hook_bead_id
    depends_on_bead_id effect_id event_id id last_dispatch_bead_id merge_commit nudge_id parent_bead_id rig_id subject
    """.split()  # noqa: SIM905 - a table
)
_DOCUMENTS: Final = frozenset(
    ("active_tools", "checkpoint", "config", "labels", "metadata", "models", "payload", "result")
)
_KEPT_KEYS: Final = frozenset(("id", "schema_version", "tick_id"))


class Scrubbing:
    """Applies the masks of one recording to an image and to journal rows."""

    def __init__(self, town_id: str, image: bytes, written: Sequence[Changes]) -> None:
        """Collect the ids of a town: those in its image, and those that its ticks wrote."""
        self._town_id = town_id
        rows = rewriting.all_rows(image)
        known = {row["bead_id"] for row in rows["beads"]} | {row["id"] for row in rows["rigs"]}
        known |= {key[1] for changes in written for key in changes if key[0] in ("beads", "rigs")}
        self.masks = Masks(frozenset(known))
        self._contents: dict[str, str] = {}
        self._known: dict[str, str] = {}
        for effect in rows["outbox"]:
            self._learn_effect(effect)
        for changes in written:
            for key, row in changes.items():
                if key[0] == "outbox" and row:
                    self._learn_effect({"effect_id": key[1], **row})

    def image(self, image: bytes) -> bytes:
        """The masked image. The inputs and outputs in its journal rows are emptied.

        Mask the inputs first: an event that one of them repeats must still be known by the digest of its content.
        """
        return rewriting.rewritten(image, self._row)

    def given(self, row: JournalRow) -> JournalRow:
        """The masked input of a tick. Its digests are still those of history."""
        inputs = row["inputs"]
        seen = inputs["observations"]
        masked = {
            **inputs,
            "new_events": [self._envelope(event) for event in inputs["new_events"]],
            "observations": seen if seen == "none" else self._observations(seen),
            "settings": self.masks.value(inputs["settings"], "settings"),
        }
        return journal_row({**row, "inputs": masked, "outputs": {}})

    def decisions(self, outputs: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """What a tick of history decided, masked, in the form of `decisions_of`."""
        masks = self.masks
        events = [
            (masks.event_id(e["event_id"]), masks.free(e["event_type"]), _head(e["outcome"])) for e in outputs["events"]
        ]
        return [*events, *_actions(outputs)]

    def _learn_effect(self, row: Mapping[str, Any]) -> None:
        """Note the new id of an effect whose subject is masked: the id that a tick would make."""
        if not {"kind", "subject", "generation"} <= set(row):
            return
        subject = self.masks.identifier(row["subject"])
        if subject != row["subject"]:
            rearm = rearm_of(strict_json.stored(row.get("payload") or "{}"))
            made = ids.effect_id(self._town_id, row["kind"], subject, row["generation"], rearm=rearm)
            self.masks.effects[row["effect_id"]] = made

    def _row(self, table: str, row: DumpedRow) -> DumpedRow:
        masks = self.masks
        if table == "ticks":
            return {**row, "inputs": "{}", "outputs": "{}"}
        if table == "town":
            key, value = row["key"], row["value"]
            return row if key in _KEPT_KEYS else {"key": masks.key(key), "value": masks.document(value, key)}
        return {column: self._cell(table, column, value) for column, value in row.items()}

    def _cell(self, table: str, column: str, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if (table, column) == ("open_violations", "subject"):
            return " ".join(self.masks.identifier(part) for part in value.split(" "))
        masks = self.masks
        if (table, column) in (("known_events", "event"), ("known_events", "content")):
            return self._known.get(value) or digest_of(masks.free(value))
        own = {
            "pr_url": masks.url,
            "git_url": masks.url,
            "identity": masks.identity,
            "event_id": masks.event_id,
            "sender": self._sender,
            "outcome": self._outcome,
            "content_digest": self._content,
        }
        if column in own:
            return own[column](value)
        if column in _DOCUMENTS:
            return masks.document(value, column)
        return masks.identifier(value) if column in _IDS else masks.free(value)

    def _content(self, digest: str) -> str:
        return self._contents.get(digest) or content_digest(self.masks.free(digest))

    def _sender(self, value: str) -> str:
        known = sender_in(value)
        return self.masks.free(value) if known is None else canonical.dumps(self.masks.sender(known.as_json()))

    def _outcome(self, value: str) -> str:
        head, colon, reason = value.partition(": ")
        return self.masks.free(value) if not colon else f"{self.masks.free(head)}: {self.masks.free(reason)}"

    def _envelope(self, event: Mapping[str, Any]) -> dict[str, Any]:
        masks = self.masks
        payload = masks.document(event["payload"], "payload")
        self._contents[content_digest(event["payload"])] = content_digest(payload)
        masked = {
            **event,
            "event_id": masks.event_id(event["event_id"]),
            "event_type": masks.free(event["event_type"]),
            "agent_id": None if event["agent_id"] is None else masks.identifier(event["agent_id"]),
            "bead_id": None if event["bead_id"] is None else masks.identifier(event["bead_id"]),
            "payload": payload,
            **({} if event.get("sender") is None else {"sender": masks.sender(event["sender"])}),
        }
        self._known[content_of_event(event)] = content_of_event(masked)
        for given in stored_ids(event["event_id"], Envelope.from_json(event).sender):
            self._known[digest_of(given)] = digest_of(masks.event_id(given))
        return masked

    def _observations(self, seen: Mapping[str, Any]) -> dict[str, Any]:
        agents = {
            self.masks.identifier(agent): self.masks.value(status, "agents") for agent, status in seen["agents"].items()
        }
        return {"agents": agents, "container": self.masks.free(seen["container"])}


def decisions_of(report: TickReport) -> list[tuple[Any, ...]]:
    """What a tick decided: its events with their outcomes, and rules with the types and outcomes of their actions."""
    events = [(event.event_id, event.event_type, _head(event.outcome)) for event in report.events]
    return [*events, *_actions(report.outputs())]


def require_clean(image: bytes, rows: Iterable[JournalRow]) -> None:
    """The final check that nothing looks like a secret. Raises Refused, which names the place but not the text."""
    for table, found in rewriting.all_rows(image).items():
        for stored in found:
            for column, value in stored.items():
                if column != "identity" and isinstance(value, str) and SECRET.search(value):
                    raise _not_clean(f"{table}.{column}")
    for row in rows:
        if SECRET.search(json.dumps(row["inputs"], ensure_ascii=False)):
            raise _not_clean(f"the input of tick {row['tick_no']}")


def _actions(outputs: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """The actions, sorted, because rules order beads of the same time by id, and masking can change ids."""
    return sorted((each["rule"], each["action"]["type"], each["outcome"]) for each in outputs["actions"])


def _head(outcome: str) -> str:
    return outcome.partition(":")[0]


def _not_clean(place: str) -> Refused:
    return Refused(
        f"{place} still contains something that looks like a secret; nothing was written",
        status=409,
        path="scrubbing",
        hint="this is a bug in the recorder: report the column, but not the text",
    )
