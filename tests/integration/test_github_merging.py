"""What the adapter of GitHub does to a pull request: merge, queue, update, leave a queue, ask for reviews; and what it proves."""

from collections.abc import Iterator
from typing import Any

import pytest

from infra.devstack.fake_forge import Reply, Trouble
from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_history import WayToMerge
from infra.devstack.fake_site import Pull
from shared.adapters.github.merging import refusal_of
from shared.ports.forge import (
    Accepted,
    Asker,
    BranchUpdate,
    ForgeError,
    MergeClaim,
    Merged,
    NotMerged,
    Proof,
    Queued,
)
from tests.forge_sites import Served, served

ASKER = Asker("t1", "rig-1", "github.com")
GIT_URL = "git@github.com:acme/app.git"


@pytest.fixture
def github() -> Iterator[Served]:
    with served(FakeGitHub()) as site:
        yield site


def a_pull(site: Served, **given: Any) -> Pull:
    return site.site.opens("acme/app", **given)


def merged(site: Served, pull: Pull, head: str | None = None) -> Merged | Queued | NotMerged | ForgeError:
    url = site.server.url_of(pull)
    return site.forge.merge(ASKER, url, head_sha=head or pull.sha, effect_id="e")


def puts(site: Served) -> list[Any]:
    return [request.body for request in site.server.requests if request.method == "PUT"]


def server_of(site: Served) -> FakeGitHub:
    assert isinstance(site.server, FakeGitHub)
    return site.server


# --- merging -------------------------------------------------------------------------------------------------------


def test_a_merge_is_one_look_and_one_write_of_exactly_that_head(github: Served) -> None:
    pull = a_pull(github)
    assert merged(github, pull) == Merged(str(pull.merge_sha))
    assert [request.method for request in github.server.requests] == ["POST", "PUT"]
    assert puts(github) == [{"merge_method": "merge", "sha": pull.sha}]


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("Base branch was modified. Review and try the merge again.", "base_moved"),
        ("Head branch was modified. Review and try the merge again.", "head_moved"),
        ("Pull Request is still a draft", "draft"),
        ("At least 1 approving review is required by reviewers with write access.", "review"),
        ("Changes have been requested by a reviewer with write access.", "review"),
        ("A conversation must be resolved before this pull request can be merged.", "review"),
        ('Required status check "build" is expected.', "checks"),
        ("3 of 4 required status checks are expected.", "checks"),
        ('Required workflow "X" is not satisfied', "checks"),
        ("Repository rule violations found\n\nChanges must be made through the merge queue", "queue"),
        ("Merge commits are not allowed on this repository.", "method"),
        ("Squash merges are not allowed on this repository.", "method"),
        ("This branch must not contain merge commits: linear history is required", "method"),
        ("You're not authorized to push to this branch. Visit the docs.", "rights"),
        ("Head branch is out of date with the base branch.", "behind"),
        ("Merge conflict between base and head", "conflict"),
        ("Something that nobody has read before", "other"),
    ],
)
def test_what_github_says_when_it_does_not_merge_has_a_class(text: str, refusal: str) -> None:
    assert refusal_of(text) == refusal


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        ({"draft": True}, "draft"),
        ({"conflicts": True}, "conflict"),
        ({"decision": "REVIEW_REQUIRED"}, "review"),
        ({"decision": "CHANGES_REQUESTED"}, "review"),
        ({"state": "closed"}, "closed"),
    ],
)
def test_what_stands_in_the_way_is_the_class_of_the_refusal(
    github: Served, change: dict[str, Any], refusal: str
) -> None:
    pull = a_pull(github)
    for name, value in change.items():
        setattr(pull, name, value)
    answer = merged(github, pull)
    assert isinstance(answer, NotMerged)
    assert (answer.refusal, github.site.merged) == (refusal, [])


def test_required_checks_and_a_strict_base_are_refusals_of_their_own(github: Served) -> None:
    pull = a_pull(github)
    home = github.site.home("acme/app")
    home.required = ("build",)
    answer = merged(github, pull)
    assert isinstance(answer, NotMerged)
    assert answer.refusal == "checks"
    github.site.runs(pull, "build", "success")
    home.is_strict = True
    github.site.moves_base("acme/app")
    answer = merged(github, pull)
    assert isinstance(answer, NotMerged)
    assert answer.refusal == "behind"


def test_a_push_between_the_look_and_the_merge_is_noticed_by_github(github: Served) -> None:
    pull = a_pull(github)
    judged = pull.sha
    github.site.pushes(pull)
    answer = merged(github, pull, judged)
    assert isinstance(answer, NotMerged)
    assert (answer.refusal, pull.merges) == ("head_moved", 0)


def test_a_race_for_the_base_is_a_class_of_its_own(github: Served) -> None:
    github.server.trouble.plan(
        Trouble(405, body={"message": "Base branch was modified. Review and try."}, path="/merge")
    )
    answer = merged(github, a_pull(github))
    assert isinstance(answer, NotMerged)
    assert answer.refusal == "base_moved"


def test_a_base_that_forbids_the_first_way_gets_the_next_one_once(github: Served) -> None:
    pull = a_pull(github)
    no_merge_commits = {"message": "This branch must have a linear history."}
    github.server.trouble.plan(Trouble(405, body=no_merge_commits, path="/merge"))
    assert isinstance(merged(github, pull), Merged)
    assert [put["merge_method"] for put in puts(github)] == ["merge", "squash"]
    other = a_pull(github, head="other")
    github.server.trouble.plan(Trouble(405, body=no_merge_commits, path="/merge"), times=None)
    answer = merged(github, other)
    assert isinstance(answer, NotMerged)
    assert (answer.refusal, len(puts(github))) == ("method", 4)


def test_somebody_elses_merge_in_the_meantime_is_a_merge(github: Served) -> None:
    pull = a_pull(github)
    github.server.trouble.plan(
        Trouble(405, body={"message": "Pull Request is not mergeable"}, carried_out=True, path="/merge")
    )
    assert merged(github, pull) == Merged(str(pull.merge_sha))
    assert pull.merges == 1


@pytest.mark.parametrize("method", ["merge", "squash", "rebase"])
def test_a_pull_request_that_was_merged_in_any_way_says_the_commit_of_the_merge(
    github: Served, method: WayToMerge
) -> None:
    pull = a_pull(github)
    sha = github.site.merge(pull, method)
    assert merged(github, pull) == Merged(sha)
    assert puts(github) == []


def test_a_token_without_the_right_to_merge_is_told_what_it_needs(github: Served) -> None:
    github.site.home("acme/app").may_not_merge = True
    answer = merged(github, a_pull(github))
    assert isinstance(answer, ForgeError)
    assert (answer.kind, answer.http_status) == ("http", 403)
    assert "contents=write" in answer.message


def test_a_renamed_repository_is_followed_once_by_its_id(github: Served) -> None:
    pull = a_pull(github)
    url = github.server.url_of(pull)
    github.site.renames("acme/app", "acme/product")
    answer = github.forge.merge(ASKER, url, head_sha=pull.sha, effect_id="e")
    assert isinstance(answer, Merged)
    assert [request.path for request in github.server.requests[-2:]] == [
        "/api/v3/repos/acme/app/pulls/1/merge",
        f"/api/v3/repositories/{pull.home}/pulls/1/merge",
    ]
    assert pull.merges == 1


# --- the queue -------------------------------------------------------------------------------------------------------


def test_a_base_with_a_queue_is_not_merged_into_but_queued_for(github: Served) -> None:
    github.site.home("acme/app").has_queue = True
    first, second = a_pull(github, head="one"), a_pull(github, head="two")
    assert [merged(github, first), merged(github, second)] == [Queued(1), Queued(2)]
    assert (puts(github), github.site.merged) == ([], [])


def test_a_token_that_may_bypass_the_rules_does_not_merge_around_the_queue(github: Served) -> None:
    github.site.home("acme/app").has_queue = True
    server_of(github).bypass = True
    assert merged(github, a_pull(github)) == Queued(1)
    assert github.site.merged == []


def test_what_is_queued_stays_queued_however_often_it_is_asked_for(github: Served) -> None:
    github.site.home("acme/app").has_queue = True
    pull = a_pull(github)
    assert [merged(github, pull) for _ in range(3)] == [Queued(1)] * 3
    assert github.site.home("acme/app").line == [pull.number]


def test_already_in_the_queue_is_queued(github: Served) -> None:
    """The look came before somebody else put it there."""

    def not_yet(answer: Any) -> Any:
        answer["data"]["repository"]["pullRequest"] |= {"isInMergeQueue": False, "mergeQueueEntry": None}
        return answer

    github.site.home("acme/app").has_queue = True
    pull = a_pull(github)
    github.site.enqueues(pull)
    github.server.trouble.plan(Trouble(lie=not_yet))
    assert merged(github, pull) == Queued()


def test_a_queue_that_the_look_did_not_show_is_found_by_the_refusal(github: Served) -> None:
    def none_shown(answer: Any) -> Any:
        answer["data"]["repository"]["pullRequest"]["isMergeQueueEnabled"] = False
        return answer

    github.site.home("acme/app").has_queue = True
    github.server.trouble.plan(Trouble(lie=none_shown))
    assert merged(github, a_pull(github)) == Queued(1)


@pytest.mark.parametrize(
    ("change", "refusal"),
    [({"draft": True}, "draft"), ({"conflicts": True}, "conflict"), ({"decision": "REVIEW_REQUIRED"}, "review")],
)
def test_a_queue_that_does_not_take_it_says_why(github: Served, change: dict[str, Any], refusal: str) -> None:
    github.site.home("acme/app").has_queue = True
    pull = a_pull(github)
    for name, value in change.items():
        setattr(pull, name, value)
    answer = merged(github, pull)
    assert isinstance(answer, NotMerged)
    assert answer.refusal == refusal


def test_a_queue_is_joined_at_exactly_the_judged_head(github: Served) -> None:
    github.site.home("acme/app").has_queue = True
    pull = a_pull(github)
    judged = pull.sha
    github.site.pushes(pull)
    answer = merged(github, pull, judged)
    assert isinstance(answer, NotMerged)
    assert (answer.refusal, pull.in_queue) == ("head_moved", False)


def left(site: Served, pull: Pull) -> Accepted | ForgeError:
    return site.forge.dequeue(ASKER, site.server.url_of(pull))


def test_leaving_the_queue_also_cancels_an_automatic_merge_and_is_done_where_nothing_waits(github: Served) -> None:
    github.site.home("acme/app").has_queue = True
    pull = a_pull(github)
    github.site.enqueues(pull)
    pull.auto_merge = True
    assert left(github, pull) == Accepted()
    assert (pull.in_queue, pull.auto_merge, github.site.home("acme/app").line) == (False, False, [])
    asked = len(github.server.requests)
    assert left(github, pull) == Accepted()
    assert len(github.server.requests) == asked + 1


def test_a_pull_request_that_left_the_queue_by_itself_has_left(github: Served) -> None:
    def still_there(answer: Any) -> Any:
        answer["data"]["repository"]["pullRequest"]["isInMergeQueue"] = True
        return answer

    pull = a_pull(github)
    github.server.trouble.plan(Trouble(lie=still_there))
    assert left(github, pull) == Accepted()


def test_a_queue_that_does_not_let_go_is_an_error(github: Served) -> None:
    github.site.home("acme/app").has_queue = True
    pull = a_pull(github)
    github.site.enqueues(pull)
    refusal = {"data": None, "errors": [{"type": "UNPROCESSABLE", "message": "it is being merged"}]}
    asked = github.server.answer

    def locked(request: Any) -> Any:
        return Reply(200, refusal) if "mutation" in request.body["query"] else asked(request)

    github.server.answer = locked  # type: ignore[method-assign]
    answer = left(github, pull)
    assert isinstance(answer, ForgeError)
    assert (answer.http_status, answer.message) == (422, "it is being merged")


# --- the branch, reviews -----------------------------------------------------------------------------------------------


def updated(site: Served, pull: Pull, head: str) -> BranchUpdate | ForgeError:
    return site.forge.update_branch(ASKER, site.server.url_of(pull), head_sha=head)


def test_a_branch_behind_its_base_is_updated_and_up_to_date_is_no_failure(github: Served) -> None:
    pull = a_pull(github)
    assert updated(github, pull, pull.sha) == BranchUpdate("current", head=pull.sha)
    tip, own = github.site.moves_base("acme/app"), pull.sha
    assert updated(github, pull, own) == BranchUpdate("updated")
    assert github.site.history.commits[pull.sha].parents == (own, tip)


@pytest.mark.parametrize(("conflicts", "says"), [(True, "merge conflict"), (False, "expected head sha")])
def test_a_branch_that_conflicts_or_was_pushed_to_is_not_updated(github: Served, conflicts: bool, says: str) -> None:
    pull = a_pull(github)
    github.site.moves_base("acme/app")
    pull.conflicts = conflicts
    answer = updated(github, pull, pull.sha if conflicts else "f" * 40)
    assert isinstance(answer, BranchUpdate)
    assert answer.outcome == "refused"
    assert says in answer.reason


def test_a_token_that_may_not_update_is_an_error(github: Served) -> None:
    github.site.home("acme/app").may_not_merge = True
    answer = updated(github, pull := a_pull(github), pull.sha)
    assert isinstance(answer, ForgeError)
    assert answer.http_status == 403


def asked_again(site: Served, pull: Pull, *names: str) -> Accepted | ForgeError:
    return site.forge.request_review(ASKER, site.server.url_of(pull), reviewers=names)


def test_reviewers_are_asked_again(github: Served) -> None:
    pull = a_pull(github)
    github.site.says(pull, "ann", "CHANGES_REQUESTED")
    assert pull.asked == []
    assert asked_again(github, pull, "ann", "bob") == Accepted()
    assert pull.asked == ["ann", "bob"]


def test_one_person_who_may_not_review_does_not_keep_the_others_from_being_asked(github: Served) -> None:
    server_of(github).strangers = {"eve"}
    pull = a_pull(github)
    assert asked_again(github, pull, "eve", "ann") == Accepted()
    assert pull.asked == ["ann"]
    answer = asked_again(github, pull, "eve")
    assert isinstance(answer, ForgeError)
    assert answer.http_status == 422


def test_nobody_to_ask_is_no_request(github: Served) -> None:
    assert asked_again(github, a_pull(github)) == Accepted()
    assert github.server.requests == []


# --- proof -------------------------------------------------------------------------------------------------------------


def proved(site: Served, pull: Pull, **claim: Any) -> Proof | ForgeError:
    return site.forge.proof(ASKER, MergeClaim(GIT_URL, **{"target_branch": "main", "branch": pull.head, **claim}))


def test_a_merge_commit_is_proven_by_the_head_that_the_target_contains(github: Served) -> None:
    pull = a_pull(github)
    start = github.site.history.branches[pull.home, "main"]
    answer = proved(github, pull, head=pull.sha, base=start)
    assert isinstance(answer, Proof)
    assert answer.contained is False
    github.site.merge(pull)
    assert proved(github, pull, head=pull.sha, base=start) == Proof(True, sha=pull.sha)
    assert proved(github, pull) == Proof(True, sha=pull.sha)


@pytest.mark.parametrize("how", ["squash", "rebase"])
def test_a_squash_and_a_rebase_are_proven_by_their_commit_and_the_files(github: Served, how: WayToMerge) -> None:
    pull = a_pull(github)
    github.site.merge(pull, how)
    answer = proved(github, pull, head=pull.sha)
    assert isinstance(answer, Proof)
    assert answer.contained is False
    assert proved(github, pull, head=pull.sha, merge_commit=pull.merge_sha) == Proof(True, sha=pull.merge_sha)


def test_other_work_on_the_target_afterwards_does_not_undo_a_proof(github: Served) -> None:
    pull = a_pull(github)
    sha = github.site.merge(pull, "squash")
    history, tip = github.site.history, github.site.history.branches[pull.home, "main"]
    files = {**history.commits[tip].files, f"of-{pull.head}": "changed again"}
    history.branches[pull.home, "main"] = history.commit((tip,), files)
    assert proved(github, pull, head=pull.sha, merge_commit=sha) == Proof(True, sha=sha)


def test_a_commit_of_somebody_else_that_is_in_the_target_proves_nothing(github: Served) -> None:
    pull = a_pull(github)
    start = github.site.history.branches[pull.home, "main"]
    other = github.site.moves_base("acme/app")
    for commit in (other, start):
        answer = proved(github, pull, head=pull.sha, merge_commit=commit)
        assert isinstance(answer, Proof)
        assert (answer.contained, bool(answer.says)) == (False, True)


def test_a_branch_that_is_still_there_counts_and_not_the_head_that_an_agent_names(github: Served) -> None:
    pull = a_pull(github)
    answer = proved(github, pull, head=github.site.history.branches[pull.home, "main"])
    assert isinstance(answer, Proof)
    assert answer.contained is False


def test_a_branch_that_was_deleted_after_the_merge_is_proven_by_its_head(github: Served) -> None:
    github.site.deletes_branches = True
    pull = a_pull(github)
    github.site.merge(pull)
    assert proved(github, pull, head=pull.sha) == Proof(True, sha=pull.sha)


def test_work_that_was_in_the_target_before_it_began_is_no_merge(github: Served) -> None:
    pull = a_pull(github)
    start = github.site.history.branches[pull.home, "main"]
    github.site.history.branches[pull.home, pull.head] = start
    for base in (start, github.site.moves_base("acme/app")):
        answer = proved(github, pull, head=start, base=base)
        assert isinstance(answer, Proof)
        assert answer.contained is False


def test_a_history_without_a_common_commit_is_a_definite_no(github: Served) -> None:
    pull = a_pull(github)
    foreign = github.site.history.commit((), {"other": "root"})
    github.site.history.branches[pull.home, pull.head] = foreign
    answer = proved(github, pull)
    assert isinstance(answer, Proof)
    assert answer.contained is False


def test_a_squash_over_other_work_on_the_same_file_is_left_to_git(github: Served) -> None:
    """Its file is neither as the work left it nor as it was: it has both."""
    pull = a_pull(github)
    history, name = github.site.history, f"of-{pull.head}"
    tip = history.branches[pull.home, "main"]
    both = history.commit((tip,), {**history.commits[tip].files, name: "the work and other work"})
    history.branches[pull.home, "main"] = both
    answer = proved(github, pull, head=pull.sha, merge_commit=both)
    assert isinstance(answer, Proof)
    assert (answer.contained, "cannot tell" in answer.says) == (None, True)


def test_a_branch_that_is_gone_and_no_commit_named_is_inconclusive(github: Served) -> None:
    pull = a_pull(github)
    del github.site.history.branches[pull.home, pull.head]
    answer = proved(github, pull)
    assert isinstance(answer, Proof)
    assert answer.contained is None


def test_a_base_that_the_repository_does_not_have_is_not_compared(github: Served) -> None:
    pull = a_pull(github)
    github.site.merge(pull)
    assert proved(github, pull, head=pull.sha, base="d" * 40) == Proof(True, sha=pull.sha)


def test_a_commit_that_the_repository_does_not_have_is_not_in_its_branch(github: Served) -> None:
    pull = a_pull(github)
    del github.site.history.branches[pull.home, pull.head]
    answer = proved(github, pull, head="e" * 40)
    assert isinstance(answer, Proof)
    assert answer.contained is False


def test_a_target_branch_that_does_not_exist_contains_nothing(github: Served) -> None:
    answer = proved(github, pull := a_pull(github), head=pull.sha, target_branch="gone")
    assert isinstance(answer, Proof)
    assert (answer.contained, answer.says) == (False, "the repository has no branch gone")


def test_a_repository_that_cannot_be_seen_is_no_verdict(github: Served) -> None:
    pull = a_pull(github)
    server_of(github).hidden = {"acme/app"}
    answer = proved(github, pull, head=pull.sha)
    assert isinstance(answer, ForgeError)
    assert (answer.kind, answer.http_status, answer.repository) == ("http", 404, "acme/app")


@pytest.mark.parametrize("git_url", ["https://git.example.com/acme/app.git", "/srv/app.git", "file:///srv/app.git", ""])
def test_without_a_forge_or_a_token_there_is_nothing_to_look_with(github: Served, git_url: str) -> None:
    answer = github.forge.proof(ASKER, MergeClaim(git_url, "main", "work"))
    assert isinstance(answer, Proof)
    assert answer.contained is None
    github.secrets.stored = {}
    answer = github.forge.proof(ASKER, MergeClaim(GIT_URL, "main", "work"))
    assert isinstance(answer, Proof)
    assert (answer.contained, github.server.requests) == (None, [])


def test_a_branch_with_more_files_than_github_lists_is_inconclusive(github: Served) -> None:
    pull = a_pull(github)
    history = github.site.history
    files = {**history.commits[pull.sha].files, **{f"file-{number}": "x" for number in range(400)}}
    pull.sha = history.branches[pull.home, pull.head] = history.commit((pull.sha,), files)
    sha = github.site.merge(pull, "squash")
    answer = proved(github, pull, head=pull.sha, merge_commit=sha)
    assert isinstance(answer, Proof)
    assert answer.contained is None


def test_a_branch_with_a_removed_file_and_two_hundred_others_is_compared_whole(github: Served) -> None:
    pull = a_pull(github)
    history = github.site.history
    files = {name: text for name, text in history.commits[pull.sha].files.items() if name != "README"}
    files |= {f"file-{number}": "x" for number in range(200)}
    pull.sha = history.branches[pull.home, pull.head] = history.commit((pull.sha,), files)
    sha = github.site.merge(pull, "squash")
    assert proved(github, pull, head=pull.sha, merge_commit=sha) == Proof(True, sha=sha)
