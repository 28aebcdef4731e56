"""The grounds on which a scenario is played: an adapter, the fake server that it speaks to, and people who act there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from infra.devstack.fake_forge import Trouble
from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_gitlab import FakeGitLab
from infra.devstack.fake_site import Home, Pull, Site
from shared.ports.forge import (
    Accepted,
    Asker,
    BranchUpdate,
    Feedback,
    ForgeError,
    Identity,
    MergeClaim,
    Merged,
    NotMerged,
    Proof,
    PullRequest,
    Queued,
)
from tests.forge_sites import Served, served
from tests.forges.plain_git import proof_by_git

ForgeName = Literal["GitHub", "GitLab", "GitLab Free", "plain git"]
FORGES: Final[tuple[ForgeName, ...]] = ("GitHub", "GitLab", "GitLab Free")
APP: Final = "acme/app"


@dataclass
class Ground:
    """A forge with people. What the town does goes through the port; everything else is done to the site.

    Plain git has no pull requests: there, people act as elsewhere, and only proofs are asked for. `place` holds its repository.
    """

    name: ForgeName
    served: Served
    place: Path | None = None

    @property
    def is_github(self) -> bool:
        return self.name == "GitHub"

    @property
    def server(self) -> FakeGitHub | FakeGitLab:
        return self.served.server

    @property
    def site(self) -> Site:
        return self.served.site

    @property
    def app(self) -> Home:
        """The repository of the rig."""
        return self.site.home(APP)

    def opens(
        self, *, head: str = "work", base: str = "main", fork: str | None = None, author: str | None = "worker"
    ) -> Pull:
        """Somebody opens a pull request."""
        return self.site.opens(self.app.name, head=head, base=base, fork=fork, author=author)

    def asker(self, repository: str | None = APP, upstream: str | None = None) -> Asker:
        """The town, for a rig whose addresses are these."""
        return Asker("t1", "rig-1", self.server.host, repository, upstream)

    def url(self, pull: Pull) -> str:
        return self.server.url_of(pull)

    def look(self, pull: Pull, asker: Asker | None = None, *, url: str = "") -> PullRequest | ForgeError:
        """One poll, as the town makes it."""
        return self.served.forge.pull_request(asker or self.asker(), url or self.url(pull), want_feedback=True)

    def read(self, pull: Pull, asker: Asker | None = None, *, url: str = "") -> PullRequest:
        """One poll that must succeed."""
        seen = self.look(pull, asker, url=url)
        assert isinstance(seen, PullRequest), seen
        return seen

    def identity(self, pull: Pull) -> Identity:
        found = self.read(pull).identity
        assert found is not None
        return found

    def feedback(self, pull: Pull) -> Feedback:
        found = self.read(pull).feedback
        assert found is not None
        return found

    def error(self, pull: Pull) -> ForgeError:
        """One poll that must fail."""
        seen = self.look(pull)
        assert isinstance(seen, ForgeError), seen
        return seen

    def merge(self, pull: Pull, head: str | None = None) -> Merged | Queued | NotMerged | ForgeError:
        """The town merges at that head, or at the present one."""
        return self.served.forge.merge(self.asker(), self.url(pull), head_sha=head or pull.sha, effect_id="e")

    def refusal(self, pull: Pull, head: str | None = None) -> str:
        """The class of the reason for which the forge does not merge."""
        answer = self.merge(pull, head)
        assert isinstance(answer, NotMerged), answer
        assert answer.reason
        assert pull.merges == 0
        return answer.refusal

    def update(self, pull: Pull, head: str | None = None) -> BranchUpdate | ForgeError:
        return self.served.forge.update_branch(self.asker(), self.url(pull), head_sha=head or pull.sha)

    def dequeue(self, pull: Pull) -> Accepted | ForgeError:
        return self.served.forge.dequeue(self.asker(), self.url(pull))

    def asks_again(self, pull: Pull, *reviewers: str) -> Accepted | ForgeError:
        return self.served.forge.request_review(self.asker(), self.url(pull), reviewers=reviewers)

    def proof(self, **claim: str | None) -> Proof | ForgeError:
        """Whether main contains a merge of the branch `work`."""
        bare = self.place / "app.git" if self.place is not None else f"https://{self.server.host}/{APP}.git"
        whole = MergeClaim(**{"git_url": str(bare), "target_branch": "main", "branch": "work", **claim})  # type: ignore[arg-type]
        if self.place is not None:
            return proof_by_git(self.place / "app.git", self.site.history, self.app.id, self.asker(), whole)
        return self.served.forge.proof(self.asker(), whole)

    def refuses_checks(self) -> None:
        """The token may not read checks any more."""
        self.app.hides_checks = True
        refused: set[str] = getattr(self.server, "refuses", set())
        refused.add("checks")

    def trouble(
        self, status: int, body: object = None, *, times: int | None = 1, path: str = "", **headers: str
    ) -> None:
        """The next requests are answered with that. Names of headers are written with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.server.trouble.plan(Trouble(status, named, body=body, path=path), times=times)

    def requests(self) -> int:
        """The requests that the forge got so far."""
        return len(self.server.requests)


@contextmanager
def ground(name: ForgeName, place: Path | None = None) -> Iterator[Ground]:
    """A forge, its adapter, and the repository of the rig; or a real repository at `place`, without a forge."""
    server: FakeGitHub | FakeGitLab = FakeGitHub() if name == "GitHub" else FakeGitLab()
    if isinstance(server, FakeGitLab):
        server.tier = "free" if name == "GitLab Free" else "premium"
    with served(server) as site:
        site.site.home(APP)
        yield Ground(name, site, place)
