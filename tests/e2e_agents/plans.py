"""What the scripted model of these tests does beside plain work: it waits in the middle, or fails for a while or for good."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import zip_longest
from typing import Final

from infra.devstack.model_server.scripts import Failure, Say, Script, Shell, Step, Trouble
from infra.devstack.model_server.server import MODEL

PASSING: Final = (Failure.RATE_LIMITED, Failure.OVERLOADED, Failure.SERVER_ERROR, Failure.BROKEN_STREAM)
_GONE: Final = "the model was not available: "
LASTING: Final = {
    Failure.BROKEN_STREAM: f"{_GONE}its answers broke off",
    Failure.NO_CREDIT: f"{_GONE}the account",
    Failure.UNKNOWN_MODEL: f"{_GONE}the server does not offer",
    Failure.WRONG_KEY: "no key for the model: ",
    Failure.CONTEXT_TOO_LONG: f"the context of model {MODEL} is full",
}
"""What ends an agent if it lasts, and how the agent says so."""

_FOR_EVER: Final = 10_000
_RETRY_SECONDS: Final = 0.1


def held(work: Script, until: str) -> Script:
    """The same work, which waits after its edit until the test releases `until`."""
    return replace(work, steps=(*work.steps[:2], Step(Shell("true"), waits_for=until), *work.steps[2:]))


def in_spite_of_troubles(steps: Iterable[Step]) -> list[Step]:
    """The same steps; before each of the first ones, the model fails in another way that passes."""
    return [
        step if failure is None else replace(step, trouble=Trouble(failure, retry_after_seconds=_RETRY_SECONDS))
        for step, failure in zip_longest(steps, PASSING)
    ]


def fails_for_good(failure: Failure) -> tuple[Step, ...]:
    """Steps that never succeed: several, because a program may keep half an answer as a turn."""
    trouble = Trouble(failure, times=_FOR_EVER, retry_after_seconds=_RETRY_SECONDS)
    return (Step(Say("Never said."), trouble=trouble),) * 20
