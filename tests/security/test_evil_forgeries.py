"""What devstack's evil agent posts is refused for the reason for which it was written, and not for a mistake in it.

Each forgery goes through the real events function, by the holder of the token of generation 5 of an agent.
"""

import re
from typing import Final

import pytest

from functions.access import Access
from functions.events import app as events
from functions.ingestion import Ingestion
from infra.devstack.evil_agent.forgeries import Forgery, Known, farewell, forgeries
from shared.telemetry.emf import EmfMetrics
from tests.cloud import a_cloud
from tests.towns import a_town
from tests.unit.functions.test_events import RULES, EventsApi, sender
from tests.worlds import a_world

ME: Final = Known(
    "one", "toast", 5, bead_id="bead-of-toast", agents=("nux", "refinery"), beads=("honest-1", "honest-2")
)
TOKEN: Final = sender("agent", agent="toast", generation="5")
SCOPE: Final = "this token may not send such events"
VALUE: Final = "a token of scope agent may not send this value"
TOWN: Final = "is made by the town itself"

REASONS: Final = (
    # the names of the forgeries, the status, how the text of the answer reads, and at which place it points
    (r"mayor_waiting for another agent", 403, SCOPE, "events[0].event_type"),
    (r"(?!mayor_waiting)\w+ for another agent", 403, "this token speaks for another agent", "events[0].agent_id"),
    (r"a report for no agent", 403, "this token speaks for another agent", "events[0].agent_id"),
    (r"\w+ for another generation", 403, "this token speaks for another generation", "events[0].payload.generation"),
    (r"container_status \w+|container_(eviction|ready)|nudge_timeout", 403, SCOPE, "events[0].event_type"),
    (r"town_\w+|rig_\w+|escalation_acknowledged|agent_reset|pr_\w+", 403, SCOPE, "events[0].event_type"),
    (r"bead_(cancelled|reopened|updated)|convoy_\w+", 403, SCOPE, "events[0].event_type"),
    (r"words of the mayor|the rest of the mayor", 403, SCOPE, "events[0].event_type"),
    (r"bead_created: (mr|convoy|agent)|mail that instructs", 403, VALUE, "events[0].payload.bead.type"),
    (r"bead_created: assigned", 403, VALUE, "events[0].payload.bead.assignee_agent_id"),
    (r"bead_created: depends", 403, VALUE, "events[0].payload.bead.depends_on"),
    (r"bead_created: in-convoy", 403, VALUE, "events[0].payload.bead.convoy_id"),
    (r"an event id of (an effect's result|a stand-in)", 400, f"an event_id of this form {TOWN}", "events[0].event_id"),
    (r"a result of an effect", 400, rf"\w+ {TOWN}", "events[0].event_type"),
    (r"a stored event id of another sender", 400, "event_id must be 8 to 128 characters of .*", "events[0].event_id"),
    (r"nothing|no JSON", 400, "not JSON: Expecting value at line 1, column 1", None),
    (r"deep( payload)?", 400, r"nested deeper than \d+ levels", None),
    (r"not a number", 400, "NaN is not JSON", None),
    (r"a huge number", 400, r"a number has at most \d+ characters", None),
    (r"a lone surrogate", 400, "text contains a lone surrogate", "payload.message"),
    (r"U\+0000", 400, r"U\+0000 is not allowed in text", "payload.message"),
    (r"not UTF-8", 400, r"not UTF-8 text at byte \d+", None),
    (r"a byte order mark", 400, "the body starts with a byte order mark", None),
    (r"one key twice", 400, "duplicate key in one object", "agent_id"),
    (r"a sender in the event", 400, "unknown field of an event", "events[0].sender"),
    (r"a source in the event", 400, "unknown field of an event", "events[0].source"),
    (r"a sender in the batch", 400, "unknown field beside `events`", "sender"),
    (r"a source in the batch", 400, "unknown field beside `events`", "source"),
    (r"too many events", 400, "101 events: a batch has 1 to 100", "events"),
    (r"a large event", 413, r"an event of \d+ bytes: at most \d+ are accepted", "events[0]"),
    (r"a large body", 413, r"\d+ bytes: at most \d+ are accepted", None),
)


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> EventsApi:
    made = EventsApi(a_cloud(a_world(a_town("one"))))
    metrics = EmfMetrics(made.lines.append, stage="test")
    ingestion = Ingestion(made.cloud.dispatcher.around, made.cloud.queue, metrics, made.lines.append)
    here = events.EventsDeployment(ingestion, Access(RULES, made.lines.append), made.world.objects)
    monkeypatch.setattr(events, "deployment", lambda: here)
    return made


def refused() -> list[Forgery]:
    return [each for each in forgeries(ME) if each.refused]


@pytest.mark.parametrize(("names", "status", "text", "path"), REASONS, ids=[row[0] for row in REASONS])
def test_a_forgery_is_refused_for_its_own_reason(
    api: EventsApi, names: str, status: int, text: str, path: str | None
) -> None:
    those = [each for each in refused() if re.fullmatch(names, each.name)]
    assert those
    for forgery in those:
        answer = api.post(forgery.body, claims=TOKEN)
        said = (answer.status, answer.document["path"])
        assert said == (status, path), (forgery.name, answer.document)
        assert re.fullmatch(text, answer.document["detail"]), (forgery.name, answer.document)
    assert api.world.inbox("one") == ()


def test_every_forgery_has_exactly_one_reason() -> None:
    for forgery in refused():
        assert sum(re.fullmatch(names, forgery.name) is not None for names, *_ in REASONS) == 1, forgery.name


def test_what_it_may_say_is_stored_under_its_own_name(api: EventsApi) -> None:
    """Otherwise nothing that the town makes of it would ever be tested."""
    for forgery in (each for each in forgeries(ME) if not each.refused):
        answer = api.post(forgery.body, claims=TOKEN)
        assert answer.status == 202, (forgery.name, answer.document)
    api.world.look()
    assert api.post(farewell(ME, 1).body, claims=TOKEN).status == 202
    api.world.look()
    known = api.world.town("one").rows("SELECT event_id, agent_id FROM town_events WHERE sender IS NOT NULL")
    assert known
    assert {(event_id.rpartition("@")[2], agent_id) for event_id, agent_id in known} == {("toast", "toast")}
