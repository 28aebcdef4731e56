"""The guard of a bead on which nobody starts to work, because a budget is spent."""

from datetime import datetime

from shared.questions import guards
from shared.questions.waiting import Guard
from shared.rules import spending
from shared.town.reading import TownReader


def budget_guard(town: TownReader, bead_id: str, entered: datetime) -> Guard:
    """It names the budget, of the bead's task or convoy. `entered`: since when the bead is in its status."""
    account = spending.overspent(town).get(bead_id)
    if account is None:
        return Guard("budget_spent", guards.hold_text("budget_spent"), entered, actor="operator")
    return Guard("budget_spent", account.words, max(entered, account.sum.spent_since or entered), actor="operator")
