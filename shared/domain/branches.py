"""Names of git branches: the branch of a bead, the forms in which agents write a branch, and which names git accepts."""

import hashlib
import re
from typing import Final

_REF: Final = "refs/heads/"
_PLAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_FORBIDDEN: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_LONGEST: Final = 200
_SLUG_LENGTH: Final = 24
_DIGEST_LENGTH: Final = 12


def branch_of_bead(agent_name: str, bead_id: str) -> str:
    """The branch `gt/<agent>/<bead>` for new work. Different beads have different branches, whatever characters their ids have.

    An id of lower-case letters, digits and inner hyphens is used as it is. Any other id is shortened and has a digest behind an
    underscore, which no id of the first form contains.
    """
    return f"gt/{slug(agent_name)}/{part_of_bead(bead_id)}"


def is_branch_of(bead_id: str, branch: str) -> bool:
    """Whether `branch_of_bead` gives this branch to the bead, for whatever agent."""
    parts = branch.split("/")
    return len(parts) == 3 and parts[0] == "gt" and parts[2] == part_of_bead(bead_id)


def digest_of(bead_id: str) -> str:
    """A short digest of an id, for a name that another bead has."""
    return hashlib.sha256(bead_id.encode()).hexdigest()[:_DIGEST_LENGTH]


def part_of_bead(bead_id: str) -> str:
    """The last part of the branch of a bead."""
    if _PLAIN.fullmatch(bead_id):
        return bead_id
    return f"{slug(bead_id)[:_SLUG_LENGTH].rstrip('-')}_{digest_of(bead_id)}"


def agent_name(identity: str, role: str) -> str:
    """The agent's name, which is the first part of its identity: `<name>-<role>-<rig>@<town>`."""
    return identity.split(f"-{role}-", maxsplit=1)[0]


def slug(text: str) -> str:
    """The text in lower case with one hyphen for every run of other characters than a-z and 0-9; `x` if nothing is left."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "x"


def reported(branch: str) -> str:
    """A branch as an agent reported it, without a leading `refs/heads/` or `origin/`."""
    return without_ref(branch).removeprefix("origin/")


def without_ref(branch: str) -> str:
    """A branch as a forge or a producer named it, without a leading `refs/heads/`. Another remote's name stays."""
    return branch.removeprefix(_REF)


def is_branch_name(text: str) -> bool:
    """Whether git accepts the name for a branch, and no option or special name can be taken for it."""
    parts = text.split("/")
    return (
        0 < len(text) <= _LONGEST
        and not _FORBIDDEN.search(text)
        and text[0] not in "-/"
        and text[-1] not in "/."
        and text not in ("@", "HEAD")
        and not any(part.startswith(".") or part.endswith(".lock") for part in parts)
    )
