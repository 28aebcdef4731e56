"""What `town-agent pr` needs of a forge: the pull requests of one repository, and their threads."""

from dataclasses import dataclass
from typing import Literal, Protocol

from shared.ports.forge import ForgeError

Verdict = Literal["approve", "request-changes"]


class ForgeFailed(Exception):
    """The forge refused, or did not answer."""

    def __init__(self, error: ForgeError) -> None:
        super().__init__(error.message)
        self.error = error


@dataclass(frozen=True, slots=True)
class Pull:
    """An open pull request."""

    number: int
    url: str
    base: str


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment. What others wrote is quoted before an agent sees it."""

    author: str
    text: str


def is_said(said: str | None, text: str) -> bool:
    """Whether what stands at a forge is this text. A forge may drop white space at its ends."""
    return said is not None and said.strip() == text.strip()


@dataclass(frozen=True, slots=True)
class Thread:
    """A thread of comments that can be resolved."""

    id: str
    file: str | None
    line: int | None
    is_resolved: bool
    remarks: tuple[Remark, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """A pull request as it is now, in the forge's own words: `merge` says whether it can be merged, `decision` what the reviews say
    together, None if none is required. `checks` are (name, outcome), None if the credential may not read them.
    """

    url: str
    title: str
    state: str
    is_draft: bool
    branch: str
    base: str
    head: str
    merge: tuple[str, ...]
    decision: str | None
    reviews: tuple[tuple[str, str], ...]
    checks: tuple[tuple[str, str], ...] | None
    threads: tuple[Thread, ...]


@dataclass(frozen=True, slots=True)
class Spot:
    """Where a thread begins: at a line, at a file as a whole, or, without a file, wherever the forge can have one."""

    head: str
    file: str | None = None
    line: int | None = None


class ForgeWork(Protocol):
    """The pull requests of one repository. Every method raises ForgeFailed."""

    def open_of(self, branch: str) -> Pull | None:
        """The open pull request of a branch; None if there is none."""
        ...

    def create(self, branch: str, base: str, *, title: str, body: str, draft: bool) -> Pull:
        """Open a pull request."""
        ...

    def change(
        self, number: int, *, title: str | None = None, body: str | None = None, base: str | None = None
    ) -> None:
        """Change what is given."""
        ...

    def look(self, number: int) -> Look:
        """Read a pull request with its checks, reviews and threads."""
        ...

    def last_comment(self, number: int) -> str | None:
        """The newest comment on the pull request as a whole; None if there is none."""
        ...

    def comment(self, number: int, text: str) -> None:
        """Comment on the pull request as a whole."""
        ...

    def reply(self, number: int, thread_id: str, text: str) -> None:
        """Answer a thread."""
        ...

    def resolve(self, number: int, thread_id: str) -> None:
        """Resolve a thread."""
        ...

    def open_thread(self, number: int, spot: Spot, text: str) -> None:
        """Open a thread that can be resolved."""
        ...

    def review(self, number: int, verdict: Verdict, text: str, *, head: str) -> None:
        """Approve a head, or request changes of it."""
        ...
