"""Several ways to check whether a merge has happened, one after another until one is certain (decision T2)."""

from collections.abc import Sequence
from typing import Final

from shared.ports.forge import Asker, ForgeError, MergeClaim, MergeProver, Proof

_NOT_THERE: Final = ("no_token", "unrecognized_url", "host_mismatch")
"""Errors that only say that this way is not configured for the repository."""


class Provers:
    """A `MergeProver` that asks others in this order: the API of the forge, git, the control server.

    The first certain answer counts. If nobody is certain, an error of a way that is configured comes before "nobody can tell".
    """

    def __init__(self, ways: Sequence[MergeProver]) -> None:
        self._ways = tuple(ways)

    def proof(self, asker: Asker, claim: MergeClaim) -> Proof | ForgeError:
        """Look once."""
        errors: list[ForgeError] = []
        reasons: list[str] = []
        for way in self._ways:
            answer = way.proof(asker, claim)
            if isinstance(answer, ForgeError):
                (reasons.append(answer.message) if answer.kind in _NOT_THERE else errors.append(answer))
            elif answer.contained is not None:
                return answer
            elif answer.says:
                reasons.append(answer.says)
        if errors:
            return errors[0]
        return Proof(None, says="; ".join(dict.fromkeys(reasons)) or "nothing is configured that could check it")
