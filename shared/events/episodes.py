"""Episodes in which a forge could not be read (spec/actions.md section 5).

Not being able to look is no verdict on the work: the merge request stays in progress and is polled less and less often. All merge
requests that cannot be read for the same reason share one episode, so that a person is told once. An episode ends with a success.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from shared.actions import NotifyMayor
from shared.actions.base import Action
from shared.domain import limits
from shared.domain.notes import BeadNotes, EscalationNotes, ReviewNotes
from shared.domain.obstacles import Obstacle, obstacle_or_none
from shared.domain.quoting import block, line
from shared.domain.repositories import pull_request_at, repository_at
from shared.domain.states import BeadStatus
from shared.domain.times import readable_time, to_text
from shared.events.forge import ForgeProblem
from shared.events.polled import Polled
from shared.town import lookup
from shared.town.town import Town
from shared.town.writing import beads, escalations, reviews
from shared.town.writing.beads import Failure

EVERYWHERE: Final = "*"
"""Stands for the repository where the token itself is the cause: then no repository can be read with it."""

BLIND: Final = ("forge_denied", "forge_down", "forge_unreadable")
"""The obstacles of a pull request that cannot be read."""

PLATFORM_TROUBLE: Final = "forge.platform_trouble"
"""The business event from which the alert about a token of the deployment is made."""

CHECKS_ADVICE: Final = (
    "The token may not read checks, so the town cannot tell whether they pass. Fine-grained personal access tokens cannot read "
    "them at all: store the token of a GitHub App with the permission Checks (read), or a classic token."
)
_TITLES: Final[Mapping[str, str]] = {
    "forge_denied": "A forge refuses to show pull requests",
    "forge_down": "A forge cannot be reached",
    "forge_unreadable": "The answers of a forge cannot be understood",
    "checks_unreadable": "Checks cannot be read",
}
_OF_KIND: Final[Mapping[str, Obstacle]] = {
    "transient": "forge_down",
    "rate_limited": "forge_down",
    "invalid_response": "forge_unreadable",
}
"""The obstacle of each kind of error; of every other one it is `forge_denied`."""

_FAILURE: Final = (BeadNotes.failure_reason.gone, BeadNotes.failure_kind.gone, BeadNotes.failure_message.gone)
_FORGOTTEN: Final = (
    ReviewNotes.polls_failed.gone,
    ReviewNotes.polls_failed_since.gone,
    ReviewNotes.poll_error_kind.gone,
    ReviewNotes.poll_transient_count.gone,
    ReviewNotes.poll_non_transient_count.gone,
    ReviewNotes.episode.gone,
    *_FAILURE,
)
"""What a success removes from the MR. The two counters are of earlier releases."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One cause for which the town cannot look: what it is, where, and the name of the token."""

    obstacle: Obstacle
    host: str
    repository: str
    secret: str
    is_platform: bool
    since: datetime
    voiced: bool = False

    @property
    def key(self) -> str:
        """Its key among the town's episodes, and the subject of its escalation."""
        return f"{self.obstacle} {self.host} {self.repository} {self.secret}"

    @property
    def voiced_from(self) -> datetime:
        """When a person is told."""
        return self.since + limits.FORGE_EPISODE_VOICED_AFTER

    @property
    def cause(self) -> str:
        """The cause of its escalation."""
        return f"{self.obstacle}:{self.key}"

    def as_json(self) -> dict[str, object]:
        """The episode as the town key stores it."""
        return {
            "obstacle": self.obstacle,
            "host": self.host,
            "repository": self.repository,
            "secret": self.secret,
            "is_platform": self.is_platform,
            "since": to_text(self.since),
            "voiced": self.voiced,
        }


def could_not_look(about: Polled, problem: ForgeProblem) -> tuple[Action, ...]:
    """Note that the pull request could not be read, and tell a person once if that lasts."""
    town, kind, metadata = about.town, problem.effective_kind, about.bead.metadata
    obstacle = _OF_KIND.get(kind, "forge_denied")
    since = ReviewNotes.polls_failed_since.of(metadata) or town.tick.now
    failures = ReviewNotes.polls_failed.of(metadata) + 1
    episode = _entered(town, _episode(about, obstacle, problem, since))
    about.note(
        ReviewNotes.poll_error_kind.to(kind),
        ReviewNotes.polls_failed.to(failures),
        ReviewNotes.polls_failed_since.to(since),
        ReviewNotes.episode.to(episode.key),
    )
    reviews.set_obstacle(town, about.now_stored, obstacle, _reason(problem))
    _back_off(about, episode, failures, locks=_is_of_token(problem))
    if town.tick.now < episode.voiced_from:
        return ()
    message = _message(about.pr_url, problem)
    for member in _members(town, episode.key):
        _store_failure(town, member, kind, message)
    return _voice(town, episode, message)


def looked(about: Polled, *, secret: str | None) -> None:
    """A pull request was read: the episodes of its repository end, and of the same token those of everywhere."""
    own = ReviewNotes.episode.of(about.bead.metadata)
    about.note(*(change for change in _FORGOTTEN if change[0] in about.bead.metadata))
    host, repository, _ = _place(about.pr_url)
    for episode in _stored(about.town):
        if episode.obstacle not in BLIND:
            continue
        same_token = episode.repository == EVERYWHERE and episode.secret == (secret or "")
        if episode.key == own or (episode.host == host and (same_token or episode.repository == repository)):
            _end(about.town, episode.key)


def checks_refused(about: Polled, *, secret: str | None, is_platform: bool) -> tuple[Action, ...]:
    """The checks of a pull request may not be read: a person is told at once, and once for all of its repository."""
    host, repository, _ = _place(about.pr_url)
    found = Episode("checks_unreadable", host, repository, secret or "", is_platform, since=about.town.tick.now)
    episode = _entered(about.town, found)
    about.note(ReviewNotes.checks_episode.to(episode.key))
    return _voice(about.town, episode, CHECKS_ADVICE)


def checks_read(about: Polled) -> None:
    """The checks of a pull request could be read: the episode in which they could not has ended."""
    own = ReviewNotes.checks_episode.of(about.bead.metadata)
    host, repository, _ = _place(about.pr_url)
    for episode in _stored(about.town):
        here = episode.obstacle == "checks_unreadable" and (episode.host, episode.repository) == (host, repository)
        if here or episode.key == own:
            _end(about.town, episode.key)


def fail(about: Polled, problem: ForgeProblem) -> None:
    """End a review whose pull request can never be read as it is configured. B4 opens its source again."""
    kind, message = problem.effective_kind, _message(about.pr_url, problem)
    failure = Failure("pr_poll_failed", message, "review")
    if beads.move(about.town, about.bead.id, BeadStatus.FAILED, reason=message, failure=failure) == "moved":
        about.note(ReviewNotes.poll_error_kind.to(kind), BeadNotes.failure_kind.to(kind))
        about.announce("pr.poll_failed", kind=kind, message=message)
        source = lookup.source_of(about.town, about.bead.id)
        if source is not None and source.live:
            beads.leave_note(about.town, source.id, message)


def _episode(about: Polled, obstacle: Obstacle, problem: ForgeProblem, since: datetime) -> Episode:
    host, repository, number = _place(about.pr_url)
    alone = f"{repository}#{number}"
    own = ReviewNotes.episode.of(about.bead.metadata)
    failed_before = ReviewNotes.polls_failed.of(about.bead.metadata) > 0
    if _is_of_token(problem):
        where = EVERYWHERE
    # Another pull request of the repository was read since this one failed, and this one still cannot be: it is not the
    # repository. Without this, each success of the other would end the episode, and nobody would ever be told.
    elif (failed_before and own is None) or (own is not None and f" {alone} " in own):
        where = alone
    else:
        where = repository
    return Episode(obstacle, host, where, problem.secret or "", problem.is_platform, since)


def _back_off(about: Polled, episode: Episode, failures: int, *, locks: bool) -> None:
    """Poll again later. With a refused token, the pull requests of its episode take turns, so that no account is locked."""
    now = about.town.tick.now
    until = now + (limits.FORGE_BACKOFF_AT_MOST if locks else limits.forge_backoff(failures))
    if now < episode.voiced_from:
        until = min(until, episode.voiced_from)
    for member in _members(about.town, episode.key) if locks else [about.bead.id]:
        beads.note(
            about.town, member, ReviewNotes.poll_not_before.to(_no_later_than_its_end(about.town, member, until))
        )


def _no_later_than_its_end(town: Town, review_id: str, until: datetime) -> datetime:
    """That time, or the one at which the review fails because nobody could look for a week: then there is a last look."""
    review = lookup.bead(town, review_id)
    since = None if review is None else ReviewNotes.polls_failed_since.of(review.metadata)
    end = until if since is None else since + limits.FORGE_EPISODE_ENDS_REVIEW_AFTER
    return end if town.tick.now < end < until else until


def _store_failure(town: Town, review_id: str, kind: str, message: str) -> None:
    """Say in the MR why it cannot go on. After a week it fails, and a person decides whether its work is done again."""
    review = lookup.bead(town, review_id)
    since = None if review is None else ReviewNotes.polls_failed_since.of(review.metadata)
    failure = Failure("pr_poll_failed", message, "review")
    if since is not None and town.tick.now - since >= limits.FORGE_EPISODE_ENDS_REVIEW_AFTER:
        reviews.complete(town, review_id, "failed", message=message, failure=failure, hold=True)
    beads.note(
        town,
        review_id,
        BeadNotes.failure_reason.to(failure.code),
        BeadNotes.failure_kind.to(kind),
        BeadNotes.failure_message.to(message),
    )


def _voice(town: Town, episode: Episode, message: str) -> tuple[Action, ...]:
    """Tell a person, once per episode: of a token of the deployment those who run it, else those of the town."""
    if episode.voiced:
        return ()
    _keep(town, replace(episode, voiced=True))
    if episode.is_platform:
        shown = {"obstacle": episode.obstacle, "host": episode.host, "secret": episode.secret, "message": message}
        town.business_event(PLATFORM_TROUBLE, shown)
        return ()
    title = f"{_TITLES[episode.obstacle]}: {episode.host} {episode.repository}"
    about = (EscalationNotes.cause.to(episode.cause),)
    made = escalations.escalate(town, title, severity="high", category=episode.obstacle, body=message, about=about)
    return (NotifyMayor(subject=f"escalation:{made}", message=f"Escalation (high): {line(title)}\n{block(message)}"),)


# The town key


def _stored(town: Town) -> list[Episode]:
    """The episodes of a town in order of key. One that cannot be read is left out."""
    found = (_episode_of(value) for _, value in sorted(town.keys.forge_episodes.items()))
    return [episode for episode in found if episode is not None]


def _episode_of(value: Mapping[str, object]) -> Episode | None:
    obstacle, since = obstacle_or_none(value.get("obstacle")), readable_time(value.get("since"))
    if obstacle is None or since is None:
        return None
    host, repository, secret = (str(value.get(name, "")) for name in ("host", "repository", "secret"))
    return Episode(obstacle, host, repository, secret, bool(value.get("is_platform")), since, bool(value.get("voiced")))


def _entered(town: Town, episode: Episode) -> Episode:
    """The episode that is going on for this cause, or this new one. Episodes that concern no live MR any more are dropped."""
    going_on = {known.key: known for known in _stored(town) if _members(town, known.key)}
    found = going_on.setdefault(episode.key, episode)
    town.keys.forge_episodes = {key: each.as_json() for key, each in sorted(going_on.items())}
    return found


def _keep(town: Town, episode: Episode) -> None:
    town.keys.forge_episodes = {**town.keys.forge_episodes, episode.key: episode.as_json()}


def _end(town: Town, key: str) -> None:
    """End an episode: its pull requests are polled at once, and V2 closes its escalation."""
    town.keys.forge_episodes = {name: value for name, value in town.keys.forge_episodes.items() if name != key}
    for member in _members(town, key):
        review = lookup.bead(town, member)
        if review is None:
            continue
        gone = [ReviewNotes.episode.gone, ReviewNotes.checks_episode.gone]
        if ReviewNotes.obstacle.of(review.metadata) in BLIND:
            reviews.set_obstacle(town, review, None)
            gone += [ReviewNotes.poll_not_before.gone, *_FAILURE]
        beads.note(town, member, *gone)


def _members(town: Town, key: str) -> list[str]:
    """The MRs in progress that belong to an episode, by id."""
    rows = town.sql.execute(
        "SELECT b.bead_id FROM beads b WHERE b.type = 'merge_request' AND b.status = 'in_progress' "
        "AND json_valid(b.metadata) AND :key IN (json_extract(b.metadata, '$.episode'), "
        "json_extract(b.metadata, '$.checks_episode')) ORDER BY b.bead_id",
        {"key": key},
    ).fetchall()
    return [bead_id for (bead_id,) in rows]


def _place(pr_url: str) -> tuple[str, str, int]:
    """Host, repository and number of a pull request, or of a repository with 0; nothing and 0 for any other address."""
    address = pull_request_at(pr_url)
    if address is None:
        repository = repository_at(
            pr_url
        )  # a claim that a branch was merged is about a repository, not about a pull request
        return ("", "", 0) if repository is None else (repository.host, f"{repository.owner}/{repository.name}", 0)
    return address.repository.host, f"{address.repository.owner}/{address.repository.name}", address.number


# What is said


def _is_of_token(problem: ForgeProblem) -> bool:
    """Whether the token is missing or not accepted anywhere."""
    return problem.effective_kind == "no_token" or (problem.kind == "http" and problem.http_status == 401)


def _reason(problem: ForgeProblem) -> str:
    """What the forge said, in one clause."""
    status = "" if problem.http_status is None else f"HTTP {problem.http_status}"
    return ": ".join(part for part in (status, problem.message) if part) or problem.effective_kind


def _message(pr_url: str, problem: ForgeProblem) -> str:
    what = "repository" if pull_request_at(pr_url) is None and repository_at(pr_url) is not None else "pull request"
    return f"The {what} {pr_url} could not be read: {_advice(problem)}."


def _advice(problem: ForgeProblem) -> str:
    """What went wrong, and what to do."""
    kind, said = problem.effective_kind, f" ({problem.message})" if problem.message else ""
    named = f" as {problem.secret}" if problem.secret else ""
    if kind == "no_token":
        return f"no access token is stored for its host. Store one{named}"
    if kind == "unrecognized_url":
        return "its address is not that of a pull request at a known forge. Set the pull request's web address"
    if kind == "host_mismatch":
        return "it is on another host than the rig's repository. Set the rig's git_url to that host"
    if kind in ("transient", "rate_limited"):
        return f"the forge does not answer{said}. Check that its host can be reached"
    if kind == "invalid_response":
        return (
            f"the answers are not those of a forge{said}. Check that the address leads to its API, not to a login page"
        )
    status = "an error" if problem.http_status is None else f"HTTP {problem.http_status}"
    if problem.http_status == 401:
        return f"the forge answered with HTTP 401{said}. The token is not accepted: store a valid one{named}"
    which = f" ({problem.secret})" if problem.secret else ""
    return f"the forge answered with {status}{said}. Store a token{which} that may read this repository, or correct the address"
