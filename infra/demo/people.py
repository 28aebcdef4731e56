"""Who else is at the demo's forge: a build that takes a while, and a person who approves what lands on main.

Both live in the time of the town and act when the demo lets them, so that nothing here needs a thread.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from infra.devstack.fake_forge import Pull, Site
from shared.ports.clock import Clock

BUILD_TAKES: Final = timedelta(seconds=20)
APPROVAL_TAKES: Final = timedelta(seconds=150)
_BUILD: Final = "tests"


@dataclass
class People:
    """A build for every head, an approval for every pull request into main."""

    site: Site
    clock: Clock
    _built: dict[tuple[int, str], datetime] = field(default_factory=dict)
    _asked: dict[int, datetime] = field(default_factory=dict)

    def act(self) -> None:
        """Do what is due: begin builds of new heads, end those that took their time, approve."""
        now = self.clock.now()
        with self.site.lock:
            for pull in self.site.pulls:
                if pull.state == "open" and self.site.find(pull.project, pull.number) is pull:
                    self._build(pull, now)
                    self._review(pull, now)

    def _build(self, pull: Pull, now: datetime) -> None:
        began = self._built.setdefault((pull.number, pull.sha), now)
        pull.checks[_BUILD] = "success" if now - began >= BUILD_TAKES else "pending"

    def _review(self, pull: Pull, now: datetime) -> None:
        if pull.base == "main":
            asked = self._asked.setdefault(pull.number, now)
            pull.decision = "APPROVED" if now - asked >= APPROVAL_TAKES else "REVIEW_REQUIRED"
