"""Which repository an address names, and whether a pull request is one of its own."""

import pytest

from shared.domain.repositories import (
    PullRequestAddress,
    Repository,
    names_repository,
    pull_request_at,
    repository_at,
)

APP = Repository("github.com", "acme", "app")


def repository_of(pr_url: str) -> Repository | None:
    address = pull_request_at(pr_url)
    return None if address is None else address.repository


def same_repository(pr_url: str, git_url: str) -> bool:
    """Whether both addresses name one repository."""
    of_pull_request = repository_of(pr_url)
    return of_pull_request is not None and of_pull_request == repository_at(git_url)


@pytest.mark.parametrize(
    "git_url",
    [
        "https://github.com/acme/app.git",
        "https://github.com/acme/app",
        "https://github.com/acme/app/",
        "https://github.com/acme/app.git/",
        "http://github.com/acme/app",
        "HTTPS://GitHub.com/Acme/App.GIT",
        "https://x-access-token:secret@github.com/acme/app.git",
        "https://github.com:443/acme/app.git",
        "git@github.com:acme/app.git",
        "git@github.com:acme/app",
        "git@github.com:/acme/app.git",
        "github.com:acme/app.git",
        "ssh://git@github.com/acme/app.git",
        "ssh://git@github.com:22/acme/app",
        "git://github.com/acme/app.git",
        " https://github.com/acme/app.git\n",
    ],
)
def test_one_repository_has_many_addresses(git_url: str) -> None:
    assert repository_at(git_url) == APP
    assert same_repository("https://github.com/acme/app/pull/1", git_url)


@pytest.mark.parametrize(
    "git_url",
    [
        "",
        "acme/app",
        "/srv/git/acme/app.git",
        "file:///srv/git/acme/app.git",
        "https://github.com/app.git",
        "https://github.com/acme/../app.git",
        "https://github.com/acme//app.git",
        "https://github.com/acme/.git",
        "https://github.com/acme/%61pp.git",
        "https://github.com/acme/app.git?ref=1",
        "https://github.com\\@evil.example/acme/app",
        "https:///acme/app",
        "ext::sh -c whoami",
    ],
)
def test_an_address_that_leaves_a_doubt_names_no_repository(git_url: str) -> None:
    assert repository_at(git_url) is None
    assert not same_repository("https://github.com/acme/app/pull/1", git_url)


@pytest.mark.parametrize(
    ("pr_url", "repository"),
    [
        ("https://github.com/acme/app/pull/12", APP),
        ("https://GITHUB.com/Acme/App/pull/12/", APP),
        ("https://github.com/acme/app/pull/12/files", APP),
        ("https://github.com/acme/app/pull/12?w=1#discussion", APP),
        ("https://github.com/acme/pull/pull/12", Repository("github.com", "acme", "pull")),
        ("https://ghe.example:8443/acme/app/pull/1", Repository("ghe.example", "acme", "app")),
        ("https://gitlab.com/acme/app/-/merge_requests/3", Repository("gitlab.com", "acme", "app")),
        ("https://gitlab.com/acme/team/app/-/merge_requests/3", Repository("gitlab.com", "acme/team", "app")),
        ("https://gitlab.com/acme/app/merge_requests/3", Repository("gitlab.com", "acme", "app")),
        ("https://github.com@evil.example/acme/app/pull/1", Repository("evil.example", "acme", "app")),
        ("http://github.com/acme/app/pull/12", None),
        ("https://github.com/acme/app", None),
        ("https://github.com/acme/app/pull/", None),
        ("https://github.com/acme/app/pull/one", None),
        ("https://github.com/acme/app/issues/12", None),
        ("https://github.com/app/pull/12", None),
        ("https://github.com/evil/app/../../acme/app/pull/1", None),
        ("https://evil.example/?/github.com/acme/app/pull/1", None),
        ("https://evil.example#@github.com/acme/app/pull/1", None),
        ("", None),
    ],
)
def test_a_pull_request_names_its_repository(pr_url: str, repository: Repository | None) -> None:
    assert repository_of(pr_url) == repository


@pytest.mark.parametrize(
    "git_url",
    [
        "https://github.com/acme/other.git",
        "https://github.com/other/app.git",
        "https://gitlab.com/acme/app.git",
        "https://github.com/acme/app-2.git",
        "git@gitlab.com:acme/team/app.git",
    ],
)
def test_host_owner_and_name_must_all_agree(git_url: str) -> None:
    assert repository_at(git_url) is not None
    assert not same_repository("https://github.com/acme/app/pull/1", git_url)


def test_two_unreadable_addresses_are_not_the_same_repository() -> None:
    assert not same_repository("nonsense", "nonsense")


def test_a_pull_request_has_a_number_and_says_where_it_claims_to_be() -> None:
    found = pull_request_at("https://user@GHE.example:8443/Acme/App/pull/12/files")
    app = Repository("ghe.example", "acme", "app")
    assert found == PullRequestAddress(app, number=12, authority="user@ghe.example:8443", kind="github")


@pytest.mark.parametrize("style", ["-/merge_requests", "merge_requests"])
def test_a_merge_request_is_one_of_gitlab(style: str) -> None:
    found = pull_request_at(f"https://gitlab.com/acme/team/app/{style}/3")
    app = Repository("gitlab.com", "acme/team", "app")
    assert found == PullRequestAddress(app, number=3, authority="gitlab.com", kind="gitlab")


@pytest.mark.parametrize("number", ["0", "01", "-1", "12345678901", "\u0661", "1e3", "1\n2"])
def test_a_number_is_a_number(number: str) -> None:
    assert pull_request_at(f"https://github.com/acme/app/pull/{number}") is None


def test_a_letter_that_only_looks_like_one_names_no_repository() -> None:
    kelvin = "\u212a"
    assert kelvin.lower() == "k"
    assert repository_of(f"https://github.com/acme/{kelvin}it/pull/1") is None
    assert not same_repository(f"https://github.com/acme/{kelvin}it/pull/1", "https://github.com/acme/kit.git")
    assert repository_at(f"https://github.com/acme/{kelvin}it.git") is None


def test_a_repository_is_named_by_its_address_or_as_owner_and_name() -> None:
    named = ["acme/app", "Acme/App", "group/sub/app", "https://github.com/acme/app.git", "git@github.com:acme/app"]
    assert [text for text in named if not names_repository(text)] == []
    unnamed = ["", "app", "/acme/app", "acme/..", "not a repository", "https://github.com/"]
    assert [text for text in unnamed if names_repository(text)] == []
