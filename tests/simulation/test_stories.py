"""What the simulation has found, each as the story of one run."""

from contextlib import suppress
from datetime import timedelta

from shared.domain import limits
from shared.domain.errors import StoreUnavailable
from shared.ports.steps import Steps, drive
from shared.runner.run_report import PassReport
from tests.fault_injection import Fault, Faults, interrupted
from tests.towns import a_town, event
from tests.worlds import World, a_world

_MS = timedelta(milliseconds=1)


def _a_world_that_acts() -> World:
    """The next pass takes an event and starts an agent; its marker is some seconds old."""
    world = a_world(a_town().bead("b1"))
    world.post(event("bead_updated", {"body": "more"}, bead="b1"))
    world.clock.move(seconds=7)
    return world


def _number_of(name: str) -> int:
    """Which call of that pass begins with these words."""
    faults = Faults()
    faults.drive(_pass(_a_world_that_acts()))
    return next(number for number, call in enumerate(faults.names) if call.startswith(name))


def _pass(world: World) -> Steps[PassReport]:
    return world.looking()


def test_a_worker_that_slept_after_its_commit_starts_nothing() -> None:
    """The claim began with the tick. Found as two messages to the mayor at once: the first worker counted its minute
    from the moment when it woke up, five minutes after its commit, when another one had claimed the effect again.
    """
    for slept, started in ((limits.EFFECT_START_DEADLINE, 1), (limits.EFFECT_START_DEADLINE + _MS, 0)):
        world = _a_world_that_acts()
        delete_marker = _number_of("delete due/")

        def sleep(world: World = world, slept: timedelta = slept) -> None:
            world.clock.at += slept

        drive(interrupted(_pass(world), before_call=delete_marker, by=sleep))
        assert len(world.runtime.orders) == started
        assert world.outbox()  # claimed; a later tick takes it up


def test_what_cannot_be_tidied_up_does_not_keep_agents_from_starting() -> None:
    """Found as a bead that waited five minutes for its agent because an inbox object could not be deleted."""
    for tidying in ("delete towns/t1/inbox/", "put due/", "delete due/"):
        world = _a_world_that_acts()
        Faults(Fault("error", at=_number_of(tidying))).drive(_pass(world))
        assert len(world.runtime.orders) == 1, tidying
        assert world.markers(), tidying


def test_a_run_that_could_not_tidy_up_is_reported_as_failed() -> None:
    """Its alerts and metrics go out all the same: the commit stands."""
    world = _a_world_that_acts()
    report = Faults(Fault("error", at=_number_of("put due/"))).drive(_pass(world))
    assert [type(failed.error) for failed in report.failed] == [StoreUnavailable]
    assert [run.outcome for run in world.metrics.runs] == ["committed"]


def test_who_cannot_look_again_leaves_a_marker() -> None:
    """An event came while the worker was at work; it deleted the marker and could not look at the inbox any more.

    Found as a bead that waited for the hourly sweep.
    """
    delete_marker = _number_of("delete due/")
    for kind in ("error", "lost_answer"):
        for later in (0, 1, 2):
            world = _a_world_that_acts()

            def post(world: World = world) -> None:
                if not world.inbox():
                    world.post(event("bead_created", {"bead": {"bead_id": "b2", "type": "issue", "title": "b2"}}))

            faults = Faults(Fault(kind, at=delete_marker + later))
            with suppress(StoreUnavailable):
                drive(interrupted(faults.into(_pass(world)), before_call=delete_marker, by=post))
            assert [at for at in world.markers() if at <= world.clock.now()], f"{kind} at call {delete_marker + later}"
