"""What explain says of an id that is of the other kind, was deleted, or did not exist yet."""

from datetime import datetime, timedelta

import pytest

from shared.domain.errors import Refused
from shared.history.retained_past import StoredPast
from shared.ports.steps import drive
from shared.questions.explain import Explanation, explain_agent, explain_bead
from tests.towns import MS, TOWN, T, a_town, ago, event
from tests.worlds import World, a_world

BORN = T + timedelta(seconds=10)


def explained(world: World, subject: str, *, agent: bool = False, at: datetime | None = None) -> Explanation:
    """The explanation as of a time."""
    tell = explain_agent if agent else explain_bead
    past = StoredPast(world.objects, world.objects)  # type: ignore[arg-type]
    return drive(tell(TOWN, subject, past, now=world.clock.now(), at=at))


def a_world_with_a_late_bead() -> World:
    """A bead that was created ten seconds after the first tick of the town."""
    world = a_world(a_town())
    world.run()
    world.clock.at = BORN
    bead = {"bead_id": "late", "type": "issue", "title": "late", "rig_id": "rig-1"}
    world.post(event("bead_created", {"bead": bead}, event_id="create-late", at=BORN))
    world.run()
    return world


def test_a_bead_is_explained_from_the_millisecond_of_its_creation_on() -> None:
    world = a_world_with_a_late_bead()
    assert explained(world, "late", at=BORN).row is not None
    with pytest.raises(Refused) as refused:
        explained(world, "late", at=BORN - MS)
    assert refused.value.status == 404
    assert refused.value.message.endswith("it was created at 2026-01-10T12:00:10.000Z")
    assert refused.value.hint == "ask for 2026-01-10T12:00:10.000Z or later"


def test_a_bead_that_never_was_has_no_time_of_creation() -> None:
    world = a_world_with_a_late_bead()
    with pytest.raises(Refused, match="has no bead nothing at"):
        explained(world, "nothing", at=T)


@pytest.mark.parametrize(("subject", "agent", "other"), [("late", True, "bead"), ("mayor", False, "agent")])
def test_an_id_of_the_other_kind_names_a_command_that_can_be_followed(subject: str, agent: bool, other: str) -> None:
    with pytest.raises(Refused) as refused:
        explained(a_world_with_a_late_bead(), subject, agent=agent)
    assert refused.value.hint == f"`townctl explain {other} {subject} --town {TOWN}` explains it"


def test_an_agent_that_was_deleted_is_not_explained_as_a_bead() -> None:
    world = a_world(a_town().agent("p", last_activity_at=ago(hours=24)))
    world.clock.move(ms=1)
    world.run()
    gone = explained(world, "p", agent=True).gone
    assert gone is not None
    assert (gone.existed, gone.at) == (True, world.clock.now())
    with pytest.raises(Refused, match="p was an agent, not a bead"):
        explained(world, "p")


def test_a_bead_whose_time_of_creation_is_damaged_is_explained() -> None:
    now = explained(a_world(a_town().bead("b", created_at="soon")), "b").now
    assert now is not None
    assert (now.reason, now.guards[0].guard) == ("held", "unreadable")
