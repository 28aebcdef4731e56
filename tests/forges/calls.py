"""What waiting costs at each forge: the requests of a poll and of a refused merge, measured, by how often the rules make them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from shared.domain import limits
from shared.ports.forge import ForgeError, NotMerged, PullRequest
from tests.forges.grounds import APP, ForgeName, Ground, ground

HOUR: Final = timedelta(hours=1)
MOST_IN_THE_FIRST_HOUR: Final = 70
MOST_IN_A_LATER_HOUR: Final = 15
COUNTED: Final[tuple[ForgeName, ...]] = ("GitHub", "GitLab")


@dataclass(frozen=True)
class Waiting:
    """A waiting state: how a pull request comes into it. With `tries`, the town tries to merge and is refused."""

    reason: str
    text: str
    begins: Callable[[Ground], str]
    tries: bool = False


@dataclass(frozen=True)
class Cost:
    """The requests about one pull request."""

    of_a_poll: int
    first_hour: int
    later_hour: int
    day: int


def _opened(forge: Ground, **about: str) -> str:
    return forge.url(forge.opens(**about))


def _checks_run(forge: Ground) -> str:
    pull = forge.opens()
    forge.site.runs(pull, "build", "pending")
    return forge.url(pull)


def _approval_is_missing(forge: Ground) -> str:
    pull = forge.opens()
    pull.decision = "REVIEW_REQUIRED"
    return forge.url(pull)


def _threads_are_open(forge: Ground) -> str:
    pull = forge.opens()
    forge.site.comments(pull)
    return forge.url(pull)


def _changes_are_requested(forge: Ground) -> str:
    pull = forge.opens()
    forge.site.says(pull, "rosa", "CHANGES_REQUESTED")
    return forge.url(pull)


def _draft(forge: Ground) -> str:
    pull = forge.opens()
    pull.draft = True
    return forge.url(pull)


def _checks_are_refused(forge: Ground) -> str:
    url = _checks_run(forge)
    forge.refuses_checks()
    return url


def _queued(forge: Ground) -> str:
    forge.app.has_queue = True
    pull = forge.opens()
    forge.merge(pull)
    return forge.url(pull)


def _behind(forge: Ground) -> str:
    forge.app.is_strict = True
    url = _opened(forge)
    forge.site.moves_base(APP)
    return url


def _may_not_merge(forge: Ground) -> str:
    forge.app.may_not_merge = True
    return _opened(forge)


def _renamed(forge: Ground) -> str:
    url = _opened(forge)
    forge.site.renames(APP, "others/application")
    return url


def _name_is_taken(forge: Ground) -> str:
    pull = forge.opens()
    forge.site.renames(APP, "acme/renamed")
    forge.site.home(APP)
    return forge.url(pull)


WAITING: Final = (
    Waiting("awaiting_ci", "checks run", _checks_run),
    Waiting("awaiting_approval", "an approval is missing", _approval_is_missing),
    Waiting("blocked_by", "an agent resolves its open threads", _threads_are_open),
    Waiting("changes_requested", "a person requests changes", _changes_are_requested),
    Waiting("draft", "it is a draft", _draft),
    Waiting("checks_unreadable", "the token may not read checks", _checks_are_refused),
    Waiting("in_merge_queue", "it is in the queue or train", _queued),
    Waiting("behind_base", "a strict base has moved", _behind),
    Waiting("merge_refused", "the token may not merge", _may_not_merge, tries=True),
    Waiting("pr_mismatch", "its base is another", lambda forge: _opened(forge, base="release")),
    Waiting("untrusted_author", "a stranger opened it", lambda forge: _opened(forge, author="stranger")),
    Waiting("awaiting_merge", "a person merges", _opened),
    Waiting("wrong_repository", "another repository took the rig's name", _name_is_taken),
    Waiting("(renamed)", "the rig's repository was renamed", _renamed),
)


def cost(waiting: Waiting, name: ForgeName) -> Cost:
    """Measure one waiting state at one forge."""
    with ground(name) as forge:
        url = waiting.begins(forge)
        first, second, third = (_requests_of(forge, url) for _ in range(3))
        assert second == third, f"{waiting.reason}: the polls of {name} do not settle"
        of_a_try = _requests_of_a_try(forge, url) if waiting.tries else 0
    polls = limits.PR_QUIET_AFTER // limits.PR_POLL_INTERVAL
    later = HOUR // limits.PR_POLL_INTERVAL_LATER
    hours = int(timedelta(days=1) / HOUR - limits.PR_QUIET_AFTER / HOUR)
    tries_later = timedelta(days=1) // limits.MERGE_RETRY_AFTER
    first_hour = first + (polls - 1) * second + limits.MERGE_TRIES * of_a_try
    later_hour = later * second + of_a_try
    return Cost(second, first_hour, later_hour, first_hour + hours * later * second + tries_later * of_a_try)


def _requests_of(forge: Ground, url: str) -> int:
    before = forge.requests()
    seen = forge.served.forge.pull_request(forge.asker(), url, want_feedback=True)
    assert isinstance(seen, PullRequest), seen
    return forge.requests() - before


def _requests_of_a_try(forge: Ground, url: str) -> int:
    """A merge as it is performed: the pull request is read, its identity compared, then it is merged. Not the first try."""
    before = 0
    for _ in range(2):
        before = forge.requests()
        seen = forge.served.forge.pull_request(forge.asker(), url, want_feedback=True)
        assert isinstance(seen, PullRequest), seen
        answer = forge.served.forge.merge(forge.asker(), url, head_sha=seen.head_sha, effect_id="e")
        assert isinstance(answer, NotMerged | ForgeError), answer
    return forge.requests() - before
