"""How the fake GitHub judges a merge: the state of a pull request, and the words with which a merge is refused."""

from typing import Any, Final

from infra.devstack.fake_forge import Reply
from infra.devstack.fake_site import Pull, Site

ALREADY_QUEUED: Final = "Pull request is already in the queue"
_DOCS: Final = "https://docs.github.com/rest"
_PASSED: Final = ("success", "skipped")


def no(status: int, message: str, **headers: str) -> Reply:
    """A refusal. Names of headers are written with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, {"message": message, "documentation_url": _DOCS}, named)


def not_found() -> Reply:
    """The answer for what is absent, or hidden from the token."""
    return Reply(404, {"message": "Not Found", "documentation_url": _DOCS, "status": "404"})


def unmet(site: Site, pull: Pull) -> list[str]:
    """The required checks that have not passed at the head."""
    home = site.by_id(pull.home)
    newest: dict[str, str] = {**pull.checks, **pull.statuses}
    newest |= {run.name: run.outcome for run in pull.runs if run.sha == pull.sha}
    return [name for name in (home.required if home else ()) if newest.get(name) not in _PASSED]


def is_behind(site: Site, pull: Pull) -> bool:
    """Whether a strict base asks for an update of the branch."""
    home = site.by_id(pull.home)
    return pull.behind or (home is not None and home.is_strict and site.is_behind(pull))


def merge_state(site: Site, pull: Pull) -> str:
    """The mergeStateStatus. A base that merges through a queue does not show in it."""
    if pull.state != "open":
        return "UNKNOWN"
    if pull.conflicts:
        return "DIRTY"
    if pull.draft:
        return "DRAFT"
    if pull.decision not in (None, "APPROVED") or unmet(site, pull):
        return "BLOCKED"
    if is_behind(site, pull):
        return "BEHIND"
    return "CLEAN" if all(outcome in _PASSED for outcome in pull.outcomes) else "UNSTABLE"


def refusal(site: Site, pull: Pull, body: Any, *, bypass: bool) -> Reply | None:
    """Why this pull request is not merged now; None if it is."""
    home = site.by_id(pull.home)
    if home is not None and home.may_not_merge:
        needs = "contents=write; contents=write,workflows=write"
        return no(403, "Resource not accessible by integration", x_accepted_github_permissions=needs)
    if home is not None and home.archived:
        return no(403, "Repository was archived so is read-only.")
    if body.get("sha") not in (None, pull.sha):
        return no(409, "Head branch was modified. Review and try the merge again.")
    way = body.get("merge_method", "merge")
    if way not in site.ways_to_merge:
        return no(405, f"{_WAY[way]} are not allowed on this repository.")
    if pull.draft and pull.state == "open":
        return no(405, "Pull Request is still a draft")
    if pull.state != "open" or pull.conflicts:
        return no(405, "Pull Request is not mergeable")
    return None if bypass else _unfulfilled(site, pull)


def _unfulfilled(site: Site, pull: Pull) -> Reply | None:
    home = site.by_id(pull.home)
    missing = unmet(site, pull)
    reasons = (
        (pull.in_queue, "Pull Request is in the merge queue"),
        (home is not None and home.has_queue, _QUEUE),
        (pull.decision == "CHANGES_REQUESTED", "Changes have been requested by a reviewer with write access."),
        (pull.decision == "REVIEW_REQUIRED", "At least 1 approving review is required by reviewers with write access."),
        (bool(missing), f'Required status check "{"".join(missing[:1])}" is expected.'),
        (is_behind(site, pull), "Head branch is out of date with the base branch."),
    )
    return next((no(405, text) for applies, text in reasons if applies), None)


_QUEUE: Final = "Repository rule violations found\n\nChanges must be made through the merge queue\n\n"
_WAY: Final = {"merge": "Merge commits", "squash": "Squash merges", "rebase": "Rebase merges"}
