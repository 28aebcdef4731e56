"""What the port SourceForge promises, tested with the fake in memory and with both adapters and their fake servers."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_gitlab import FakeGitLab
from shared.ports.forge import Asker, Feedback, ForgeError, Merged, NotMerged, PullRequest, Queued
from tests.forge_sites import SAID, Change, ForgeSite, InMemory, served

ASKER = Asker("t1", "rig-1")


@pytest.fixture(params=["in memory", "github", "gitlab"])
def site(request: pytest.FixtureRequest) -> Iterator[ForgeSite]:
    if request.param == "in memory":
        yield InMemory()
        return
    with served(FakeGitHub() if request.param == "github" else FakeGitLab()) as site:
        yield site


def seen(site: ForgeSite, url: str, *, want_feedback: bool = True) -> PullRequest:
    answer = site.forge.pull_request(ASKER, url, want_feedback=want_feedback)
    assert isinstance(answer, PullRequest), answer
    return answer


def feedback(site: ForgeSite, url: str) -> Feedback:
    found = seen(site, url).feedback
    assert found is not None
    plain = replace(found, review_decision=None, merge_state_status=None, change_requests=(), has_checks=True)
    return replace(plain, required_known=False, required_failing=False, required_pass=False, required_missing=())


def merged(site: ForgeSite, url: str, head: str | None) -> Merged | Queued | NotMerged | ForgeError:
    return site.forge.merge(ASKER, url, head_sha=head, effect_id="e1")


def test_a_fresh_pull_request_without_checks_is_open_clean_and_green(site: ForgeSite) -> None:
    url = site.opens()
    found = seen(site, url)
    assert (found.state, found.mergeable_state, found.head_sha, found.merge_sha) == (
        "open",
        "clean",
        site.head(url),
        None,
    )
    assert feedback(site, url) == Feedback()


def test_feedback_is_read_only_if_it_is_wanted(site: ForgeSite) -> None:
    assert seen(site, site.opens(), want_feedback=False).feedback is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["comments"], Feedback(has_unresolved_comments=True, comments=(SAID,))),
        (["comments", "resolves"], Feedback()),
        (["fails_check"], Feedback(has_failing_checks=True, all_checks_pass=False)),
        (["fails_status"], Feedback(has_failing_checks=True, all_checks_pass=False)),
        (["passes_check"], Feedback()),
        (["starts_check"], Feedback(all_checks_pass=False)),
        (["fails_check", "passes_check"], Feedback()),
        (["wants_approval"], Feedback(awaiting_approval=True)),
        (["wants_approval", "approves"], Feedback()),
        (["drafts"], Feedback(awaiting_approval=True)),
        (
            ["comments", "fails_check", "wants_approval"],
            Feedback(
                has_unresolved_comments=True,
                has_failing_checks=True,
                all_checks_pass=False,
                awaiting_approval=True,
                comments=(SAID,),
            ),
        ),
    ],
)
def test_what_people_and_checks_say_is_feedback(site: ForgeSite, changes: list[Change], expected: Feedback) -> None:
    url = site.opens()
    for change in changes:
        site.does(url, change)
    assert feedback(site, url) == expected


def test_changes_that_are_requested_are_seen(site: ForgeSite) -> None:
    url = site.opens()
    site.does(url, "wants_changes")
    assert feedback(site, url).changes_requested


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ("conflicts", "dirty"),
        ("wants_approval", "blocked"),
        ("drafts", "draft"),
        ("falls_behind", "behind"),
        ("is_computed", "unknown"),
    ],
)
def test_what_stands_in_the_way_of_a_merge_has_one_word_everywhere(site: ForgeSite, change: Change, state: str) -> None:
    url = site.opens()
    site.does(url, change)
    assert seen(site, url).mergeable_state == state


def test_a_push_is_another_head(site: ForgeSite) -> None:
    url = site.opens()
    before = seen(site, url).head_sha
    site.does(url, "pushes")
    assert seen(site, url).head_sha == site.head(url) != before


def test_what_is_closed_is_closed_and_what_is_merged_says_as_which_commit(site: ForgeSite) -> None:
    closed, by_hand = site.opens(), site.opens()
    site.does(closed, "closes")
    site.does(by_hand, "merges")
    assert (seen(site, closed).state, seen(site, closed).feedback, seen(site, closed).merge_sha) == (
        "closed",
        None,
        None,
    )
    assert (seen(site, by_hand).state, seen(site, by_hand).feedback) == ("merged", None)
    assert seen(site, by_hand).merge_sha


def test_a_merge_of_the_judged_head_is_made_once(site: ForgeSite) -> None:
    url = site.opens()
    answer = merged(site, url, site.head(url))
    assert isinstance(answer, Merged)
    assert (seen(site, url).state, seen(site, url).merge_sha, site.merges(url)) == ("merged", answer.sha, 1)


def test_a_merge_that_was_made_before_is_not_made_again(site: ForgeSite) -> None:
    url = site.opens()
    first, again = merged(site, url, site.head(url)), merged(site, url, site.head(url))
    assert again == first
    assert site.merges(url) == 1


@pytest.mark.parametrize("change", ["pushes"])
def test_another_head_than_the_judged_one_is_not_merged(site: ForgeSite, change: Change) -> None:
    url = site.opens()
    judged = site.head(url)
    site.does(url, change)
    assert isinstance(merged(site, url, judged), NotMerged)
    assert site.merges(url) == 0


@pytest.mark.parametrize("change", ["conflicts", "drafts", "wants_approval", "wants_changes", "closes"])
def test_what_cannot_be_merged_is_an_answer(site: ForgeSite, change: Change) -> None:
    url = site.opens()
    site.does(url, change)
    assert isinstance(merged(site, url, site.head(url)), NotMerged)
    assert site.merges(url) == 0


def test_a_pull_request_that_nobody_opened_is_not_found(site: ForgeSite) -> None:
    url = site.opens().rsplit("/", 1)[0] + "/99"
    for answer in (site.forge.pull_request(ASKER, url, want_feedback=True), merged(site, url, "head")):
        assert isinstance(answer, ForgeError)
        assert (answer.kind, answer.http_status) == ("http", 404)


def test_trouble_is_an_answer_of_its_kind(site: ForgeSite) -> None:
    url = site.opens()
    found = []
    for how in ("bad_gateway", "forbidden", "unauthorized", "limited"):
        site.breaks(how, times=1)
        answer = site.forge.pull_request(ASKER, url, want_feedback=False)
        assert isinstance(answer, ForgeError), answer
        found.append((answer.kind, answer.http_status, answer.retry_at is not None))
    assert found == [
        ("transient", 502, False),
        ("http", 403, False),
        ("http", 401, False),
        ("rate_limited", 429, True),
    ]
