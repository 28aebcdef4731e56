"""How the adapters treat answers that are late, cut off, malformed, too many or untrue, and how they respect limits."""

import gzip
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.devstack.fake_forge import Trouble
from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_gitlab import FakeGitLab
from infra.devstack.fake_site import Said
from infra.devstack.github_api import contract
from shared.adapters.clock import wait_for
from shared.adapters.forge_hosts import ForgeHost
from shared.adapters.forge_limits import ForgeLimits
from shared.adapters.forges import Forges
from shared.adapters.github import queries
from shared.adapters.github.pulls import GitHubPullRequests
from shared.adapters.gitlab.pulls import GitLabMergeRequests
from shared.domain.errors import AccessDenied, SecretsUnavailable
from shared.ports.forge import (
    COMMENT_LENGTH,
    COMMENTS_AT_MOST,
    Asker,
    Feedback,
    ForgeError,
    MergeClaim,
    Merged,
    NotMerged,
    Proof,
    PullRequest,
)
from shared.ports.secrets import Secret
from tests.fakes import FakeClock, FakeSecrets
from tests.forge_sites import Served, served
from tests.patience import PATIENCE_SECONDS
from tests.raw_servers import answer, answering
from tests.towns import T

ASKER = Asker("t1", "rig-1")
SOON = T + timedelta(minutes=10)
SOON_TEXT = str(int(SOON.timestamp()))


@pytest.fixture
def github() -> Iterator[Served]:
    with served(FakeGitHub()) as site:
        yield site


@pytest.fixture
def gitlab() -> Iterator[Served]:
    with served(FakeGitLab()) as site:
        yield site


@pytest.fixture(params=["github", "gitlab"])
def either(request: pytest.FixtureRequest) -> Iterator[Served]:
    with served(FakeGitHub() if request.param == "github" else FakeGitLab()) as site:
        yield site


def read(site: Served, url: str, *, want_feedback: bool = True) -> PullRequest | ForgeError:
    return site.forge.pull_request(ASKER, url, want_feedback=want_feedback)


def error(site: Served, url: str, *, want_feedback: bool = True) -> ForgeError:
    answer = read(site, url, want_feedback=want_feedback)
    assert isinstance(answer, ForgeError), answer
    return answer


def feedback(site: Served, url: str) -> Feedback:
    answer = read(site, url)
    assert isinstance(answer, PullRequest), answer
    assert answer.feedback is not None
    return answer.feedback


# --- answers that cannot be used -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "kind", "status"),
    [
        (Trouble(500), "transient", 500),
        (Trouble(503), "transient", 503),
        (Trouble(429), "transient", 429),
        (Trouble(401), "http", 401),
        (Trouble(404), "http", 404),
        (Trouble(451), "http", 451),
        (Trouble(truncated=True), "transient", None),
        (Trouble(200, body=b""), "invalid_response", None),
        (Trouble(200, body=b"<html>"), "invalid_response", None),
        (Trouble(200, body=b"\xff\xfe"), "invalid_response", None),
        (Trouble(200, body=b"[" * 10_000), "invalid_response", None),
        (Trouble(200, body=b"[" * 100 + b"]" * 100), "invalid_response", None),
        (Trouble(403, body=b'{"message":' + b"[" * 500 + b"]" * 500 + b"}"), "http", 403),
        (Trouble(200, {"content-encoding": "gzip"}, body=gzip.compress(b" " * (32 << 20))), "invalid_response", None),
        (Trouble(200, {"x-long": "x" * 70_000}, body={}), "transient", None),
        (Trouble(202, body={}), "invalid_response", None),
        (Trouble(204, body=b""), "invalid_response", None),
        (Trouble(304, body=b""), "invalid_response", None),
        (Trouble(200, body=[]), "invalid_response", None),
        (Trouble(200, body={}), "invalid_response", None),
        (Trouble(200, body={"state": "unheard of"}), "invalid_response", None),
    ],
)
def test_an_answer_that_cannot_be_used_is_an_error_of_its_kind(
    either: Served, trouble: Trouble, kind: str, status: int | None
) -> None:
    url = either.opens()
    either.server.trouble.plan(trouble)
    answer = error(either, url, want_feedback=False)
    assert (answer.kind, answer.http_status) == (kind, status)
    assert answer.message
    assert isinstance(read(either, url), PullRequest)


def test_nobody_listening_is_a_passing_trouble(either: Served) -> None:
    url = either.opens()
    at = ForgeHost.of(
        "github" if isinstance(either.server, FakeGitHub) else "gitlab", either.server.host, "http://127.0.0.1:9/api"
    )
    nowhere = Forges(either.secrets, either.clock, hosts=[at])
    answer = nowhere.pull_request(ASKER, url, want_feedback=False)
    assert isinstance(answer, ForgeError)
    assert answer.kind == "transient"


@pytest.mark.parametrize("api", [GitHubPullRequests, GitLabMergeRequests])
def test_an_answer_that_does_not_come_in_time_is_not_waited_for(api: Any) -> None:
    with served(FakeGitHub() if api is GitHubPullRequests else FakeGitLab()) as site:
        url = site.opens()
        site.server.trouble.plan(Trouble(slow_seconds=PATIENCE_SECONDS))
        target = site.forge._hosts.target(url, ASKER)
        answer = api(ForgeLimits(site.clock), timeout_seconds=0.05).read(
            target, Secret("t"), asker=ASKER, want_feedback=False
        )
        assert isinstance(answer, ForgeError)
        assert answer.kind == "transient"
        assert wait_for(lambda: len(site.server.requests) == 1, seconds=PATIENCE_SECONDS)


def test_a_forge_that_drips_does_not_extend_the_time_of_a_look(either: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte restarted the time-out."""
    url = either.opens()
    either.server.trouble.plan(Trouble(drips=True))
    monkeypatch.setattr("shared.adapters.forge_http.TOGETHER_SECONDS", 1)
    assert error(either, url, want_feedback=False).message == "the forge took longer than 1 s over one look"


@pytest.mark.parametrize("path", ["/graphql", "/notes"])
def test_a_later_part_that_fails_leaves_no_half_picture(path: str) -> None:
    with served(FakeGitHub() if path == "/graphql" else FakeGitLab()) as site:
        url = site.opens()
        site.site.says(site.pull(url), "rosa", "CHANGES_REQUESTED")
        site.server.trouble.plan(Trouble(502, path=path))
        assert error(site, url).kind == "transient"


@pytest.mark.parametrize(
    ("problem", "kind", "status"),
    [
        ({"type": "NOT_FOUND", "message": "Could not resolve"}, "http", 404),
        ({"type": "FORBIDDEN", "message": "Resource not accessible"}, "http", 403),
        ({"type": "INSUFFICIENT_SCOPES", "message": "needs more"}, "http", 403),
        ({"type": "RATE_LIMITED", "message": "slow down"}, "rate_limited", 429),
        ({"message": "Something went wrong while executing your query."}, "transient", None),
        ({"type": "MAX_NODE_LIMIT_EXCEEDED", "message": "too much"}, "invalid_response", None),
        ("nonsense", "transient", None),
    ],
)
def test_graphql_says_no_in_an_answer_of_200(github: Served, problem: Any, kind: str, status: int | None) -> None:
    url = github.opens()
    github.server.trouble.plan(Trouble(200, body={"data": None, "errors": [problem]}, path="/graphql"))
    answer = error(github, url)
    assert (answer.kind, answer.http_status) == (kind, status)


def test_an_answer_that_is_too_large_is_not_read_to_its_end(either: Served) -> None:
    url = either.opens()
    either.server.trouble.plan(Trouble(200, body=b" " * (9 << 20)))
    assert error(either, url, want_feedback=False).message == "the answer is larger than 8 MiB"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"[" * 10_000, "the answer is nested deeper than 64 levels"),
        (b"<html>", "the answer is not JSON"),
        (b"[]", "the answer is not {name}'s: not the expected JSON value"),
        (b"{}", "the answer is not {name}'s: {place}"),
    ],
)
def test_an_answer_that_cannot_be_read_says_why(either: Served, body: bytes, says: str) -> None:
    url = either.opens()
    either.server.trouble.plan(Trouble(200, body=body))
    is_github = isinstance(either.server, FakeGitHub)
    named = {
        "name": "GitHub" if is_github else "GitLab",
        "place": "not the expected JSON value" if is_github else "data",
    }
    assert error(either, url).message == says.format(**named)


def test_the_requests_of_one_look_share_a_connection(gitlab: Served) -> None:
    url = gitlab.opens()
    gitlab.site.says(gitlab.pull(url), "rosa", "CHANGES_REQUESTED")
    assert isinstance(read(gitlab, url), PullRequest)
    contents = [reply.body for reply in gitlab.server.replies]
    with answering(*[answer(json.dumps(content).encode(), keeps=True) for content in contents]) as server:
        at = ForgeHost.of("gitlab", "gitlab.com", f"{server.url}/api/v4")
        forges = Forges(FakeSecrets({"platform/forges/gitlab.com": "a-token"}), FakeClock(T), hosts=[at])
        seen = forges.pull_request(ASKER, url, want_feedback=True)
        assert isinstance(seen, PullRequest), seen
        assert len(server.lines) == 1
    asked = [request.split(b" HTTP")[0].split(b"?")[0].rsplit(b"/", 1)[1] for request in server.heard]
    assert asked == [b"graphql", b"notes"]


def test_each_forge_is_asked_in_its_own_way(github: Served, gitlab: Served) -> None:
    for site in (github, gitlab):
        assert isinstance(read(site, site.opens()), PullRequest)
    expected = {"authorization": "token fake-forge-token", "x-github-api-version": "2022-11-28"}
    for request in github.server.requests:
        assert {name: request.headers.get(name) for name in expected} == expected
        assert request.headers["user-agent"] == "town-reconciler"
    for request in gitlab.server.requests:
        assert request.headers["private-token"] == "fake-forge-token"
        assert "authorization" not in request.headers


# --- limits --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "body", "until"),
    [
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": SOON_TEXT}, None, SOON),
        (429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": f"{SOON_TEXT}.0"}, None, SOON),
        (429, {"retry-after": "600"}, None, SOON),
        (403, {"retry-after": "Sat, 10 Jan 2026 12:10:00 GMT"}, None, SOON),
        (403, {"retry-after": "600", "x-ratelimit-remaining": "4999"}, None, SOON),
        (429, {"retry-after": "99999999"}, None, T + timedelta(days=1)),
        (403, {}, {"message": "You have exceeded a secondary rate limit."}, T + timedelta(minutes=1)),
    ],
)
def test_a_limit_is_remembered_for_its_token_and_no_request_is_made_before_its_end(
    github: Served, status: int, headers: dict[str, str], body: Any, until: datetime
) -> None:
    url = github.opens()
    github.server.trouble.plan(Trouble(status, headers, body))
    first = error(github, url)
    asked = len(github.server.requests)
    assert (first.kind, first.retry_at) == ("rate_limited", until)
    github.clock.at = until - timedelta(milliseconds=1)
    again = error(github, url)
    merging = github.forge.merge(ASKER, url, head_sha=None, effect_id="e")
    assert again.retry_at == until
    assert isinstance(merging, ForgeError)
    assert merging.kind == "rate_limited"
    assert len(github.server.requests) == asked
    github.clock.at = until
    assert isinstance(read(github, url), PullRequest)


def test_a_limit_of_gitlab_is_read_from_its_headers(gitlab: Served) -> None:
    url = gitlab.opens()
    gitlab.server.trouble.plan(Trouble(429, {"ratelimit-remaining": "0", "ratelimit-reset": SOON_TEXT}))
    assert (error(gitlab, url).kind, error(gitlab, url).retry_at) == ("rate_limited", SOON)
    assert len(gitlab.server.requests) == 1


def test_the_last_request_of_an_hour_is_answered_and_the_next_one_not_made(github: Served) -> None:
    url = github.opens()
    truth = github.server.answer

    def last_one(request: Any) -> Any:
        reply = truth(request)
        return replace(reply, headers={"x-ratelimit-remaining": "0", "x-ratelimit-reset": SOON_TEXT})

    github.server.answer = last_one  # type: ignore[method-assign]
    assert isinstance(read(github, url, want_feedback=False), PullRequest)
    assert error(github, url).retry_at == SOON
    assert len(github.server.requests) == 1


def test_the_limit_of_one_token_does_not_hold_up_another(github: Served) -> None:
    url = github.opens()
    github.server.tokens = ("first", "second")
    github.secrets.stored = {"towns/t1/forges/github.com": "first", "towns/t2/forges/github.com": "second"}
    github.server.trouble.plan(Trouble(429, {"retry-after": "60"}))
    assert error(github, url).kind == "rate_limited"
    assert isinstance(github.forge.pull_request(Asker("t2"), url, want_feedback=True), PullRequest)
    assert error(github, url).kind == "rate_limited"


@pytest.mark.parametrize("header", ["", "soon", "-5", "1e3", "\u0661", "Sat, 99 Jan"])
def test_a_limit_without_a_time_that_can_be_read_is_passing_trouble(header: str) -> None:
    limits = ForgeLimits(FakeClock(T))
    assert limits.retry_after({"retry-after": header}) is None
    assert limits.reset({"x-ratelimit-reset": header}) is None


def test_a_limit_that_ended_in_the_past_ends_now() -> None:
    limits = ForgeLimits(FakeClock(T))
    assert limits.reset({"x-ratelimit-reset": "1"}) == T
    assert limits.retry_after({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}) == T.astimezone(UTC)


# --- many, unusual, untrue ------------------------------------------------------------------------------------


def test_every_page_of_threads_and_checks_is_looked_at(github: Served) -> None:
    url = github.opens()
    pull = github.pull(url)
    pull.threads = {f"t{number}": True for number in range(250)} | {"last": False}
    pull.checks = {f"{number:03}": "success" for number in range(120)}
    pull.checks["zzz"] = "failure"
    found = feedback(github, url)
    assert (found.has_unresolved_comments, found.has_failing_checks, found.has_unchecked_runs) == (True, True, False)
    assert sum(request.path.endswith("/graphql") for request in github.server.requests) == 3


def test_one_open_thread_of_many_is_seen(gitlab: Served) -> None:
    url = gitlab.opens()
    gitlab.pull(url).threads = {f"t{number}": True for number in range(250)} | {"last": False}
    assert feedback(gitlab, url).has_unresolved_comments
    assert feedback(gitlab, url).has_unresolved_comments
    graphql = [request for request in gitlab.server.requests if request.path.endswith("/graphql")]
    assert (len(graphql), len(gitlab.server.requests)) == (2, 3)  # the threads themselves are read once for each change


def test_threads_that_cannot_be_read_are_open_all_the_same(gitlab: Served) -> None:
    url = gitlab.opens()
    gitlab.server.site.comments(gitlab.pull(url), Said("Why?"))
    vars(gitlab.server)["hides_discussions"] = True
    found = feedback(gitlab, url)
    assert (found.has_unresolved_comments, found.comments) == (True, ())


def test_what_is_told_of_comments_has_a_limit(either: Served) -> None:
    url = either.opens()
    for number in range(30):
        either.server.site.comments(either.pull(url), Said(f"{number}: " + "x" * 3_000 + "\x00\u202e"))
    comments = feedback(either, url).comments
    assert 10 < len(comments) <= COMMENTS_AT_MOST
    assert all(len(each.text) < COMMENT_LENGTH + 10 and "\x00" not in each.text for each in comments)
    assert comments[0].text.startswith("0: ")
    assert comments[0].text.endswith(" (cut)")


@pytest.mark.parametrize("what", ["threads", "checks"])
def test_where_there_is_more_than_is_read_nothing_passes(github: Served, what: str) -> None:
    url = github.opens()
    if what == "threads":
        github.pull(url).threads = {f"t{number}": True for number in range(1001)}
    else:
        github.pull(url).checks = {f"{number:04}": "success" for number in range(1001)}
    found = feedback(github, url)
    assert (found.has_unchecked_runs, found.all_checks_pass, found.has_failing_checks) == (True, False, False)


def test_legacy_statuses_count_where_there_are_no_check_runs(github: Served) -> None:
    url = github.opens()
    github.pull(url).statuses = {"ci/old": "pending"}
    assert (feedback(github, url).all_checks_pass, feedback(github, url).has_failing_checks) == (False, False)
    github.pull(url).statuses = {"ci/old": "success"}
    assert feedback(github, url).all_checks_pass
    github.pull(url).checks = {"build": "success"}
    github.pull(url).statuses = {"ci/old": "failure"}
    assert feedback(github, url).has_failing_checks


@pytest.mark.parametrize(
    ("conclusion", "fails", "passes"),
    [
        ("SUCCESS", False, True),
        ("NEUTRAL", False, True),
        ("SKIPPED", False, True),
        ("FAILURE", True, False),
        ("TIMED_OUT", True, False),
        ("CANCELLED", True, False),
        ("ACTION_REQUIRED", True, False),
        ("STARTUP_FAILURE", True, False),
        ("STALE", True, False),
        (None, False, False),
        ("A_NEW_ONE", False, False),
    ],
)
def test_each_conclusion_of_a_check_has_its_meaning(
    github: Served, conclusion: str | None, fails: bool, passes: bool
) -> None:
    def concluded(answer: Any) -> Any:
        nodes = answer["data"]["repository"]["pullRequest"]["commits"]["nodes"]
        nodes[0]["commit"]["statusCheckRollup"]["contexts"]["nodes"][0]["conclusion"] = conclusion
        return answer

    url = github.opens()
    github.pull(url).checks = {"build": "success"}
    github.server.trouble.plan(Trouble(lie=concluded, path="/graphql"))
    found = feedback(github, url)
    assert (found.has_failing_checks, found.all_checks_pass) == (fails, passes)


def test_checks_of_another_head_than_the_judged_one_neither_pass_nor_fail(github: Served) -> None:
    def moved(answer: Any) -> Any:
        answer["data"]["repository"]["pullRequest"]["headRefOid"] = "f" * 40
        return answer

    url = github.opens()
    github.pull(url).checks = {"build": "failure"}
    github.server.trouble.plan(Trouble(lie=moved, path="/graphql"))
    found = feedback(github, url)
    assert (found.all_checks_pass, found.has_failing_checks) == (False, False)


@pytest.mark.parametrize("says", [{"state": "OPEN", "merged": True}, {"state": "MERGED", "merged": False}])
def test_what_github_merged_is_merged_even_where_it_says_open_too(github: Served, says: dict[str, Any]) -> None:
    def contradicts(answer: Any) -> Any:
        answer["data"]["repository"]["pullRequest"] |= says
        return answer

    url = github.opens()
    github.does(url, "merges")
    github.server.trouble.plan(Trouble(lie=contradicts))
    answer = read(github, url)
    assert isinstance(answer, PullRequest)
    assert (answer.state, answer.merge_sha) == ("merged", github.pull(url).merge_sha)


@pytest.mark.parametrize(
    ("ways", "way"), [(("squash",), "squash"), (("rebase",), "rebase"), (("squash", "rebase"), "squash")]
)
def test_a_repository_that_wants_no_merge_commits_gets_none(github: Served, ways: tuple[str, ...], way: str) -> None:
    url = github.opens()
    github.site.ways_to_merge = ways
    answer = github.forge.merge(ASKER, url, head_sha=github.head(url), effect_id="e")
    assert isinstance(answer, Merged)
    assert [request.body.get("merge_method") for request in github.server.requests if request.method == "PUT"] == [way]


def test_a_repository_that_allows_no_way_at_all_is_not_asked_again(github: Served) -> None:
    url = github.opens()
    github.site.ways_to_merge = ()
    assert isinstance(github.forge.merge(ASKER, url, head_sha=github.head(url), effect_id="e"), NotMerged)
    assert sum(request.method == "PUT" for request in github.server.requests) == 1


@pytest.mark.parametrize("status", [403, 404, 500])
def test_a_merge_that_fails_otherwise_is_an_error(either: Served, status: int) -> None:
    url = either.opens()
    either.server.trouble.plan(Trouble(status, path="/merge"))
    answer = either.forge.merge(ASKER, url, head_sha=either.head(url), effect_id="e")
    assert isinstance(answer, ForgeError)
    assert answer.http_status == status
    assert either.merges(url) == 0


def test_the_query_asks_for_nothing_that_github_does_not_have() -> None:
    from graphql import build_schema, parse, validate

    schema = build_schema((contract.HERE / "schema.graphql").read_text(encoding="utf-8"))
    documents = [queries.LOOK, queries.MORE, queries.WAYS, queries.objects(2)]
    documents += [queries.ENQUEUE, queries.DEQUEUE, queries.DISABLE_AUTO_MERGE]
    for document in documents:
        assert validate(schema, parse(document)) == []
    assert validate(schema, parse(queries.LOOK.replace("isDraft", "isDraught"))) != []


def test_the_contract_finds_an_answer_that_github_would_not_give() -> None:
    operation = "GET /repos/{owner}/{repo}/pulls/{pull_number}"
    answer = contract.smallest(operation, 200)
    assert contract.problems_of(operation, 200, answer) == []
    assert contract.problems_of(operation, 200, {**answer, "mergeable_state": 5}) != []
    assert contract.problems_of(operation, 200, {name: answer[name] for name in answer if name != "head"}) != []


# --- tokens --------------------------------------------------------------------------------------------------


def test_the_token_of_the_rig_comes_before_the_towns_and_that_before_the_platforms(github: Served) -> None:
    url = github.opens()
    github.server.tokens = ("of the rig", "of the town", "of the platform")
    names = ["towns/t1/rigs/rig-1/forges/github.com", "towns/t1/forges/github.com", "platform/forges/github.com"]
    github.secrets.stored = dict(zip(names, github.server.tokens, strict=True))
    for name in names:
        assert isinstance(read(github, url, want_feedback=False), PullRequest)
        assert github.server.requests[-1].headers["authorization"] == f"token {github.secrets.stored.pop(name)}"
    assert error(github, url).kind == "no_token"


def test_a_rig_without_a_plain_name_has_a_token_of_its_own_all_the_same(github: Served) -> None:
    url = github.opens()
    github.secrets.stored["towns/t1/rigs/=2E=2E=2Ft2/forges/github.com"] = "fake-forge-token"
    github.secrets.stored.pop("platform/forges/github.com")
    assert isinstance(github.forge.pull_request(Asker("t1", "../t2"), url, want_feedback=False), PullRequest)
    assert error(github, url).kind == "no_token"


@pytest.mark.parametrize("trouble", [SecretsUnavailable("no answer"), AccessDenied("no")])
def test_a_token_that_cannot_be_read_is_passing_trouble_without_a_request(github: Served, trouble: Exception) -> None:
    url = github.opens()
    github.secrets.trouble = trouble
    assert error(github, url).kind == "transient"
    assert github.server.requests == []


def test_the_tests_secrets_are_secrets() -> None:
    assert repr(FakeSecrets({"a": "b"}).get("a")) == "Secret(...)"


def test_all_requests_of_one_look_share_one_budget(either: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    url = either.opens()
    monkeypatch.setattr("shared.adapters.forge_http.TOGETHER_SECONDS", 0)
    assert error(either, url).kind == "transient"
    assert either.server.requests == []


def test_a_gitlab_that_wants_a_pipeline_where_none_ran_is_not_green(gitlab: Served) -> None:
    """No pipeline at all passes, unless the project says that one must succeed."""
    url = gitlab.opens()
    assert feedback(gitlab, url).all_checks_pass
    gitlab.site.home("acme/app").required = ("build",)
    assert not feedback(gitlab, url).all_checks_pass


def test_a_gitlab_whose_last_request_this_was_is_not_asked_again(gitlab: Served) -> None:
    url = gitlab.opens()
    truth = gitlab.server.answer

    def last_one(request: Any) -> Any:
        reply = truth(request)
        return replace(reply, headers={**reply.headers, "ratelimit-remaining": "0", "ratelimit-reset": SOON_TEXT})

    gitlab.server.answer = last_one  # type: ignore[method-assign]
    assert isinstance(read(gitlab, url, want_feedback=False), PullRequest)
    assert error(gitlab, url).retry_at == SOON
    assert len(gitlab.server.requests) == 1


def test_an_earlier_end_of_a_limit_does_not_shorten_it_and_another_host_knows_nothing_of_it() -> None:
    limits, token = ForgeLimits(FakeClock(T)), Secret("one token for two hosts")
    limits.note("github.com", token, SOON)
    limits.note("github.com", token, T + timedelta(seconds=1))
    assert limits.until("github.com", token) == SOON
    assert limits.until("ghe.example", token) is None
    assert limits.until("github.com", Secret("another")) is None


def test_where_gitlab_does_not_count_threads_nothing_passes(gitlab: Served) -> None:
    url = gitlab.opens()

    def uncounted(answer: Any) -> Any:
        answer["data"]["project"]["mergeRequest"]["resolvableDiscussionsCount"] = None
        return answer

    gitlab.server.trouble.plan(Trouble(lie=uncounted))
    found = feedback(gitlab, url)
    assert (found.has_unchecked_runs, found.all_checks_pass) == (True, False)


@pytest.mark.parametrize("token", ["two\nlines", "caf\u00e9", "tab\tin it", "\u2028"])
def test_a_token_that_no_header_can_carry_is_not_sent_and_not_shown(either: Served, token: str) -> None:
    """At GitLab it raised an error that had the token in its text."""
    url = either.opens()
    either.secrets.stored = {f"platform/forges/{either.server.host}": token}
    answer = error(either, url)
    host = either.server.host
    assert (answer.kind, answer.message) == ("no_token", f"the token stored for {host} cannot be sent: store it again")
    assert (answer.secret, answer.is_platform, answer.host) == (f"platform/forges/{host}", True, host)
    assert either.server.requests == []


@pytest.mark.parametrize("said", ["a \0 in it", "half a \ud83d pair", ["a list", {"of": "things"}], None, 5])
def test_what_a_forge_says_can_be_stored(either: Served, said: Any) -> None:
    """A lone surrogate ended the performer with a UnicodeEncodeError."""
    url = either.opens()
    either.server.trouble.plan(Trouble(403, body={"message": said}))
    message = error(either, url).message
    assert message.encode()
    assert "\0" not in message


@pytest.mark.parametrize("named", ["../x?y=\u00e9 z", "main", "HEAD", "abc1234", "refs/heads/main", ""])
def test_only_a_whole_hash_is_a_commit_that_an_agent_names(github: Served, named: str) -> None:
    """Every branch contains itself, so `main` would have been merged into `main`."""
    github.opens()
    for claim in ({"head": named}, {"head": named, "merge_commit": named}, {"merge_commit": named}):
        answer = github.forge.proof(ASKER, MergeClaim("https://github.com/acme/app.git", "main", "work-0", **claim))
        assert isinstance(answer, Proof)
        assert answer.contained is False
    assert all(named not in request.path for request in github.server.requests if named)


def test_a_token_that_a_forge_says_aloud_is_not_repeated(either: Served) -> None:
    url = either.opens()
    either.server.trouble.plan(Trouble(403, body={"message": "the token fake-forge-token may not"}), times=2)
    assert error(either, url, want_feedback=False).message == "the token *** may not"
    merging = either.forge.merge(ASKER, url, head_sha=None, effect_id="e")
    assert isinstance(merging, ForgeError)
    assert merging.message == "the token *** may not"
