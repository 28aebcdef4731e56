"""Load a case into a town, run it, and compare sets in both directions."""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.domain import canonical
from shared.domain.tick import Envelope, TickInput
from shared.domain.times import from_text
from shared.engine import reconcile, tick
from shared.town import database
from tests.towns import TownBuilder, an_empty_town

COMPARED: dict[str, tuple[str, ...]] = {
    "transition_bead": ("bead_id", "from", "to"),
    "transition_agent": ("agent_id", "from", "to"),
    "clear_bead_assignee": ("bead_id",),
    "poll_pr": ("bead_id", "pr_url"),
    "merge_pr": ("bead_id", "pr_url"),
    "hook_agent": ("agent_id", "bead_id"),
    "unhook_agent": ("agent_id",),
    "delete_agent": ("agent_id",),
    "stop_agent": ("agent_id",),
    "dispatch_agent": ("agent_id", "bead_id", "rig_id"),
    "send_nudge": ("agent_id", "tier"),
    "create_triage_request": ("agent_id", "triage_type"),
    "update_convoy_progress": ("convoy_id", "closed_beads"),
    "set_convoy_ready_to_land": ("convoy_id",),
    "close_convoy": ("convoy_id",),
    "fail_convoy": ("convoy_id",),
    "create_landing_mr": ("convoy_id", "rig_id", "feature_branch", "target_branch"),
}
TABLES = (
    "rigs",
    "beads",
    "agent_metadata",
    "review_metadata",
    "convoy_metadata",
    "bead_dependencies",
    "escalation_metadata",
    "agent_nudges",
    "bead_events",
    "town_events",
    "outbox",
)
_BEAD_KEYS = ("auto_merge_pending", "has_feedback", "has_conflicts")


@dataclass(frozen=True)
class Verdict:
    """What came of one case; `difference` is empty if it passed."""

    case_id: str
    difference: str


def superseded() -> dict[str, str]:
    """The cases that a later decision contradicts, by id: the decision and why. They are not run."""
    listed = (Path(__file__).parent / "superseded.txt").read_text(encoding="utf-8").splitlines()
    return {case_id: why for case_id, _, why in (line.partition(" ") for line in listed)}


def read_cases(path: Path) -> Iterator[dict[str, Any]]:
    """The cases of a file of JSON lines, gzip or plain. A line that is no JSON object is a case that fails."""
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        content = gzip.decompress(content)
    for number, line in enumerate(content.decode("utf-8").split("\n"), start=1):
        if line.strip():
            try:
                case = json.loads(line)
            except ValueError as error:
                case = {"id": f"line {number}", "broken": str(error)}
            yield case if isinstance(case, dict) else {"id": f"line {number}", "broken": "not a JSON object"}


def judge(case: Mapping[str, Any]) -> Verdict:
    """Run one case of either kind; whatever goes wrong is a failure of the case."""
    case_id = str(case.get("id", "without id"))
    try:
        if "expected_actions" in case:
            return Verdict(case_id, _reconcile(case))
        if "expected_changes" in case:
            return Verdict(case_id, _event(case))
        return Verdict(case_id, f"neither expected_actions nor expected_changes: {case.get('broken', sorted(case))}")
    except Exception as error:  # noqa: BLE001 - a case that errors is a failed case, whatever the error
        return Verdict(case_id, f"{type(error).__name__}: {error}")


def _load(case: Mapping[str, Any]) -> TownBuilder:
    town = an_empty_town("conformance").key("config", case["config"])
    if case.get("draining"):
        town.key("drain", {"nonce": "n", "started_at": case["now"]})
    town.key("last_tick_at", None)
    town.key("last_token_refresh_at", case["now"])
    for table, rows in case["tables"].items():
        if table not in TABLES:
            raise ValueError(f"unknown table {table}")
        for row in rows:
            town.insert(table, **row)
    return town


def _reconcile(case: Mapping[str, Any]) -> str:
    town = _load(case)
    reader, about = tick.current_state(town.sql, _input(case), town_id=town.town_id)
    decisions = reconcile.decide(reader, about)
    if decisions.failed_rules:
        return f"a rule failed: {decisions.failed_rules}"
    decided = {_reduced(action.as_json()) for _, action in decisions.intents if action.type in COMPARED}
    expected = {_reduced(action) for action in case["expected_actions"] if action["type"] in COMPARED}
    return _both_ways(expected, decided)


def _reduced(action: Mapping[str, Any]) -> str:
    fields = COMPARED[action["type"]]
    return canonical.dumps({"type": action["type"], **{name: action.get(name) for name in fields}})


def _both_ways(expected: set[str], got: set[str]) -> str:
    missing, surplus = sorted(expected - got), sorted(got - expected)
    parts = []
    if missing:
        parts.append("missing " + " ".join(missing))
    if surplus:
        parts.append("surplus " + " ".join(surplus))
    return "; ".join(parts)


def _input(case: Mapping[str, Any]) -> TickInput:
    event = case.get("event")
    return TickInput(
        tick_no=2,
        tick_id="2-conformance",
        now=from_text(case["now"]),
        code_version="conformance",
        sqlite_version=database.SQLITE_VERSION,
        config_digest="",
        prev_image_digest="",
        new_events=() if event is None else (_envelope(event),),
    )


def _envelope(event: Mapping[str, Any]) -> Envelope:
    return Envelope(
        event_id=event["event_id"],
        event_type=event["event_type"],
        agent_id=event.get("agent_id"),
        bead_id=event.get("bead_id"),
        payload=canonical.dumps(event.get("payload", {})),
        source=event.get("source", "ingest"),
        created_at=event["created_at"],
        received_at=event.get("received_at", event["created_at"]),
    )


def _event(case: Mapping[str, Any]) -> str:
    town = _load(case)
    before = _seen(town)
    outcome = tick.apply_events(town.sql, _input(case), town_id=town.town_id)
    failed = [seen.error for seen in outcome if seen.error is not None]
    if failed:
        return f"the event failed: {failed}"
    got = _changes(before, _seen(town), town)
    expected = dict(case["expected_changes"])
    got["new_beads"] = sorted(canonical.dumps(bead) for bead in got["new_beads"])
    expected["new_beads"] = sorted(canonical.dumps(_with_sorted_edges(bead)) for bead in expected.get("new_beads", ()))
    differing = [part for part in sorted({*got, *expected}) if got.get(part, {}) != expected.get(part, {})]
    return "; ".join(
        f"{part}: expected {expected.get(part)}, got {got.get(part)}"
        for part in differing
        if not (not got.get(part) and not expected.get(part))
    )


def _seen(town: TownBuilder) -> dict[str, dict[str, Any]]:
    beads = {}
    for bead_id, bead_type, status, assignee, metadata in town.rows(
        "SELECT bead_id, type, status, assignee_agent_bead_id, metadata FROM beads ORDER BY bead_id"
    ):
        keys = json.loads(metadata)
        beads[bead_id] = {
            "type": bead_type,
            "status": status,
            "assignee_agent_bead_id": assignee,
            "metadata": {name: keys.get(name) for name in _BEAD_KEYS},
        }
    return {
        "beads": beads,
        "agents": {
            row[0]: {"status": row[1], "current_hook_bead_id": row[2]}
            for row in town.rows("SELECT bead_id, status, current_hook_bead_id FROM agent_metadata ORDER BY bead_id")
        },
        "review_metadata": {
            row[0]: {"pr_url": row[1]}
            for row in town.rows("SELECT bead_id, pr_url FROM review_metadata ORDER BY bead_id")
        },
        "staged": {row[0]: row[1] for row in town.rows("SELECT bead_id, staged FROM convoy_metadata ORDER BY bead_id")},
    }


def _changes(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]], town: TownBuilder) -> dict[str, Any]:
    changed: dict[str, Any] = {}
    for part in ("beads", "agents", "review_metadata"):
        changed[part] = {
            key: _difference(before[part][key], row)
            for key, row in after[part].items()
            if key in before[part] and before[part][key] != row and row.get("type") != "convoy"
        }
    changed["staged"] = {
        key: value for key, value in after["staged"].items() if before["staged"].get(key, value) != value
    }
    changed["new_beads"] = [_new_bead(town, key) for key in after["beads"] if key not in before["beads"]]
    return {part: value for part, value in changed.items() if part == "new_beads" or value}


def _difference(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The fields that differ, with their new values; inside metadata likewise."""
    return {
        name: _difference(before[name], value) if isinstance(value, dict) else value
        for name, value in after.items()
        if before.get(name) != value
    }


def _new_bead(town: TownBuilder, bead_id: str) -> dict[str, Any]:
    row = town.rows(
        "SELECT type, status, rig_id, parent_bead_id, labels, priority FROM beads WHERE bead_id = ?", bead_id
    )[0]
    edges = town.rows(
        "SELECT bead_id, depends_on_bead_id, dependency_type FROM bead_dependencies "
        "WHERE bead_id = ? OR depends_on_bead_id = ? ORDER BY 1, 2",
        bead_id,
        bead_id,
    )
    bead: dict[str, Any] = {
        "type": row[0],
        "status": row[1],
        "rig_id": row[2],
        "parent_bead_id": row[3],
        "labels": json.loads(row[4]),
        "priority": row[5],
        "edges": [["self" if end == bead_id else end for end in edge[:2]] + [edge[2]] for edge in edges],
    }
    review = town.rows("SELECT branch, target_branch, pr_url FROM review_metadata WHERE bead_id = ?", bead_id)
    if review:
        bead["review_metadata"] = dict(zip(("branch", "target_branch", "pr_url"), review[0], strict=True))
    return _with_sorted_edges(bead)


def _with_sorted_edges(bead: Mapping[str, Any]) -> dict[str, Any]:
    return {**bead, "edges": sorted(bead.get("edges", []))}
