"""What a poll of GitHub tells: which pull request it is, its checks, reviews and queue, and what could not be read."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from infra.devstack.fake_forge import Trouble
from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_site import Pull
from shared.ports.forge import Asker, Feedback, ForgeError, PullRequest, RepositoryAt
from tests.forge_sites import Served, served
from tests.towns import T

ASKER = Asker("t1", "rig-1", "github.com", repository="acme/app")
ROLLUP = ("repository", "pullRequest", "commits", "nodes", 0, "commit", "statusCheckRollup")


@pytest.fixture
def github() -> Iterator[Served]:
    with served(FakeGitHub()) as site:
        yield site


def a_pull(site: Served, **given: Any) -> Pull:
    return site.site.opens("acme/app", **given)


def read(site: Served, pull: Pull, asker: Asker = ASKER) -> PullRequest | ForgeError:
    return site.forge.pull_request(asker, site.server.url_of(pull), want_feedback=True)


def seen(site: Served, pull: Pull, asker: Asker = ASKER) -> PullRequest:
    answer = read(site, pull, asker)
    assert isinstance(answer, PullRequest), answer
    return answer


def feedback(site: Served, pull: Pull) -> Feedback:
    found = seen(site, pull).feedback
    assert found is not None
    return found


def server_of(site: Served) -> FakeGitHub:
    assert isinstance(site.server, FakeGitHub)
    return site.server


# --- which pull request it is --------------------------------------------------------------------------------------


def test_a_poll_is_one_query_whatever_it_asks_for(github: Served) -> None:
    pull = a_pull(github)
    github.site.home("up/stream")
    for name in ("build", "lint", "test"):
        github.site.runs(pull, name, "success")
    github.site.comments(pull)
    github.site.says(pull, "ann", "CHANGES_REQUESTED")
    found = seen(github, pull, Asker("t1", "rig-1", "github.com", "acme/app", "up/stream"))
    assert len(github.server.requests) == 1
    assert found.upstream_repository == RepositoryAt(str(github.site.home("up/stream").id), "up/stream")


def test_a_pull_request_of_the_rigs_own_repository_says_so_by_ids(github: Served) -> None:
    pull = a_pull(github, head="gt/toast/b1", base="release", author="ann")
    found = seen(github, pull)
    own = RepositoryAt(str(pull.home), "acme/app")
    assert found.identity is not None
    assert (found.identity.head_repository, found.identity.base_repository, found.rig_repository) == (own, own, own)
    assert (found.identity.head_branch, found.identity.base_branch, found.identity.author) == (
        "gt/toast/b1",
        "release",
        "ann",
    )


def test_a_pull_request_of_a_fork_has_the_forks_id_and_none_once_the_fork_is_deleted(github: Served) -> None:
    pull = a_pull(github, fork="eve/app")
    identity = seen(github, pull).identity
    assert identity is not None
    assert identity.head_repository == RepositoryAt(str(github.site.home("eve/app").id), "eve/app")
    assert identity.head_repository.id != identity.base_repository.id
    github.site.deletes("eve/app")
    identity = seen(github, pull).identity
    assert identity is not None
    assert identity.head_repository is None


def test_an_author_whose_account_is_gone_is_no_author(github: Served) -> None:
    identity = seen(github, a_pull(github, author=None)).identity
    assert identity is not None
    assert identity.author is None


def test_a_renamed_repository_keeps_its_id_under_the_old_address(github: Served) -> None:
    pull = a_pull(github)
    url, old = github.server.url_of(pull), str(pull.home)
    github.site.renames("acme/app", "acme/product")
    found = github.forge.pull_request(ASKER, url, want_feedback=True)
    assert isinstance(found, PullRequest)
    assert found.identity is not None
    assert found.rig_repository == found.identity.base_repository == RepositoryAt(old, "acme/product")
    assert len(github.server.requests) == 1


def test_another_repository_under_the_old_name_has_another_id(github: Served) -> None:
    pull = a_pull(github)
    url = github.server.url_of(pull)
    github.site.renames("acme/app", "acme/product")
    github.site.home("acme/app")
    answer = github.forge.pull_request(ASKER, url, want_feedback=True)
    assert isinstance(answer, ForgeError)
    assert (answer.kind, answer.http_status, answer.repository) == ("http", 404, "acme/app")


def test_a_rigs_address_that_leads_nowhere_is_said_and_does_not_fail_the_poll(github: Served) -> None:
    pull = a_pull(github)
    found = seen(github, pull, Asker("t1", "rig-1", "github.com", "acme/gone"))
    assert found.rig_repository is None
    assert found.rig_problem == "Could not resolve to a Repository with the name 'acme/gone'."
    assert found.feedback is not None


def test_a_poll_that_does_not_know_the_rigs_address_asks_for_none(github: Served) -> None:
    found = seen(github, a_pull(github), Asker("t1", "rig-1"))
    assert (found.rig_repository, found.rig_problem, found.upstream_repository) == (None, None, None)


def test_a_head_repository_that_may_not_be_read_is_not_one_that_is_gone(github: Served) -> None:
    server_of(github).refuses = {"head_repository"}
    found = seen(github, a_pull(github))
    assert found.identity is None
    assert found.state == "open"


def test_the_token_and_whose_it_is_are_said_with_what_was_seen(github: Served) -> None:
    found = seen(github, a_pull(github))
    assert (found.secret, found.is_platform) == ("platform/forges/github.com", True)
    github.secrets.stored = {"towns/t1/forges/github.com": "fake-forge-token"}
    found = seen(github, a_pull(github))
    assert (found.secret, found.is_platform) == ("towns/t1/forges/github.com", False)


# --- checks --------------------------------------------------------------------------------------------------------


def test_a_cancelled_check_and_its_green_rerun_at_one_head_are_green(github: Served) -> None:
    pull = a_pull(github)
    github.site.runs(pull, "build", "cancelled", suite=7)
    github.site.runs(pull, "build", "success", suite=8)
    assert (feedback(github, pull).has_failing_checks, feedback(github, pull).all_checks_pass) == (False, True)


def test_the_same_name_by_two_apps_is_judged_per_app(github: Served) -> None:
    pull = a_pull(github)
    github.site.runs(pull, "build", "failure", app="jenkins", suite=7)
    github.site.runs(pull, "build", "success", app="ci", suite=8)
    assert (feedback(github, pull).has_failing_checks, feedback(github, pull).all_checks_pass) == (True, False)


def test_a_rerun_that_waits_hides_the_green_run_before_it(github: Served) -> None:
    pull = a_pull(github)
    github.site.runs(pull, "build", "success", suite=7)
    github.site.runs(pull, "build", "queued", suite=8)
    assert (feedback(github, pull).has_failing_checks, feedback(github, pull).all_checks_pass) == (False, False)


def test_runs_of_an_earlier_head_do_not_count(github: Served) -> None:
    pull = a_pull(github)
    github.site.runs(pull, "build", "success")
    github.site.pushes(pull)
    assert (feedback(github, pull).has_checks, feedback(github, pull).all_checks_pass) == (False, True)


def test_what_the_base_requires_is_read_in_the_same_query(github: Served) -> None:
    pull = a_pull(github)
    github.site.home("acme/app").required = ("build", "deploy")
    github.site.runs(pull, "build", "success")
    github.site.runs(pull, "lint", "failure")
    found = feedback(github, pull)
    assert (found.required_known, found.required_missing, found.required_failing) == (True, ("deploy",), False)
    github.site.runs(pull, "deploy", "success")
    found = feedback(github, pull)
    assert (found.required_pass, found.has_failing_checks, found.merge_state_status) == (True, True, "UNSTABLE")
    server_of(github).refuses = {"required"}
    assert not feedback(github, pull).required_known


@pytest.mark.parametrize("part", ["checks", "contexts"])
def test_checks_that_the_token_may_not_read_are_neither_green_nor_failing(github: Served, part: str) -> None:
    pull = a_pull(github)
    github.site.runs(pull, "build", "failure")
    server_of(github).refuses = {part}
    found = feedback(github, pull)
    assert (found.checks_unreadable, found.has_failing_checks, found.all_checks_pass) == (True, False, False)
    server_of(github).refuses = set()
    assert not feedback(github, pull).checks_unreadable


def test_a_head_without_checks_is_not_one_whose_checks_are_refused(github: Served) -> None:
    found = feedback(github, a_pull(github))
    assert (found.checks_unreadable, found.has_checks, found.all_checks_pass) == (False, False, True)


def test_a_single_check_that_is_refused_makes_them_unreadable(github: Served) -> None:
    def hides_one(answer: Any) -> Any:
        commit = answer["data"]["repository"]["pullRequest"]["commits"]["nodes"][0]["commit"]
        commit["statusCheckRollup"]["contexts"]["nodes"][0] = None
        path = [*ROLLUP, "contexts", "nodes", 0]
        return {**answer, "errors": [{"type": "FORBIDDEN", "message": "no", "path": path}]}

    pull = a_pull(github)
    github.site.runs(pull, "build", "success")
    github.server.trouble.plan(Trouble(lie=hides_one))
    assert feedback(github, pull).checks_unreadable


def test_a_part_that_fails_inside_github_is_no_part_that_is_refused(github: Served) -> None:
    """It would be escalated at once as a token that may not read checks."""

    def fails(answer: Any) -> Any:
        answer["data"]["repository"]["pullRequest"]["commits"]["nodes"][0]["commit"]["statusCheckRollup"] = None
        problem = {"message": "Something went wrong while executing your query.", "path": list(ROLLUP)}
        return {**answer, "errors": [problem]}

    pull = a_pull(github)
    github.site.runs(pull, "build", "success")
    github.server.trouble.plan(Trouble(lie=fails))
    answer = read(github, pull)
    assert isinstance(answer, ForgeError)
    assert answer.kind == "transient"


def test_without_the_right_to_read_workflows_every_run_counts_and_that_is_said(github: Served) -> None:
    pull = a_pull(github)
    github.site.runs(pull, "build", "cancelled", suite=7)
    github.site.runs(pull, "build", "success", suite=8)
    server_of(github).refuses = {"workflows"}
    found = feedback(github, pull)
    assert (found.all_runs_counted, found.has_failing_checks, found.checks_unreadable) == (True, True, False)


def test_pages_of_check_runs_and_statuses_are_read_to_the_end(github: Served) -> None:
    pull = a_pull(github)
    for number in range(150):
        github.site.runs(pull, f"check-{number:03}", "success", suite=1)
    pull.statuses = {f"status-{number:03}": "success" for number in range(100)}
    assert feedback(github, pull).all_checks_pass
    assert len(github.server.requests) == 3
    pull.statuses["status-099"] = "failure"
    assert feedback(github, pull).has_failing_checks


# --- people, queue, branch -----------------------------------------------------------------------------------------


def test_changes_that_were_requested_without_a_thread_are_seen_where_no_review_is_required(github: Served) -> None:
    pull = a_pull(github)
    first = github.site.says(pull, "ann", "CHANGES_REQUESTED")
    github.site.says(pull, "ann", "COMMENTED")
    found = feedback(github, pull)
    assert (found.changes_requested, found.review_decision) == (True, None)
    assert [(each.id, each.author) for each in found.change_requests] == [(f"PRR_{first.id}", "ann")]
    github.site.pushes(pull)
    assert feedback(github, pull).change_requests == found.change_requests
    github.site.says(pull, "ann", "APPROVED")
    assert not feedback(github, pull).changes_requested


@pytest.mark.parametrize("ends", ["DISMISSED", "APPROVED"])
def test_only_the_newest_opinion_of_each_person_counts(github: Served, ends: Any) -> None:
    pull = a_pull(github)
    github.site.says(pull, "ann", "CHANGES_REQUESTED")
    github.site.says(pull, "bob", "CHANGES_REQUESTED")
    github.site.says(pull, "ann", ends)
    assert [each.author for each in feedback(github, pull).change_requests] == ["bob"]


def test_the_merge_queue_of_the_base_and_the_place_in_it_are_seen(github: Served) -> None:
    first, second = a_pull(github, head="one"), a_pull(github, head="two")
    assert not seen(github, second).has_queue
    github.site.home("acme/app").has_queue = True
    github.site.enqueues(first)
    github.site.enqueues(second)
    found = seen(github, second)
    assert (found.has_queue, found.in_queue, found.queue_position) == (True, True, 2)
    github.site.leaves(first)
    github.site.pushes(second)
    assert (seen(github, second).in_queue, seen(github, second).has_queue) == (False, True)


def test_an_automatic_merge_that_waits_is_a_queue(github: Served) -> None:
    pull = a_pull(github)
    pull.auto_merge = True
    assert (seen(github, pull).in_queue, seen(github, pull).has_queue) == (True, False)


def test_a_branch_behind_a_strict_base_is_behind_and_elsewhere_it_is_not(github: Served) -> None:
    pull = a_pull(github)
    github.site.moves_base("acme/app")
    assert not seen(github, pull).is_behind
    github.site.home("acme/app").is_strict = True
    assert (seen(github, pull).is_behind, seen(github, pull).mergeable_state) == (True, "behind")


def test_the_parents_of_the_head_tell_an_update_from_a_push(github: Served) -> None:
    pull = a_pull(github)
    own, tip = pull.sha, github.site.moves_base("acme/app")
    github.site.updates(pull, rebase=False)
    assert seen(github, pull).head_parents == (own, tip)


def test_a_token_that_may_merge_against_the_rules_is_known(github: Served) -> None:
    pull = a_pull(github)
    assert not seen(github, pull).may_bypass
    server_of(github).bypass = True
    assert seen(github, pull).may_bypass


def test_a_read_that_lags_behind_a_write_shows_what_was_and_then_what_is(github: Served) -> None:
    pull = a_pull(github)
    before = pull.sha
    github.site.lags(pull, 1)
    github.site.pushes(pull)
    assert [seen(github, pull).head_sha, seen(github, pull).head_sha] == [before, pull.sha]


@pytest.mark.parametrize(
    ("conflicts", "draft", "state"), [(True, True, "dirty"), (True, False, "dirty"), (False, True, "draft")]
)
def test_a_conflict_comes_before_a_draft(github: Served, conflicts: bool, draft: bool, state: str) -> None:
    pull = a_pull(github)
    pull.conflicts, pull.draft = conflicts, draft
    assert seen(github, pull).mergeable_state == state
    pull.unknown_reads = 1
    assert [seen(github, pull).mergeable_state, seen(github, pull).mergeable_state] == ["unknown", state]


def test_a_merged_pull_request_says_its_commit_and_an_open_one_no_test_merge(github: Served) -> None:
    pull = a_pull(github)
    pull.merge_sha = "a-test-merge"
    assert seen(github, pull).merge_sha is None
    github.site.merge(pull, "squash")
    assert (seen(github, pull).state, seen(github, pull).merge_sha) == ("merged", pull.merge_sha)


# --- refusals of the whole poll --------------------------------------------------------------------------------------


SSO = {"x-github-sso": "required; url=https://github.com/orgs/acme/sso?authorization_request=A1B2"}


@pytest.mark.parametrize(
    ("trouble", "kind", "status", "helps"),
    [
        (Trouble(401, body={"message": "Bad credentials"}), "http", 401, "store a new one"),
        (Trouble(403, SSO, {"message": "Resource protected by organization SAML"}), "http", 403, "single sign-on"),
        (
            Trouble(
                403, {"x-accepted-github-permissions": "pull_requests=read"}, {"message": "Resource not accessible"}
            ),
            "http",
            403,
            "pull_requests=read",
        ),
        (Trouble(404, body={"message": "Not Found"}), "http", 404, "Not Found"),
        (Trouble(503, body={"message": "unicorn"}), "transient", 503, "unicorn"),
    ],
)
def test_a_refusal_says_what_helps_and_which_token_host_and_repository_it_is_about(
    github: Served, trouble: Trouble, kind: str, status: int, helps: str
) -> None:
    pull = a_pull(github)
    github.server.trouble.plan(trouble)
    answer = read(github, pull)
    assert isinstance(answer, ForgeError)
    assert (answer.kind, answer.http_status) == (kind, status)
    assert helps in answer.message
    assert "A1B2" not in answer.message
    assert (answer.secret, answer.is_platform, answer.host, answer.repository) == (
        "platform/forges/github.com",
        True,
        "github.com",
        "acme/app",
    )


def test_without_a_token_the_first_name_that_was_looked_for_is_said(github: Served) -> None:
    github.secrets.stored = {}
    answer = read(github, a_pull(github))
    assert isinstance(answer, ForgeError)
    assert (answer.kind, answer.secret, answer.is_platform) == (
        "no_token",
        "towns/t1/rigs/rig-1/forges/github.com",
        False,
    )
    assert github.server.requests == []


def test_a_repository_that_the_token_may_not_see_is_absent(github: Served) -> None:
    pull = a_pull(github)
    server_of(github).hidden = {"acme/app"}
    answer = read(github, pull)
    assert isinstance(answer, ForgeError)
    assert (answer.kind, answer.http_status) == ("http", 404)


def _refusing(**problem: Any) -> Trouble:
    whole = {
        "data": {"repository": None, "rig": None},
        "errors": [{"path": ["repository"], "message": "no", **problem}],
    }
    return Trouble(200, body=whole)


@pytest.mark.parametrize(
    ("trouble", "kind", "status"),
    [
        (_refusing(type="FORBIDDEN", extensions={"saml_failure": True}), "http", 403),
        (_refusing(type="INSUFFICIENT_SCOPES"), "http", 403),
        (_refusing(type="RATE_LIMITED"), "rate_limited", 429),
        (_refusing(message="You have exceeded a secondary rate limit."), "rate_limited", 429),
        (_refusing(), "transient", None),
    ],
)
def test_graphql_refuses_the_whole_with_status_200(github: Served, trouble: Trouble, kind: str, status: int) -> None:
    pull = a_pull(github)
    github.server.trouble.plan(trouble)
    answer = read(github, pull)
    assert isinstance(answer, ForgeError)
    assert (answer.kind, answer.http_status) == (kind, status)
    assert ("single sign-on" in answer.message) == ("saml_failure" in str(trouble.body))


def test_the_reset_of_the_primary_limit_is_not_the_end_of_a_secondary_one(github: Served) -> None:
    soon = {"x-ratelimit-remaining": "4000", "x-ratelimit-reset": str(int(T.timestamp()) + 3000)}
    body = {"data": None, "errors": [{"message": "You have exceeded a secondary rate limit. Please wait."}]}
    github.server.trouble.plan(Trouble(200, soon, body))
    answer = read(github, a_pull(github))
    assert isinstance(answer, ForgeError)
    assert answer.retry_at == T + timedelta(minutes=1)


@pytest.mark.parametrize(
    "token", ["ghs_12345_eyJhbGci.eyJpc3Mi-Oi.J9_Zx", "github_pat_11ABCDEF0_abcdef", "ghp_0123456789abcd"]
)
def test_no_token_in_a_message_is_repeated_whichever_it_is(github: Served, token: str) -> None:
    github.server.trouble.plan(Trouble(403, body={"message": f"the token {token} may not"}))
    answer = read(github, a_pull(github))
    assert isinstance(answer, ForgeError)
    assert answer.message == "the token *** may not"


def test_a_sign_on_wall_refuses_reads_and_merges_until_the_token_is_authorized(github: Served) -> None:
    pull = a_pull(github)
    server_of(github).walls.sign_on = True
    url = github.server.url_of(pull)
    merge = github.forge.merge(ASKER, url, head_sha=pull.sha, effect_id="e")
    update = github.forge.update_branch(ASKER, url, head_sha=pull.sha)
    for answer in (read(github, pull), merge, update):
        assert isinstance(answer, ForgeError)
        assert (answer.kind, answer.http_status) == ("http", 403)
        assert "single sign-on" in answer.message
        assert "A1B2" not in answer.message
    server_of(github).walls.sign_on = False
    assert isinstance(read(github, pull), PullRequest)
    assert pull.merges == 0


def test_a_limit_that_is_used_up_ends_when_github_says_and_no_request_is_made_before(github: Served) -> None:
    pull = a_pull(github)
    until = T + timedelta(minutes=40)
    server_of(github).walls.spent_until = until
    answers = [read(github, pull) for _ in range(3)]
    assert [answer.retry_at for answer in answers if isinstance(answer, ForgeError)] == [until] * 3
    assert len(github.server.requests) == 1
    github.clock.at = until
    assert isinstance(read(github, pull), PullRequest)


@pytest.mark.parametrize(("says", "waits"), [(90, 90), (0, 60)])
def test_a_secondary_limit_ends_when_it_says_or_after_a_minute(github: Served, says: int, waits: int) -> None:
    pull = a_pull(github)
    server_of(github).walls.slow_down_seconds = says
    answer = read(github, pull)
    assert isinstance(answer, ForgeError)
    assert (answer.kind, answer.retry_at) == ("rate_limited", T + timedelta(seconds=waits))


def test_an_expired_token_is_refused_until_another_one_is_stored(github: Served) -> None:
    pull = a_pull(github)
    server_of(github).tokens = ("another",)
    answer = read(github, pull)
    assert isinstance(answer, ForgeError)
    assert (answer.http_status, answer.secret) == (401, "platform/forges/github.com")
    github.secrets.stored = {"platform/forges/github.com": "another"}
    assert isinstance(read(github, pull), PullRequest)
