"""What a run of many worlds has reached: which rules acted, and for which reasons beads waited."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from shared.questions.waiting import REASONS
from shared.rules import RULES

ONLY_WAIT: Final[Mapping[str, str]] = {
    "A9": "it keeps rules away from a hook, and has no action",
    "C2": "it says that a convoy waits, and has no action",
    "C6": "it says that a landing is under way, and has no action",
    "C6h": "it says that a landing is held, and has no action",
    "C9": "it says until when a landing cools down, and has no action",
    "CB": "it says until when the breaker is open, and has no action",
}
"""Rules that never act, whatever happens."""

NEED_NOT_BE_SEEN: Final[Mapping[str, str]] = {
    "A6": "no event deletes the bead of a hook, and an import drops a hook that leads nowhere: only a hand makes such a row",
}
"""Rules and reasons that may be missing in a run of `MANY` worlds, each with the reason."""

MANY: Final = 200
"""So many worlds must reach every rule and every reason."""


def never_acted(rules: Counter[str]) -> list[str]:
    """The codes of the rules that could have acted and have not, in the order of the rules."""
    return [rule.code for rule in RULES if rule.code not in ONLY_WAIT and not rules[rule.name]]


def never_waited(reasons: Counter[str]) -> list[str]:
    """The reasons for which no bead was seen waiting."""
    return [reason for reason in REASONS if not reasons[reason]]


def missing(seeds: int, rules: Counter[str], reasons: Counter[str]) -> Sequence[str]:
    """What so many worlds must have reached and have not; nothing if they are too few to tell."""
    unseen = [*never_acted(rules), *never_waited(reasons)] if seeds >= MANY else []
    return [each for each in unseen if each not in NEED_NOT_BE_SEEN]


def table(rules: Counter[str], reasons: Counter[str]) -> Iterator[str]:
    """Lines to print: how often each rule acted, how many beads were seen waiting for each reason, and what never was seen."""
    acted = [f"{rule.code} {rules[rule.name]}" for rule in RULES if rule.code not in ONLY_WAIT]
    yield f"rules that acted: {', '.join(acted)}"
    yield f"reasons for which beads waited: {', '.join(f'{reason} {reasons[reason]}' for reason in REASONS)}"
    yield f"never acted: {', '.join(never_acted(rules)) or 'none'}"
    yield f"never waited for: {', '.join(never_waited(reasons)) or 'none'}"
