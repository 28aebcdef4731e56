"""The simulated build and the simulated reviewer at the demo's forge.

The build checks every head, and the reviewer approves every pull request into main; both take a while. They use the town's clock
and act only when the demo calls them, so they need no threads.
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
    """Builds every head and approves every pull request into main."""

    site: Site
    clock: Clock
    _built: dict[tuple[int, str], datetime] = field(default_factory=dict)
    _asked: dict[int, datetime] = field(default_factory=dict)

    def act(self) -> None:
        """Start builds of new heads, and complete the builds and approvals whose time has come."""
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
