"""A fake forge with a repository of git: what it says about branches and commits is what git finds there.

GitHub compares commits and files; GitLab does so in its own words. The adapters of both read it.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.devstack import git_seed
from infra.devstack.fake_forge import Site
from infra.devstack.fake_git import GitRepository
from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_gitlab import FakeGitLab
from infra.devstack.fake_history import WayToMerge
from shared.ports.forge import Asker, MergeClaim, Proof
from tests.forge_sites import Served, served

PROJECT = "acme/app"


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return git_seed.create_repository(tmp_path / "app.git")


@pytest.fixture(params=[FakeGitHub, FakeGitLab])
def forge(request: pytest.FixtureRequest, repository: Path) -> Iterator[Served]:
    with served(request.param(Site(repository=GitRepository(repository), projects={PROJECT}))) as site:
        yield site


def git(*words: str, at: Path) -> str:
    around = {**os.environ, **git_seed.OFFLINE, **git_seed.IDENTITY}
    return subprocess.run(
        ["git", *words], check=True, cwd=at, env=around, capture_output=True, text=True
    ).stdout.strip()


def pushed(repository: Path, branch: str, file: str, text: str) -> str:
    """Somebody commits a file on a branch, which starts at main, and pushes it."""
    tree = repository.parent / f"{branch}-{file}"
    git("clone", "--quiet", str(repository), str(tree), at=repository)
    git("checkout", "--quiet", "-B", branch, at=tree)
    (tree / file).write_text(text, encoding="utf-8")
    git("add", file, at=tree)
    git("commit", "--quiet", "-m", f"Write {file}", at=tree)
    git("push", "--quiet", "origin", branch, at=tree)
    return git("rev-parse", "HEAD", at=tree)


def proved(site: Served, *, head: str, base: str | None = None, merge_commit: str | None = None) -> Proof:
    url = f"https://{site.server.host}/{PROJECT}.git"
    claim = MergeClaim(url, target_branch="main", branch="work", head=head, base=base, merge_commit=merge_commit)
    found = site.forge.proof(Asker("t1", "rig-1", site.server.host), claim)
    assert isinstance(found, Proof), found
    return found


def test_pushed_work_is_proven_once_git_has_merged_it(forge: Served, repository: Path) -> None:
    start = git("rev-parse", "main", at=repository)
    head = pushed(repository, "work", "poem.md", "A door\n")
    pull = forge.site.opens(PROJECT, head="work")
    assert pull.sha == head
    assert proved(forge, head=head, base=start).contained is False
    forge.site.merge(pull)
    assert git("show", "main:poem.md", at=repository) == "A door"
    assert proved(forge, head=head, base=start) == Proof(True, sha=head)


@pytest.mark.parametrize("how", ["squash", "rebase"])
def test_a_merge_that_makes_other_commits_is_proven_by_the_files(
    forge: Served, repository: Path, how: WayToMerge
) -> None:
    head = pushed(repository, "work", "poem.md", "A door\n")
    pushed(repository, "main", "song.md", "Somebody else's\n")
    pull = forge.site.opens(PROJECT, head="work")
    merge = forge.site.merge(pull, how)
    assert git("log", "-1", "--format=%H", "main", at=repository) == merge
    assert git("ls-tree", "--name-only", "main", at=repository).split() == [
        "README.md",
        "features",
        "poem.md",
        "song.md",
    ]
    assert proved(forge, head=head).contained is False
    assert proved(forge, head=head, merge_commit=merge) == Proof(True, sha=merge)


def test_a_branch_that_is_behind_is_brought_up_to_date_by_git(forge: Served, repository: Path) -> None:
    pushed(repository, "work", "poem.md", "A door\n")
    pull = forge.site.opens(PROJECT, head="work")
    assert not forge.site.is_behind(pull)
    tip = pushed(repository, "main", "song.md", "Somebody else's\n")
    assert forge.site.is_behind(pull)
    assert forge.site.updates(pull, rebase=isinstance(forge.server, FakeGitLab)) == git(
        "rev-parse", "work", at=repository
    )
    assert git("merge-base", "main", "work", at=repository) == tip
    assert not forge.site.is_behind(pull)


def test_branches_that_change_the_same_line_conflict_until_somebody_merges_them(
    forge: Served, repository: Path
) -> None:
    pushed(repository, "work", "poem.md", "A door\n")
    pull = forge.site.opens(PROJECT, head="work")
    pushed(repository, "main", "poem.md", "A window\n")
    assert forge.site.find(PROJECT, pull.number) is not None
    assert pull.conflicts
    with pytest.raises(LookupError, match="work conflicts with main"):
        forge.site.merge(pull)


def test_a_pull_request_needs_both_of_its_branches(forge: Served, repository: Path) -> None:
    with pytest.raises(LookupError, match="there is no branch work"):
        forge.site.opens(PROJECT, head="work")
    pushed(repository, "work", "poem.md", "A door\n")
    with pytest.raises(LookupError, match="there is no branch later"):
        forge.site.opens(PROJECT, head="work", base="later")
