"""The form in which the image and the journal objects keep what a tick read and decided: without what repeats.

A tick of a busy town reads a hundred events that differ in a few fields, and says of nearly all of them that they were applied. Of
each event, only the fields stay that differ from those of the last one of its type; of the outcomes, those that are not
"applied". `unpacked` gives back exactly what was packed, and leaves alone what an older release stored.

    events     for each event: type, id, what differs ("+"), the fields that are not there any more ("-"), and the same of the
               payload, if its text is its canonical form ("p+", "p-")
    outcomes   for each run of events that were applied: the position of the first one, and how many; any other outcome as it is
    running    the agents that run: the generation by id; the other observations as they are
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from shared.domain import canonical, strict_json

Json = dict[str, Any]

BLOCK_FORMAT: Final = 2
"""Of a journal object whose rows are packed. In those of format 1, which older releases made, all rows are in full."""
LONGEST_PAYLOAD: Final = 1024
"""Characters of a payload that is taken apart. A row holds a thousand events, and its reader limits the number of JSON values."""
_PLAIN_STATE: Final = {"status": "running", "exit_reason": None}


def packed(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> tuple[Json, Json]:
    """The stored form of the columns `inputs` and `outputs`."""
    short_inputs, short_outputs = dict(inputs), dict(outputs)
    events = inputs.get("new_events")
    if isinstance(events, list):
        del short_inputs["new_events"]
        short_inputs["events"] = list(_shortened(events))
        if isinstance(outputs.get("events"), list):
            del short_outputs["events"]
            short_outputs["outcomes"] = list(_runs(events, outputs["events"]))
    seen = inputs.get("observations")
    if isinstance(seen, dict) and isinstance(seen.get("agents"), dict):
        short_inputs["observations"] = _without_repetition(seen)
    return short_inputs, short_outputs


def unpacked(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> tuple[Json, Json]:
    """The columns `inputs` and `outputs` in full. Raises ValueError if they cannot be what was packed."""
    try:
        return _unpacked(inputs, outputs)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a packed journal row ({type(error).__name__}: {error})") from error


def row_in_full(stored: Mapping[str, Any]) -> Json:
    """A stored row with its inputs and outputs in full. Raises ValueError."""
    inputs, outputs = unpacked(stored["inputs"], stored["outputs"])
    return {**stored, "inputs": inputs, "outputs": outputs}


def _unpacked(inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> tuple[Json, Json]:
    whole_inputs, whole_outputs = dict(inputs), dict(outputs)
    if "events" in inputs:
        events = list(_restored(whole_inputs.pop("events")))
        whole_inputs["new_events"] = events
        if "outcomes" in outputs:
            whole_outputs["events"] = list(_outcomes(events, whole_outputs.pop("outcomes")))
    seen = inputs.get("observations")
    if isinstance(seen, dict) and "running" in seen:
        rest = {name: value for name, value in seen.items() if name != "running"}
        running = {agent: {**_PLAIN_STATE, "generation": number} for agent, number in seen["running"].items()}
        whole_inputs["observations"] = {**rest, "agents": {**rest.get("agents", {}), **running}}
    return whole_inputs, whole_outputs


def _shortened(events: Sequence[Mapping[str, Any]]) -> Iterator[Json]:
    last: dict[str, Mapping[str, Any]] = {}
    last_payload: dict[str, Mapping[str, Any]] = {}
    for event in events:
        kind = event["event_type"]
        said = {name: value for name, value in event.items() if name not in ("event_id", "event_type")}
        short: Json = {"id": event["event_id"], "type": kind}
        payload = _canonical_object(said.get("payload"))
        if payload is not None:
            del said["payload"]
            _difference(short, "p", last_payload.get(kind, {}), payload)
            last_payload[kind] = payload
        _difference(short, "", last.get(kind, {}), said)
        last[kind] = said
        yield short


def _restored(events: Sequence[Mapping[str, Any]]) -> Iterator[Json]:
    last: dict[str, Json] = {}
    last_payload: dict[str, Json] = {}
    for short in events:
        kind = short["type"]
        said = last[kind] = _sum(last.get(kind, {}), short, "")
        event = {"event_id": short["id"], "event_type": kind, **said}
        if "p+" in short:
            last_payload[kind] = _sum(last_payload.get(kind, {}), short, "p")
            event["payload"] = canonical.dumps(last_payload[kind])
        yield event


def _difference(short: Json, name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    short[f"{name}+"] = {
        key: value for key, value in after.items() if key not in before or not _same(before[key], value)
    }
    gone = sorted(before.keys() - after.keys())
    if gone:
        short[f"{name}-"] = gone


def _sum(before: Mapping[str, Any], short: Mapping[str, Any], name: str) -> Json:
    gone = short.get(f"{name}-", ())
    return {**{key: value for key, value in before.items() if key not in gone}, **short[f"{name}+"]}


def _same(one: object, other: object) -> bool:
    """Whether two values have the same text: 1, 1.0 and true are equal, and are not the same."""
    if one is other:
        return True
    if type(one) is str and type(other) is str:
        return one == other
    return canonical.dumps(one) == canonical.dumps(other)


def _canonical_object(payload: object) -> Json | None:
    """The object whose canonical text this is; None if it is any other text, or a long one."""
    if not isinstance(payload, str) or len(payload) > LONGEST_PAYLOAD:
        return None
    try:
        read = strict_json.stored(payload)
        return read if isinstance(read, dict) and canonical.dumps(read) == payload else None
    except ValueError:
        return None


def _runs(events: Sequence[Mapping[str, Any]], outcomes: Sequence[Mapping[str, Any]]) -> Iterator[object]:
    places = {event["event_id"]: place for place, event in enumerate(events)}
    start = count = 0
    for outcome in outcomes:
        place = places.get(outcome["event_id"], -1)
        plain = place >= 0 and outcome == _applied(events[place])
        if count and (not plain or place != start + count):
            yield [start, count]
            count = 0
        if not plain:
            yield dict(outcome)
            continue
        start = start if count else place
        count += 1
    if count:
        yield [start, count]


def _outcomes(events: Sequence[Mapping[str, Any]], runs: Sequence[Any]) -> Iterator[Json]:
    for run in runs:
        if isinstance(run, dict):
            yield run
            continue
        start, count = run
        if not 0 <= start < start + count <= len(events):
            raise ValueError("an outcome of no event")
        yield from map(_applied, events[start : start + count])


def _applied(event: Mapping[str, Any]) -> Json:
    return {"event_id": event["event_id"], "event_type": event["event_type"], "outcome": "applied"}


def _without_repetition(seen: Mapping[str, Any]) -> Json:
    agents = seen["agents"]
    running = {agent: state["generation"] for agent, state in agents.items() if _runs_plainly(state)}
    others = {agent: state for agent, state in agents.items() if agent not in running}
    return {**seen, "agents": others, "running": running}


def _runs_plainly(state: object) -> bool:
    return isinstance(state, dict) and state == {**_PLAIN_STATE, "generation": state.get("generation")}
