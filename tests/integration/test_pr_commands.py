"""What `town-agent pr` does in the same way at both forges."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.devstack.fake_site import Said
from tests.integration.pr_agents import PROJECTS, PrAgent, a_pr_agent


@pytest.fixture(params=PROJECTS)
def agent(request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[PrAgent]:
    with a_pr_agent(request.param, tmp_path, capsys) as found:
        yield found


def test_create_again_finds_the_open_pull_request_and_sets_its_base(agent: PrAgent) -> None:
    first = agent.says("create", "--title", "Do it")
    assert agent.says("create", "--title", "Do it", "--base", "feature") == first
    assert [pull.base for pull in agent.forge.site.pulls] == ["feature"]


def test_update_changes_the_pull_request(agent: PrAgent) -> None:
    pull = agent.pull()
    agent.says("update", "--title", "Another title", "--base", "feature")
    assert (pull.title, pull.base) == ("Another title", "feature")


def test_a_comment_answers_a_thread_and_resolves_it_once(agent: PrAgent) -> None:
    pull = agent.pull()
    thread = agent.forge.site.comments(pull, Said("Wrong.", "ann", "app.py", 7))
    for _ in range(2):
        agent.says("comment", "--thread", thread, "--resolve", "Mended", "it.")
    assert [each.text for each in pull.said[thread]] == ["Wrong.", "Mended it."]
    assert pull.threads == {thread: True}


def test_a_comment_without_a_thread_is_about_the_whole_pull_request(agent: PrAgent) -> None:
    pull = agent.pull()
    for _ in range(2):
        agent.says("comment", "It is ready.")
    assert [each.text for each in pull.notes] == ["It is ready."]


def test_a_text_from_which_the_forge_drops_the_last_line_break_stands_there_once(agent: PrAgent) -> None:
    pull = agent.pull(author="ann")
    for words in (("comment",), ("review", "--head", pull.sha, "--approve")):
        pull.notes.clear()
        for _ in range(2):
            agent.says(*words, "As agreed.\n")
            pull.notes[:] = [replace(each, text=each.text.strip()) for each in pull.notes]
        said = [*(each.text for each in pull.notes), *(each.words.strip() for each in pull.reviews)]
        assert [text for text in said if text] == ["As agreed."], words


def test_an_approval_that_is_sent_twice_stands_there_once(agent: PrAgent) -> None:
    """GitHub takes a second approval, and GitLab kept the words of each try as a comment."""
    pull = agent.pull(author="ann")
    for _ in range(2):
        agent.says("review", "--head", pull.sha, "--approve", "As agreed.")
    assert len(pull.reviews) == 1
    assert [*(each.text for each in pull.notes), *(each.words for each in pull.reviews if each.words)] == ["As agreed."]


@pytest.mark.parametrize("author", ["ann", "worker"])
def test_a_review_of_an_older_head_is_refused(agent: PrAgent, author: str) -> None:
    agent.pull(author=author)
    code, complaint = agent.fails("review", "--head", "0" * 40, "This is wrong.")
    assert code == 2
    assert "fetch it, review what is new" in complaint


def test_a_credential_that_the_forge_refuses_is_fetched_again(agent: PrAgent) -> None:
    agent.pull()
    agent.says("status")
    agent.forge.tokens = ()
    agent.says("status")
    assert len(agent.town.issued) == 2
