"""docs/events.md and docs/settings.md say what the classes say, and every example in them is an event that does something."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from infra.reference import event_types, pages, settings
from infra.reference.event_examples import EXAMPLES
from infra.reference.event_words import MEANINGS
from infra.reference.setting_words import EFFECTS, ONLY_OF_A_RIG
from shared.domain.config import NEW_TOWN, OF_A_RIG, RigConfig, TownConfig, merged
from shared.domain.errors import Refused
from shared.domain.senders import Sender
from shared.domain.states import SCOPES, Scope
from shared.events import BY_TYPE
from shared.intake import ingest
from shared.ports.steps import drive
from tests.documented import unlike
from tests.towns import T, TownBuilder, ago, an_empty_town
from tests.worlds import a_world, outcomes

POSTED = sorted(name for name, event in BY_TYPE.items() if event.senders)
UNREAD = {"container.sleep_after_minutes"}
"""Settings that are accepted and that nothing reads."""


@pytest.mark.parametrize("page", ["docs/events.md", "docs/settings.md"])
def test_a_page_is_what_the_code_makes(page: str) -> None:
    assert (pages.ROOT / page).read_text(encoding="utf-8") == pages.pages()[page], "run: make reference"


def test_every_event_that_can_be_posted_has_an_example_and_a_meaning_for_each_field() -> None:
    described = {each.event_type: each for each in event_types.every_type().types}
    assert list(described) == list(BY_TYPE)
    assert sorted(EXAMPLES) == sorted(MEANINGS) == POSTED
    for name in POSTED:
        assert {field.name for field in described[name].fields} == set(MEANINGS[name])


def the_town_of_the_examples() -> TownBuilder:
    """Agent toast works on `door`, agent rusty reviews `review-fence`, `review-lamp` has a pull request."""
    town = an_empty_town().rig("website", name="website").agent("mayor", "mayor", "working")
    town.bead("question", "message", rig_id=None, title="When is the fence done?", assignee_agent_bead_id="mayor")
    town.bead(
        "door",
        status="in_progress",
        rig_id="website",
        assignee_agent_bead_id="toast",
        metadata={"branch": "gt/toast/door"},
    )
    town.agent("toast", status="working", hook="door", rig="website", generation=3)
    town.bead("fence", status="in_review", rig_id="website").review(
        "review-fence", "in_progress", of="fence", rig_id="website"
    )
    town.agent("rusty", "refinery", "working", hook="review-fence", rig="website", generation=2)
    town.bead("lamp", status="in_review", rig_id="website")
    town.review(
        "review-lamp", "in_progress", of="lamp", rig_id="website", pr_url="https://github.com/acme/website/pull/7"
    )
    town.rig("attic", name="attic").bead("shed", status="closed", rig_id="website")
    town.bead("roof", rig_id="website", labels=["gt:held"]).bead("gate", status="failed", rig_id="website")
    town.bead("tree", rig_id="website").convoy("garden", tracked=["tree"], staged=1, branch="convoy/garden/1/head")
    town.bead("alarm", "escalation").insert("escalation_metadata", bead_id="alarm", severity="high")
    stuck = {"triage_type": "stuck_agent", "agent_bead_id": "toast", "hooked_bead_id": "door"}
    town.bead("triage-1", rig_id=None, labels=["gt:triage-request"], metadata=stuck, created_by="system")
    return town.insert(
        "agent_nudges", nudge_id="nudge-1", agent_bead_id="toast", message="Well?", created_at=ago(minutes=1)
    )


BEFORE: dict[str, Callable[[TownBuilder], TownBuilder]] = {
    "container_ready": lambda town: town.key("drain", {"nonce": "drain-1", "started_at": "2026-01-10T11:59:00.000Z"}),
    "town_started": lambda town: town.key("paused", True),
}
"""What must have happened before some of the events."""


@pytest.mark.parametrize("event_type", POSTED)
def test_an_example_is_applied(event_type: str) -> None:
    example = dict(EXAMPLES[event_type])
    town = the_town_of_the_examples()
    if event_type in BEFORE:
        BEFORE[event_type](town)
    world = a_world(town)
    batch = ingest.batch_of([example], received_at=T)
    drive(world.store.post("t1", batch.body, received_at=T, batch_id="b-example", wake=True))
    world.run()
    [row] = world.journal()
    assert outcomes(row)[example["event_id"]] == "applied"


@pytest.mark.parametrize("event_type", POSTED)
def test_an_example_is_accepted_from_its_senders_alone(event_type: str) -> None:
    accepted = {scope for scope in SCOPES if accepts(*sent_by(scope, EXAMPLES[event_type]))}
    # an agent may propose a bead of its rig, and nothing depends on a proposal
    proposed = {"agent"} if event_type == "bead_created" else set()
    assert accepted == BY_TYPE[event_type].senders - proposed


def sent_by(scope: Scope, example: Mapping[str, Any]) -> tuple[dict[str, Any], Sender]:
    """The example as a sender of this scope sends it: agents name themselves in the envelope, and nobody else in the payload."""
    if scope not in ("agent", "coordinator"):
        return dict(example), Sender(scope)
    agent = example.get("agent_id", "mayor")
    payload = {name: value for name, value in example["payload"].items() if name != "by"}
    return {**example, "agent_id": agent, "payload": payload}, Sender(scope, agent)


def accepts(event: dict[str, Any], sender: Sender) -> bool:
    """Whether ingest takes an event from a sender."""
    try:
        ingest.batch_of([event], received_at=T, sent_by=sender)
    except Refused as refused:
        if refused.status != 403:
            raise
        return False
    return True


@pytest.mark.parametrize("event_type", POSTED)
def test_the_api_describes_each_example_as_exactly_one_type(event_type: str) -> None:
    example = EXAMPLES[event_type]
    assert unlike("Event", example) == []
    other = next(name for name in POSTED if name != event_type)
    assert unlike("Event", {**example, "event_type": other, "payload": {"surely_unknown": 1}}) != []


def test_an_event_of_the_town_itself_cannot_be_posted() -> None:
    for name, event in BY_TYPE.items():
        if not event.senders:
            with pytest.raises(Refused):
                ingest.batch_of([{"event_id": "example-01", "event_type": name, "payload": {}}], received_at=T)


def test_every_setting_has_its_words_and_no_words_are_left_over() -> None:
    found = settings.every_setting().settings
    assert {each.name for each in found if each.name is not None} == set(EFFECTS)
    assert {each.of_rig for each in found if each.name is None} == set(ONLY_OF_A_RIG)
    assert len(found) == len({each.called for each in found})


def test_the_type_of_a_setting_says_what_a_value_must_have() -> None:
    """A refused value is answered with it: "it takes object, or null" told nobody what was wrong with the object that was given."""
    bare = {"object", "list of objects", "list"}
    assert [each.called for each in settings.every_setting().settings if each.type in bare] == []


def test_the_defaults_are_those_of_a_configuration_without_values() -> None:
    empty, new = (
        TownConfig().model_dump(mode="json"),
        TownConfig.model_validate(merged({}, NEW_TOWN)).model_dump(mode="json"),
    )
    for each in settings.every_setting().settings:
        if each.name is not None:
            assert json.loads(json.dumps(each.default)) == at(empty, each.name)
            assert at(new, each.name) == (each.new_town if each.stored_in_new_towns else each.default)


def at(values: Any, path: str) -> Any:
    """The value of a setting."""
    for name in path.split("."):
        values = values[name]
    return values


def test_every_setting_of_a_rig_is_known_under_one_name() -> None:
    own = {name for name in RigConfig.model_fields if name != "budget"} | {"budget.per_convoy", "budget.per_bead"}
    assert own == set(OF_A_RIG.values()) | set(ONLY_OF_A_RIG)


def test_every_setting_is_read_somewhere() -> None:
    unread = {each.called for each in settings.every_setting().settings if not settings.readers(each)}
    assert unread == UNREAD
