"""Everything that a forge can do to the town, once for all forges: each scenario is played on every one.

A scenario says in a sentence what happens, and what each forge offers for it; `docs/forges.md` is the table of them. `git` is what
a repository without a forge offers. Where forges differ, the scenario says how: the difference is a fact about the forge.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from infra.devstack.fake_site import Said
from shared.ports.forge import Accepted, BranchUpdate, Comment, ForgeError, Merged, NotMerged, Proof, Queued
from tests.forges.grounds import APP, Ground

Play = Callable[[Ground], None]


@dataclass(frozen=True)
class Scenario:
    """What happens, what each forge offers for it, and how it is played."""

    area: str
    text: str
    github: str
    gitlab: str
    git: str
    play: Play


SCENARIOS: Final[list[Scenario]] = []
AREAS: Final = ("Which pull request it is", "Checks", "Reviews", "Merging", "Refusals to answer", "Proof of a merge")


def scenario(area: int, text: str, *, github: str, gitlab: str, git: str = "–") -> Callable[[Play], Play]:
    """Add a scenario to the list."""

    def added(play: Play) -> Play:
        SCENARIOS.append(Scenario(AREAS[area], text, github, gitlab, git, play))
        return play

    return added


# --- which pull request it is -------------------------------------------------------------------------------------


@scenario(
    0,
    "A stranger's pull request of the same repository is told by its branch and author",
    github="head branch, author",
    gitlab="source branch, author",
)
def stranger(forge: Ground) -> None:
    found = forge.identity(forge.opens(head="of-a-stranger", author="stranger"))
    assert (found.head_branch, found.author, found.base_branch) == ("of-a-stranger", "stranger", "main")
    assert found.head_repository is not None
    assert found.head_repository.id == found.base_repository.id == str(forge.app.id)


@scenario(
    0,
    "A pull request from a fork has another head repository",
    github="id of the head repository",
    gitlab="source project, a number",
)
def from_fork(forge: Ground) -> None:
    pull = forge.opens(fork="them/app")
    found = forge.identity(pull)
    assert found.head_repository is not None
    assert (found.head_repository.id, found.base_repository.id) == (str(pull.head_home), str(forge.app.id))
    assert found.head_repository.name == "them/app"


@scenario(
    0,
    "The fork is deleted: the pull request can be read, and has no head repository",
    github="head repository null",
    gitlab="source project null",
)
def deleted_fork(forge: Ground) -> None:
    pull = forge.opens(fork="them/app")
    forge.site.deletes("them/app")
    assert forge.identity(pull).head_repository is None
    assert forge.read(pull).head_sha == pull.sha


@scenario(0, "A pull request against another branch names it", github="base branch", gitlab="target branch")
def other_base(forge: Ground) -> None:
    assert forge.identity(forge.opens(base="release")).base_branch == "release"


@scenario(
    0, "Branches that differ by case are two branches", github="as written", gitlab="as written", git="as written"
)
def case_of_a_branch(forge: Ground) -> None:
    upper, lower = forge.opens(head="Work"), forge.opens(head="work")
    assert (forge.identity(upper).head_branch, forge.identity(lower).head_branch) == ("Work", "work")


@scenario(0, "The author's account is deleted", github="author null", gitlab="author null")
def deleted_author(forge: Ground) -> None:
    assert forge.identity(forge.opens(author=None)).author is None


@scenario(0, "A draft says so, and is not merged", github="`isDraft`", gitlab="`draft`, word DRAFT_STATUS")
def draft(forge: Ground) -> None:
    pull = forge.opens()
    pull.draft = True
    assert forge.identity(pull).draft
    assert forge.read(pull).mergeable_state == "draft"
    assert forge.refusal(pull) == "draft"


@scenario(
    0,
    "The repository is renamed or moves to another owner: its id stays, and its pull requests are read and merged",
    github="GraphQL follows names, REST redirects (301, 307) to the id",
    gitlab="REST redirects (301) reads to the number, writes go to the number; GraphQL knows only present names",
    git="by the forge's redirect",
)
def renamed(forge: Ground) -> None:
    pull = forge.opens()
    url, before = forge.url(pull), forge.read(pull).rig_repository
    forge.site.renames(APP, "others/application")
    for _ in range(2):
        seen = forge.read(pull, url=url)
        assert before is not None
        assert seen.rig_repository is not None
        assert seen.identity is not None
        assert (seen.rig_repository.id, seen.rig_repository.name) == (before.id, "others/application")
        assert seen.identity.base_repository.id == before.id
    merged = forge.served.forge.merge(forge.asker(), url, head_sha=pull.sha, effect_id="e")
    assert isinstance(merged, Merged), merged


@scenario(
    0,
    "Another repository takes the name of a renamed one: its id is another",
    github="ids",
    gitlab="numbers",
)
def name_taken(forge: Ground) -> None:
    pull = forge.opens()
    old = str(forge.app.id)
    forge.site.renames(APP, "acme/renamed")
    before = forge.read(pull).rig_repository
    assert before is not None
    assert before.id == old
    other = forge.site.home(APP)
    seen = forge.read(pull)
    assert seen.rig_repository is not None
    assert seen.identity is not None
    assert (seen.rig_repository.id, seen.identity.base_repository.id) == (str(other.id), old)


@scenario(
    0,
    "The rig's address leads nowhere: that is said beside the pull request",
    github="null and an error NOT_FOUND",
    gitlab="null, then 404",
)
def address_leads_nowhere(forge: Ground) -> None:
    pull = forge.opens()
    seen = forge.read(pull, forge.asker("acme/never-was"))
    assert seen.rig_repository is None
    assert seen.rig_problem


@scenario(0, "The rig is a fork: its upstream is named too", github="in the same query", gitlab="in the same query")
def upstream(forge: Ground) -> None:
    fork = forge.site.home("acme/fork")
    pull = forge.opens(fork="acme/fork")
    seen = forge.read(pull, forge.asker("acme/fork", APP))
    assert seen.rig_repository is not None
    assert seen.upstream_repository is not None
    assert (seen.rig_repository.id, seen.upstream_repository.id) == (str(fork.id), str(forge.app.id))


# --- checks ---------------------------------------------------------------------------------------------------------


@scenario(
    1,
    "A failed or cancelled run and its green rerun at one head: the newest counts",
    github="newest of (app, workflow, event, name)",
    gitlab="the pipeline counts the newest job of each name",
)
def rerun(forge: Ground) -> None:
    pull = forge.opens()
    for outcome in ("failure", "cancelled"):
        forge.site.runs(pull, "build", outcome)
        assert forge.feedback(pull).has_failing_checks
        forge.site.runs(pull, "build", "success")
        found = forge.feedback(pull)
        assert (found.has_failing_checks, found.all_checks_pass, found.has_checks) == (False, True, True)


@scenario(
    1,
    "Two apps report a check of one name: each counts",
    github="app of the check suite",
    gitlab="jobs and external statuses of one pipeline",
)
def two_apps(forge: Ground) -> None:
    pull = forge.opens()
    forge.site.runs(pull, "build", "failure", app="one")
    forge.site.runs(pull, "build", "success", app="two")
    assert forge.feedback(pull).has_failing_checks
    forge.site.runs(pull, "build", "success", app="one")
    assert forge.feedback(pull).all_checks_pass


@scenario(
    1,
    "A check that is not required is red",
    github="`isRequired`: told apart by the setting required_checks_only",
    gitlab="allow_failure: the pipeline passes with a warning",
)
def red_but_not_required(forge: Ground) -> None:
    forge.app.required = ("build",)
    pull = forge.opens()
    forge.site.runs(pull, "build", "success")
    forge.site.runs(pull, "lint", "failure", may_fail=True)
    found = forge.feedback(pull)
    assert (found.required_known, found.required_failing, found.required_pass) == (True, False, True)
    assert found.has_failing_checks is forge.is_github


@scenario(
    1,
    "A required check is red: it is not merged",
    github="`isRequired`",
    gitlab="the pipeline, where the project requires one",
)
def red_and_required(forge: Ground) -> None:
    forge.app.required = ("build",)
    pull = forge.opens()
    forge.site.runs(pull, "build", "failure")
    found = forge.feedback(pull)
    assert (found.required_known, found.required_failing, found.required_pass) == (True, True, False)
    assert forge.refusal(pull) == "checks"


@scenario(
    1,
    "A required check never reported",
    github="named in the rules of the base, if they can be read; else BLOCKED",
    gitlab="word CI_MUST_PASS",
)
def required_is_missing(forge: Ground) -> None:
    forge.app.required = ("build",)
    pull = forge.opens()
    if forge.is_github:
        forge.site.runs(pull, "lint", "success")
    found = forge.feedback(pull)
    assert not found.required_pass
    assert not found.required_failing
    assert found.required_missing == ("build",) if forge.is_github else not found.all_checks_pass
    assert forge.refusal(pull) == "checks"


@scenario(
    1, "No check at all passes, and that there is none is said", github="null rollup", gitlab="no pipeline, no CI"
)
def no_checks(forge: Ground) -> None:
    found = forge.feedback(forge.opens())
    assert (found.has_checks, found.all_checks_pass, found.checks_unreadable) == (False, True, False)


@scenario(
    1,
    "Checks of an older head do not count",
    github="rollup of the head",
    gitlab="pipeline of the head, or of the merge result of that head",
)
def checks_of_an_older_head(forge: Ground) -> None:
    pull = forge.opens()
    forge.site.runs(pull, "build", "success")
    forge.site.pushes(pull)
    assert not forge.feedback(pull).has_checks
    forge.site.runs(pull, "build", "failure")
    assert forge.feedback(pull).has_failing_checks


@scenario(
    1,
    "The token may not read checks: they are neither green nor red",
    github="error FORBIDDEN below the rollup: only Apps and classic tokens can be granted it",
    gitlab="no pipeline although there is CI, and no right to read it",
)
def checks_refused(forge: Ground) -> None:
    pull = forge.opens()
    forge.site.runs(pull, "build", "failure")
    forge.refuses_checks()
    assert forge.feedback(pull).checks_unreadable


@scenario(
    1,
    "Many checks and threads: one red and one open among hundreds is found",
    github="pages of 100",
    gitlab="the pipeline and two numbers: no pages",
)
def many(forge: Ground) -> None:
    pull = forge.opens()
    pull.checks = dict.fromkeys((f"check-{number:03}" for number in range(220)), "success")
    pull.checks["zzz"] = "failure"
    pull.threads = {f"thread-{number}": True for number in range(220)} | {"last": False}
    found = forge.feedback(pull)
    assert (found.has_failing_checks, found.has_unresolved_comments, found.has_unchecked_runs) == (True, True, False)


@scenario(
    1,
    "Statuses and checks together: both count",
    github="contexts of the rollup",
    gitlab="one pipeline has both",
)
def statuses_and_checks(forge: Ground) -> None:
    pull = forge.opens()
    pull.checks["build"] = "success"
    pull.statuses["legacy"] = "failure"
    assert forge.feedback(pull).has_failing_checks
    pull.statuses["legacy"] = "success"
    assert forge.feedback(pull).all_checks_pass


# --- reviews --------------------------------------------------------------------------------------------------------


@scenario(
    2,
    "Changes are requested without a thread: who and once; a comment, a push and a new request of review do not end it",
    github="newest opinionated review of each person, its id",
    gitlab="reviewers' states and GitLab's note about it (Premium: it blocks until approved; Free: a new request ends it)",
)
def changes_requested(forge: Ground) -> None:
    pull = forge.opens()
    assert not forge.feedback(pull).changes_requested
    forge.site.says(pull, "rosa", "CHANGES_REQUESTED")
    found = forge.feedback(pull)
    assert found.changes_requested
    assert [each.author for each in found.change_requests] == ["rosa"]
    first = found.change_requests[0].id
    forge.site.pushes(pull)
    assert [each.id for each in forge.feedback(pull).change_requests] == [first]
    forge.site.says(pull, "rosa", "APPROVED")
    assert not forge.feedback(pull).changes_requested
    forge.site.says(pull, "rosa", "CHANGES_REQUESTED")
    again = forge.feedback(pull).change_requests
    assert [each.author for each in again] == ["rosa"]
    assert again[0].id != first


@scenario(
    2,
    "The town asks for another review",
    github="requested_reviewers",
    gitlab="mergeRequestReviewerRereview, mergeRequestSetReviewers",
)
def asks_again(forge: Ground) -> None:
    pull = forge.opens()
    forge.site.says(pull, "rosa", "CHANGES_REQUESTED")
    assert isinstance(forge.asks_again(pull, "rosa"), Accepted)
    assert pull.asked == ["rosa"]
    assert forge.feedback(pull).changes_requested is (forge.name != "GitLab Free")


@scenario(
    2,
    "An approval is required and missing: it waits and is not merged; where none is required, nothing is missing",
    github="`reviewDecision`",
    gitlab="word NOT_APPROVED, never `approved` (Free: false without any requirement)",
)
def approval(forge: Ground) -> None:
    pull = forge.opens()
    assert not forge.feedback(pull).awaiting_approval
    pull.decision = "REVIEW_REQUIRED"
    assert forge.feedback(pull).awaiting_approval
    assert forge.refusal(pull) == "review"
    pull.decision = "APPROVED"
    assert not forge.feedback(pull).awaiting_approval


@scenario(2, "An open thread is seen until it is resolved", github="`isResolved`", gitlab="two numbers")
def threads(forge: Ground) -> None:
    pull = forge.opens()
    forge.site.comments(pull)
    assert forge.feedback(pull).has_unresolved_comments
    forge.site.resolves(pull)
    assert not forge.feedback(pull).has_unresolved_comments


@scenario(
    2,
    "What open threads say comes along, with author, file, line and the id of the thread",
    github="`reviewThreads.comments`",
    gitlab="GET discussions, once for each change",
)
def words_of_threads(forge: Ground) -> None:
    pull = forge.opens()
    forge.site.resolves_thread(forge.site.comments(pull, Said("Settled.")))
    thread = forge.site.comments(pull, Said("Rename it.", author="rosa", file="src/door.py", line=12))
    assert forge.feedback(pull).comments == (Comment("Rename it.", "rosa", "src/door.py", 12, thread),)
    forge.site.resolves(pull)
    assert forge.feedback(pull).comments == ()


# --- merging --------------------------------------------------------------------------------------------------------


@scenario(
    3, "The town merges at the head that was judged", github="PUT merge, `sha`", gitlab="PUT merge, `sha`", git="git"
)
def merges(forge: Ground) -> None:
    pull = forge.opens()
    assert forge.merge(pull) == Merged(str(pull.merge_sha))
    assert (forge.read(pull).state, forge.read(pull).merge_sha) == ("merged", pull.merge_sha)
    assert forge.merge(pull) == Merged(str(pull.merge_sha))
    assert [each[:3] for each in forge.site.merged] == [(APP, "work", "main")]


@scenario(3, "Somebody pushes between the look and the merge", github="409", gitlab="409", git="the push is refused")
def pushed_before_the_merge(forge: Ground) -> None:
    pull = forge.opens()
    judged = forge.read(pull).head_sha
    forge.site.pushes(pull)
    assert forge.refusal(pull, judged) == "head_moved"


@scenario(3, "The branches conflict", github="CONFLICTING", gitlab="CONFLICT", git="git merge-tree")
def conflict(forge: Ground) -> None:
    pull = forge.opens()
    pull.conflicts = True
    assert forge.read(pull).mergeable_state == "dirty"
    assert forge.refusal(pull) == "conflict"


@scenario(3, "Whether it can be merged is still computed", github="UNKNOWN", gitlab="CHECKING and others")
def still_computed(forge: Ground) -> None:
    pull = forge.opens()
    pull.unknown_reads = 1
    assert forge.read(pull).mergeable_state == "unknown"
    assert forge.read(pull).mergeable_state == "clean"


@scenario(
    3,
    "The token may not merge into the branch",
    github="403 (the token lacks Contents: write)",
    gitlab="401, which here is no dead token",
    git="the push is refused",
)
def no_right_to_merge(forge: Ground) -> None:
    pull = forge.opens()
    forge.app.may_not_merge = True
    answer = forge.merge(pull)
    if isinstance(answer, ForgeError):
        assert forge.is_github
        assert (answer.kind, answer.http_status) == ("http", 403)
    else:
        assert isinstance(answer, NotMerged)
        assert answer.refusal == "rights"
    assert pull.merges == 0


@scenario(3, "It is closed, and opened again", github="state", gitlab="state")
def closed_and_reopened(forge: Ground) -> None:
    pull = forge.opens()
    forge.site.closes(pull)
    assert forge.read(pull).state == "closed"
    assert forge.refusal(pull) == "closed"
    forge.site.reopens(pull)
    assert forge.read(pull).state == "open"
    assert isinstance(forge.merge(pull), Merged)


@scenario(
    3, "Somebody else merged it: the merge is theirs", github="state, `mergeCommit`", gitlab="state, `mergeCommitSha`"
)
def merged_by_somebody_else(forge: Ground) -> None:
    pull = forge.opens()
    forge.read(pull)
    theirs = forge.site.merge(pull)
    assert forge.merge(pull) == Merged(theirs)
    assert pull.merges == 1


@scenario(
    3,
    "It is merged by a squash or a rebase: the commit that the merge left is named",
    github="`mergeCommit`",
    gitlab="REST `squash_commit_sha`; after a fast forward the head",
)
def squashed_or_rebased(forge: Ground) -> None:
    pull = forge.opens()
    made = forge.site.merge(pull, "squash")
    assert forge.read(pull).merge_sha == made
    assert not forge.site.history.contains(made, pull.sha)


@scenario(
    3, "The branch is deleted after the merge", github="head kept", gitlab="head kept", git="the commit is enough"
)
def branch_deleted(forge: Ground) -> None:
    pull = forge.opens()
    made = forge.site.merge(pull)
    forge.site.history.branches.pop((forge.app.id, "work"))
    seen = forge.read(pull)
    assert (seen.state, seen.merge_sha, seen.identity and seen.identity.head_branch) == ("merged", made, "work")


@scenario(
    3,
    "A read lags behind a push: nothing is merged at a head that nobody judged",
    github="head of the pull request, for seconds",
    gitlab="head and pipeline, for seconds",
)
def lagging_read(forge: Ground) -> None:
    pull = forge.opens()
    judged = pull.sha
    forge.site.lags(pull, 2)
    pushed = forge.site.pushes(pull)
    assert forge.read(pull).head_sha == judged
    assert forge.refusal(pull, judged) == "head_moved"
    pull.old.clear()
    assert forge.read(pull).head_sha == pushed


@scenario(
    3,
    "The base merges through a queue: the pull request joins, has a place, leaves",
    github="merge queue",
    gitlab="merge train (Premium), found by the project's setting",
)
def joins_and_leaves_the_queue(forge: Ground) -> None:
    if forge.name == "GitLab Free":
        return
    forge.app.has_queue = True
    first, second = forge.opens(head="first"), forge.opens(head="second")
    assert forge.read(first).has_queue
    assert isinstance(forge.merge(first), Queued)
    assert forge.merge(second) == Queued(2)
    assert isinstance(forge.merge(second), Queued)
    assert (forge.read(second).state, forge.read(second).in_queue) == ("open", True)
    assert isinstance(forge.dequeue(second), Accepted)
    assert not forge.read(second).in_queue
    assert isinstance(forge.dequeue(second), Accepted)
    assert forge.site.merged == []


@scenario(
    3,
    "The queue merges it, as another commit; or it leaves the queue unmerged",
    github="state and `mergeCommit`; no entry and not merged",
    gitlab="state and commit; no automatic merge and not merged",
)
def queue_merges_or_drops(forge: Ground) -> None:
    if forge.name == "GitLab Free":
        return
    forge.app.has_queue = True
    merged, dropped = forge.opens(head="first"), forge.opens(head="second")
    assert isinstance(forge.merge(merged), Queued)
    assert isinstance(forge.merge(dropped), Queued)
    made = forge.site.merge(merged, "squash", by="queue")
    forge.site.leaves(dropped)
    assert (forge.read(merged).state, forge.read(merged).merge_sha) == ("merged", made)
    assert (forge.read(dropped).state, forge.read(dropped).in_queue) == ("open", False)


@scenario(
    3,
    "A strict base has moved: it is behind, is not merged, and is brought up to date",
    github="BEHIND; update-branch merges the base into the head",
    gitlab="NEED_REBASE; rebase writes the branch anew",
    git="git",
)
def behind_a_strict_base(forge: Ground) -> None:
    forge.app.is_strict = True
    pull = forge.opens()
    old = pull.sha
    forge.site.moves_base(APP)
    assert forge.read(pull).is_behind
    assert forge.refusal(pull) == "behind"
    answer = forge.update(pull)
    assert isinstance(answer, BranchUpdate)
    assert (answer.outcome, answer.head in (None, pull.sha)) == ("updated", True)
    assert pull.sha != old
    assert not forge.read(pull).is_behind
    assert isinstance(forge.merge(pull), Merged)


@scenario(3, "It is up to date already: no update is needed", github="422, a success", gitlab="not diverged")
def up_to_date(forge: Ground) -> None:
    pull = forge.opens()
    before = pull.sha
    answer = forge.update(pull)
    assert isinstance(answer, BranchUpdate)
    assert (answer.outcome, pull.sha) == ("current", before)


@scenario(
    3,
    "An update of a head that moved is refused",
    github="422, expected_head_sha",
    gitlab="rebase takes no head: it is read immediately before",
)
def update_of_another_head(forge: Ground) -> None:
    pull = forge.opens()
    judged = pull.sha
    forge.site.moves_base(APP)
    pushed = forge.site.pushes(pull)
    answer = forge.update(pull, judged)
    assert isinstance(answer, BranchUpdate)
    assert (answer.outcome, pull.sha) == ("refused", pushed)


@scenario(3, "An update that conflicts is refused", github="422", gitlab="`merge_error` of the rebase")
def update_conflicts(forge: Ground) -> None:
    pull = forge.opens()
    forge.site.moves_base(APP)
    pull.conflicts = True
    before = pull.sha
    answer = forge.update(pull)
    assert isinstance(answer, BranchUpdate)
    assert (answer.outcome, pull.sha) == ("refused", before)
    assert answer.reason


@scenario(3, "The repository is archived: nothing is merged", github="403", gitlab="`archived`")
def archived(forge: Ground) -> None:
    pull = forge.opens()
    forge.app.archived = True
    answer = forge.merge(pull)
    assert isinstance(answer, NotMerged | ForgeError), answer
    assert pull.merges == 0


# --- refusals to answer -----------------------------------------------------------------------------------------------


@scenario(
    4,
    "The token has expired: 401, with its name, host and repository",
    github="401 Bad credentials",
    gitlab="401 Unauthorized",
    git="authentication failed",
)
def expired_token(forge: Ground) -> None:
    pull = forge.opens()
    forge.server.tokens = ()
    found = forge.error(pull)
    assert (found.kind, found.http_status) == ("http", 401)
    assert (found.secret, found.is_platform) == (f"platform/forges/{forge.server.host}", True)
    assert (found.host, found.repository) == (forge.server.host, APP)
    merging = forge.merge(pull)
    assert isinstance(merging, ForgeError)
    assert merging.http_status == 401


@scenario(4, "No token is stored: nothing is sent", github="–", gitlab="–")
def no_token(forge: Ground) -> None:
    pull = forge.opens()
    forge.served.secrets.stored.clear()
    found = forge.error(pull)
    assert (found.kind, found.host, found.repository) == ("no_token", forge.server.host, APP)
    assert found.secret
    assert forge.requests() == 0


@scenario(
    4,
    "The token lacks a right",
    github="403, the right in a header",
    gitlab="403 insufficient_scope, the scope in the body",
)
def right_missing(forge: Ground) -> None:
    pull = forge.opens()
    body = {"message": "Resource not accessible by integration"} if forge.is_github else {"error": "insufficient_scope"}
    forge.trouble(403, body)
    found = forge.error(pull)
    assert (found.kind, found.http_status) == ("http", 403)


@scenario(4, "A sign-on wall", github="403 and X-GitHub-SSO", gitlab="none in this form")
def sign_on(forge: Ground) -> None:
    pull = forge.opens()
    forge.trouble(
        403, {"message": "Resource protected by organization SAML enforcement."}, x_github_sso="required; url=x"
    )
    found = forge.error(pull)
    assert (found.kind, found.http_status) == ("http", 403)


@scenario(
    4,
    "The limit of the token is used up: it waits until the forge says",
    github="403 or 429 with headers; GraphQL as 200",
    gitlab="429 with headers, and the text Retry later",
)
def limit(forge: Ground) -> None:
    pull = forge.opens()
    forge.trouble(403 if forge.is_github else 429, b"Retry later", retry_after="600")
    found = forge.error(pull)
    assert found.kind == "rate_limited"
    assert found.retry_at is not None
    asked = forge.requests()
    assert forge.error(pull).kind == "rate_limited"
    assert forge.requests() == asked


@scenario(
    4,
    "The repository is gone, or hidden from the token",
    github="404, or NOT_FOUND",
    gitlab="null, then 404 Project Not Found",
    git="could not read from remote",
)
def repository_gone(forge: Ground) -> None:
    pull = forge.opens()
    forge.site.homes.clear()
    found = forge.error(pull)
    assert (found.kind, found.http_status) == ("http", 404)


@scenario(4, "The repository answers, and has no such pull request", github="404", gitlab="null")
def pull_request_gone(forge: Ground) -> None:
    pull = forge.opens()
    forge.site.pulls.clear()
    found = forge.error(pull)
    assert (found.kind, found.http_status) == ("http", 404)


@scenario(4, "A burst of 5xx passes", github="502, 503", gitlab="502, 503, 408", git="could not connect")
def burst(forge: Ground) -> None:
    pull = forge.opens()
    for status in (500, 502, 503, 504, *((408,) if not forge.is_github else ())):
        forge.trouble(status)
        assert forge.error(pull).kind == "transient"
    assert forge.read(pull).state == "open"
    forge.trouble(502, times=None)
    assert isinstance(forge.merge(pull), ForgeError)
    assert pull.merges == 0


@scenario(
    4,
    "A merge is refused with 405, 409 or 422",
    github="reason in the text",
    gitlab="reason in the word",
)
def merge_refused(forge: Ground) -> None:
    pull = forge.opens()
    for status, refusal in ((409, "head_moved"), (405, "other")):
        forge.trouble(status, {"message": "Head branch was modified" if status == 409 else "no"}, path="/merge")
        answer = forge.merge(pull)
        assert isinstance(answer, NotMerged), answer
        assert answer.refusal == refusal
    assert isinstance(forge.merge(pull), Merged)


@scenario(
    4,
    "A part of the answer is missing and an error names it: no half picture",
    github="200 with data and errors",
    gitlab="200 with data and errors",
)
def partial(forge: Ground) -> None:
    pull = forge.opens()
    forge.site.says(pull, "rosa", "CHANGES_REQUESTED")
    key = "repository" if forge.is_github else "project"
    problem = {"message": "Something went wrong", "path": [key, "pullRequest" if forge.is_github else "mergeRequest"]}
    forge.trouble(200, {"data": {key: None}, "errors": [problem]}, path="/graphql")
    assert isinstance(forge.look(pull), ForgeError)
    assert forge.feedback(pull).changes_requested


# --- proof of a merge ---------------------------------------------------------------------------------------------------


@scenario(5, "The branch is in the target", github="compare", gitlab="merge_base", git="git merge-base")
def proven_by_head(forge: Ground) -> None:
    pull = forge.opens()
    assert forge.proof(head=pull.sha) == Proof(False, says=_says(forge.proof(head=pull.sha)))
    forge.site.merge(pull)
    for claim in ({"head": pull.sha}, {}):
        contained, sha = _proof(forge, **claim)
        assert contained
        assert sha in (pull.sha, pull.merge_sha)


@scenario(
    5,
    "The branch is in the target, and was before the work began: that proves nothing",
    github="compare",
    gitlab="merge_base",
    git="git merge-base",
)
def branch_without_work(forge: Ground) -> None:
    pull = forge.opens()
    forge.site.merge(pull)
    assert _proof(forge, head=pull.sha, base=pull.sha)[0] is False


@scenario(
    5,
    "Squashed: the commit is in the target and has the branch's files",
    github="compare, blobs",
    gitlab="merge_base, compare",
    git="git merge-tree",
)
def proven_by_squash(forge: Ground) -> None:
    pull = forge.opens()
    made = forge.site.merge(pull, "squash")
    assert _proof(forge, head=pull.sha)[0] is False
    assert _proof(forge, head=pull.sha, merge_commit=made) == (True, made)


@scenario(5, "Rebased: likewise", github="compare, blobs", gitlab="merge_base, compare", git="git merge-tree")
def proven_by_rebase(forge: Ground) -> None:
    pull = forge.opens()
    forge.site.moves_base(APP)
    made = forge.site.merge(pull, "rebase")
    forge.site.moves_base(APP)
    assert _proof(forge, head=pull.sha, merge_commit=made) == (True, made)


@scenario(
    5,
    "Squashed, and others changed a file of the branch too: that is no definite no",
    github="compare, blobs",
    gitlab="merge_base, compare: inconclusive",
    git="git merge-tree",
)
def squash_beside_others(forge: Ground) -> None:
    history, home = forge.site.history, forge.app.id
    lines = [f"line {number}" for number in range(20)]
    old = history.commit((history.branches[home, "main"],), {"shared": "\n".join(lines)})
    work = history.commit((old,), {"shared": "\n".join(["of the work", *lines[1:]])})
    theirs = history.commit((old,), {"shared": "\n".join([*lines[:-1], "of others"])})
    squashed = history.commit((theirs,), {"shared": "\n".join(["of the work", *lines[1:-1], "of others"])})
    history.branches[home, "work"], history.branches[home, "main"] = work, squashed
    contained, _ = _proof(forge, head=work, merge_commit=squashed)
    assert contained is (True if forge.place is not None else None)


@scenario(
    5,
    "A commit that is not in the target, is older than the branch, or has nothing of it, proves nothing",
    github="compare, blobs",
    gitlab="merge_base, compare",
    git="git",
)
def wrong_commit(forge: Ground) -> None:
    start = forge.site.history.branches[forge.app.id, "main"]
    pull = forge.opens()
    others = forge.site.moves_base(APP)
    for claimed in (pull.sha, start, others):
        assert _proof(forge, head=pull.sha, merge_commit=claimed)[0] is False


@scenario(
    5,
    "The named head or target does not exist: the target does not contain it",
    github="object null",
    gitlab="400 Could not find ref",
    git="git rev-parse",
)
def unknown_commit(forge: Ground) -> None:
    forge.opens()
    assert _proof(forge, head="9" * 40)[0] is False
    assert _proof(forge, target_branch="no-such-branch")[0] is not True


@scenario(
    5,
    "Nobody can look: the forge is down, refuses, or no token is stored",
    github="5xx, 403",
    gitlab="5xx, 403",
    git="could not connect",
)
def cannot_look(forge: Ground) -> None:
    pull = forge.opens()
    if forge.place is not None:
        gone = forge.proof(head=pull.sha, git_url=str(forge.place / "gone.git"))
        assert isinstance(gone, ForgeError)
        return
    for status, kind in ((503, "transient"), (403, "http")):
        forge.trouble(status)
        answer = forge.proof(head=pull.sha)
        assert isinstance(answer, ForgeError)
        assert answer.kind == kind
    forge.served.secrets.stored.clear()
    assert _proof(forge, head=pull.sha)[0] is None


def _proof(forge: Ground, **claim: str | None) -> tuple[bool | None, str | None]:
    answer = forge.proof(**claim)
    assert isinstance(answer, Proof), answer
    return answer.contained, answer.sha


def _says(answer: Proof | ForgeError) -> str:
    assert isinstance(answer, Proof), answer
    assert answer.says
    return answer.says
