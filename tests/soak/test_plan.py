"""The faults of a soak follow from its seed, and leave no kind out."""

from tests.soak import plan

KINDS = (*plan.PROCESSES, *plan.NETWORKS)


def test_a_seed_draws_the_same_faults_again_and_another_seed_others() -> None:
    first, again, other = (list(plan.faults(seed, "seaweedfs", KINDS, seconds=600)) for seed in (7, 7, 8))
    assert first == again
    assert first != other


def test_each_place_has_faults_of_its_own() -> None:
    assert list(plan.faults(7, "directory", KINDS, seconds=600)) != list(
        plan.faults(7, "seaweedfs", KINDS, seconds=600)
    )


def test_every_kind_happens_before_one_happens_again() -> None:
    faults = list(plan.faults(7, "seaweedfs", KINDS, seconds=600))
    assert len(faults) > 2 * len(KINDS)
    assert sorted(fault.kind for fault in faults[: len(KINDS)]) == sorted(KINDS)


def test_no_fault_begins_or_lasts_after_the_time_of_the_faults() -> None:
    assert all(fault.at + fault.seconds <= 600 for fault in plan.faults(7, "seaweedfs", KINDS, seconds=600))
