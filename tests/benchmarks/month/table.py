"""The table of costs for fleets of 1, 1,000 and 100,000 towns, as docs/costs.md shows it."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import cache
from typing import Final

from shared.domain import limits
from shared.runner.sweep import HEADS_AT_ONCE
from tests.benchmarks.month.counts import IDLE_TOWNS, Measured, live, parameter_requests_an_hour, sweep_of
from tests.benchmarks.month.page import ACTIVE_SHARE, AGENTS, Deployment, Fleet, Line, Profile, free_of, lines

IN_PROCESS: Final = 3
"""InProcess of the template."""
PASSES: Final[dict[Profile, timedelta]] = {"standard": limits.ACTIVE_INTERVAL, "small": timedelta(minutes=1)}
"""The time between two passes of the dispatcher, by profile."""
_STAGGERED: Final = 6


def fleets(*, agents: int = AGENTS, active_share: float = ACTIVE_SHARE) -> tuple[Fleet, ...]:
    """One town that is active for eight hours a day, with both profiles, and large fleets of which a share is always active."""
    return (
        Fleet(1, active_share=1, hours_a_day=8, agents=agents, profile="small"),
        Fleet(1, active_share=1, hours_a_day=8, agents=agents),
        Fleet(1_000, active_share=active_share, agents=agents),
        Fleet(100_000, active_share=active_share, agents=agents),
    )


def costs(fleet: Fleet) -> tuple[Line, ...]:
    """Every line of the page for one fleet. Towns of a large fleet tick behind the queue, one town alone in the dispatcher."""
    measured = _measured(agents=fleet.agents, alone=fleet.active <= IN_PROCESS, profile=fleet.profile)
    an_hour = measured.an_hour(measured.commits)
    return tuple(
        lines(
            fleet,
            measured,
            sweep_of(),
            parameter_requests_an_hour(ticks_an_hour=an_hour),
            Deployment.of_template(fleet.profile),
        )
    )


def total(found: Sequence[Line]) -> float:
    """Dollars a month."""
    return sum(line.dollars for line in found)


def lines_of(*given: Fleet) -> Iterator[str]:
    """The table in Markdown."""
    columns = [costs(fleet) for fleet in given]
    heads = [f"{fleet.towns:,} ({_activity(fleet)})" for fleet in given]
    yield f"| a month, in dollars | {' | '.join(heads)} | counted |"
    yield "|---|" + "---:|" * len(given) + "---|"
    for row in zip(*columns, strict=True):
        yield f"| {row[0].what} | {' | '.join(f'{line.dollars:,.2f}' for line in row)} | {row[-1].counted} |"
    totals = [total(each) for each in columns]
    free = [free_of(list(each)) for each in columns]
    yield f"| **together** | {' | '.join(f'**{each:,.2f}**' for each in totals)} | |"
    yield f"| free in every month | {' | '.join(f'{each:,.2f}' for each in free)} | the tiers of AWS that do not end |"
    yield f"| **to be paid** | {' | '.join(f'**{all_ - less:,.2f}**' for all_, less in zip(totals, free, strict=True))} | |"


def minutes_of_a_sweep(towns: int, *, request_seconds: float = 0.02) -> float:
    """Minutes that a sweep works: its listings one after another, heads and inboxes as many at a time as it reads."""
    swept = sweep_of()
    at_once = swept.each("sweep", "start_of", "table query", per=IDLE_TOWNS)
    in_turn = swept.each("sweep", per=IDLE_TOWNS) - at_once
    return towns * (in_turn + at_once / HEADS_AT_ONCE) * request_seconds / 60


def _activity(fleet: Fleet) -> str:
    if fleet.hours_a_day < 24:
        small = ", profile small" if fleet.profile == "small" else ""
        return f"{fleet.active:,} active {fleet.hours_a_day:.0f} h a day{small}"
    return f"{fleet.active:,} active"


@cache
def _measured(*, agents: int, alone: bool, profile: Profile) -> Measured:
    if alone:
        return live(agents=agents, towns=1, in_process=IN_PROCESS, pause=PASSES[profile])
    return live(agents=agents, towns=_STAGGERED, in_process=0, pause=PASSES[profile])
