"""What was used, for answers: by the town today and on the last days, by each agent now, for beads and in convoys."""

import sqlite3
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal

from shared.domain import strict_json
from shared.domain.shapes import answer
from shared.domain.spending import money
from shared.domain.states import BeadType
from shared.domain.usage import Usage, day_of

DAYS_SHOWN: Final = 7
_SUM: Final = "SELECT subject, input_tokens, output_tokens, cached_tokens, priced_tokens, cost_micros FROM usage_sums"


@answer
class Spend:
    """Tokens, and their cost in millionths of a US dollar. It is a lower bound if the price of some tokens is unknown."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_micros: int
    cost_is_lower_bound: bool


@answer
class DaySpend:
    """What a town used on a day (UTC)."""

    day: str
    spend: Spend


def spend_of(used: Usage) -> Spend:
    """The usage as an answer shows it."""
    return Spend(used.input_tokens, used.output_tokens, used.cached_tokens, used.cost_micros, used.is_lower_bound)


def days(sql: sqlite3.Connection, now: datetime) -> tuple[DaySpend, ...]:
    """The last days on which something was used, today first."""
    rows = sql.execute(
        f"{_SUM} WHERE kind = 'day' AND subject > :since ORDER BY subject DESC",
        {"since": day_of(now - timedelta(days=DAYS_SHOWN))},
    ).fetchall()
    return tuple(DaySpend(row[0], spend_of(Usage(*row[1:]))) for row in rows)


def of(sql: sqlite3.Connection, kind: Literal["bead", "convoy"], subject: str) -> Spend | None:
    """What was used for a bead with its reviews and follow-ups, or in a convoy; None if nothing is known."""
    row = sql.execute(
        f"{_SUM} WHERE kind = :kind AND subject = :subject",
        {"kind": kind, "subject": subject},
    ).fetchone()
    return None if row is None else spend_of(Usage(*row[1:]))


def of_bead(sql: sqlite3.Connection, bead_type: BeadType, bead_id: str) -> Spend | None:
    """What was used for a bead of this type: of a convoy, for all of its beads."""
    return of(sql, "convoy" if bead_type == BeadType.CONVOY else "bead", bead_id)


def of_agents(sql: sqlite3.Connection) -> Mapping[str, Spend]:
    """What the newest generation of each agent has used, by agent. The mayor's sessions have numbers of their own."""
    rows = sql.execute(
        "SELECT u.agent_id, u.models FROM agent_usage u JOIN agent_metadata a ON a.bead_id = u.agent_id "
        "WHERE u.generation = CASE a.role WHEN 'mayor' THEN "
        "(SELECT MAX(n.generation) FROM agent_usage n WHERE n.agent_id = u.agent_id) ELSE a.generation END ORDER BY 1"
    ).fetchall()
    return {agent: spend_of(_total(models)) for agent, models in rows}


def spend_words(spend: Spend | None) -> str | None:
    """The spend for people, as in `at least 0.42 USD, 120300 tokens`."""
    if spend is None:
        return None
    tokens = spend.input_tokens + spend.output_tokens + spend.cached_tokens
    at_least = "at least " if spend.cost_is_lower_bound else ""
    return f"{at_least}{money(spend.cost_micros)} USD, {tokens} tokens"


def _total(models: str) -> Usage:
    total = Usage()
    try:
        for each in strict_json.stored(models):
            total = total.plus(Usage(**{name: much for name, much in each.items() if name != "model"}))
    except (ValueError, TypeError, AttributeError):
        return Usage()  # doctor names the damaged row
    return total
