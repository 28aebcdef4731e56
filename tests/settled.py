"""Answers that were given at different moments, made comparable."""

import re
from collections.abc import Mapping
from typing import Any, Final

OF_THE_MOMENT: Final = (
    "now",
    "at",
    "tickId",
    "inputDigest",
    "nextDueAt",
    "dueAt",
    "digests",
    "logical",
    "image",
    "tickLagMs",
)
"""Fields that hold the time of the question, or follow from it."""


AGE: Final = "event-waits-long"
"""The alarm whose value is the age of an event at the time of the question."""
PRESENT: Final = re.compile(r"the present time is \S+")


def settled(said: Any) -> Any:
    """A document without what differs from one moment to the next."""
    if isinstance(said, Mapping):
        told = {name: value for name, value in said.items() if name != "value" or said.get("alarm") != AGE}
        return {name: settled(value) for name, value in told.items() if name not in OF_THE_MOMENT}
    if isinstance(said, list):
        return [settled(each) for each in said]
    return PRESENT.sub("", said) if isinstance(said, str) else said
