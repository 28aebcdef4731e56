"""The table at the end of a run tells the truth about what never happened."""

from collections import Counter
from datetime import timedelta

from shared.domain import limits
from shared.questions.waiting import REASONS
from shared.rules import RULES
from shared.storage import layers
from tests.properties.test_histories import SILENT_RULES
from tests.simulation import coverage
from tests.simulation.faults import Swarm
from tests.simulation.ground import Skew
from tests.simulation.scales import Scale
from tests.simulation.scheduler import SkewedClock
from tests.simulation.simulate import World


def test_the_rules_that_only_wait_are_those_that_act_in_no_history() -> None:
    """The histories fail if any other rule never acts, and `Wait` rules have no action to be counted."""
    assert coverage.ONLY_WAIT.keys() == SILENT_RULES


def test_a_rule_or_a_reason_that_was_not_seen_is_named() -> None:
    rules: Counter[str] = Counter({rule.name: 1 for rule in RULES if rule.code not in ("V3", "C9")})
    reasons: Counter[str] = Counter({str(reason): 1 for reason in REASONS if reason != "budget_spent"})
    assert coverage.never_acted(rules) == ["V3"]
    assert coverage.never_waited(reasons) == ["budget_spent"]
    *_, rules_line, reasons_line = coverage.table(rules, reasons)
    assert (rules_line, reasons_line) == ("never acted: V3", "never waited for: budget_spent")


def test_many_worlds_must_reach_everything_but_what_is_excused_and_few_need_not() -> None:
    rules: Counter[str] = Counter({rule.name: 1 for rule in RULES if rule.code not in ("V3", "A6")})
    reasons: Counter[str] = Counter({str(reason): 1 for reason in REASONS if reason != "budget_spent"})
    assert coverage.missing(coverage.MANY, rules, reasons) == ["V3", "budget_spent"]
    assert coverage.missing(coverage.MANY - 1, rules, reasons) == []


def test_everything_excused_exists_and_could_have_been_seen() -> None:
    could = {rule.code for rule in RULES} - coverage.ONLY_WAIT.keys() | set(REASONS)
    assert coverage.NEED_NOT_BE_SEEN.keys() <= could


def test_a_third_of_the_worlds_is_small_and_all_limits_are_those_of_production_again_afterwards() -> None:
    worlds = [Scale.of(seed) for seed in range(300)]
    assert sum(world.small for world in worlds) == 100
    for kind in ("forgetful", "hurried", "stumbling", "restoring", "archiving"):
        assert any(getattr(world, kind) for world in worlds), kind
    before = _limits()
    with Scale(small=True, forgetful=True, hurried=True, stumbling=True, archiving=True).installed():
        assert _limits() != before
    assert _limits() == before


def test_where_clocks_jump_every_clock_is_guarded_and_right_within_seconds_and_elsewhere_none_is() -> None:
    for kind in ("none", "minute", "jumps", "hour"):
        seed = next(seed for seed in range(100) if Skew.of(seed).kind == kind)
        ground = World(seed, Swarm(seed)).ground
        clock = SkewedClock(ground.scheduler, ground.skew.draw())
        assert (ground.guard(clock) is not None) == (kind == "jumps")
        assert abs(timedelta(milliseconds=clock.skew)) <= ground.skew.at_most


def _limits() -> tuple[object, ...]:
    return (
        limits.ARCHIVE_BEADS,
        limits.EVENT_RETENTION,
        limits.GUPP_WARN_AFTER,
        limits.JOURNAL_WINDOW_ROWS,
        layers.WHOLE_UP_TO,
    )
