"""The prompts that a driver writes itself. The order holds the first prompt of a session; these follow it."""

from collections.abc import Sequence
from typing import Final

from infra.agents.town_agent.mailbox import Letter
from shared.domain.orders import StartOrder
from shared.domain.quoting import cleaned
from shared.domain.states import Role

GO_ON: Final = "The connection to the model was lost. Go on where you stopped."
_REPORTS: Final = {
    Role.POLECAT: 'If the work is finished and pushed, report it: `town-agent done --branch {branch} --summary "TEXT"`.',
    Role.REFINERY: "If the review is finished, report it as your task says, last with `town-agent done --branch {branch}`.",
}


def with_letters(letters: Sequence[Letter]) -> str:
    """A prompt with the mail of an agent. The town has quoted what others wrote in it."""
    said = "\n\n".join(cleaned(letter.text).strip() for letter in letters)
    count = "a message" if len(letters) == 1 else f"{len(letters)} messages"
    return f"You have {count}:\n\n{said}\n\nTake note of it, act on it where it concerns you, and go on with your task."


def reminder(order: StartOrder) -> str:
    """A prompt for an agent that ended without a report."""
    report = _REPORTS.get(order.role, "").format(branch=order.branch or "BRANCH")
    if order.prompt_kind == "triage":
        report = "If the requests are answered, the work is finished; else answer them: `town-agent triage ID --action ACTION`."
    return (
        "You stopped, and the town has no report from you. "
        f"{report} If it is not finished, finish it now, then report. "
        'If you cannot finish it, say why: `town-agent give-up --reason "TEXT"`. '
        "If you need an answer first, run `town-agent waiting` and stop."
    )
