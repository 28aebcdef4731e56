"""Git itself is asked whether a target contains a merge: by ancestry, squash and rebase, and never trickable by names (T2)."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.git_prover import LOCAL_PROTOCOLS, GitProver
from shared.adapters.provers import Provers
from shared.ports.forge import Asker, ForgeError, MergeClaim, Proof

ASKER = Asker("t1", "rig-1")
BRANCH = "gt/toast/b1"


class Place:
    """A bare repository with `main` and the branch of a bead, and a tree to work in."""

    def __init__(self, root: Path) -> None:
        self.bare, self.tree, self.clones = root / "bare.git", root / "tree", root / "clones"
        self.bare.mkdir()
        self._run("init", "--quiet", "--bare", "--initial-branch=main", ".", at=self.bare)
        self._run("clone", "--quiet", str(self.bare), str(self.tree), at=root)
        self.commit("main", "readme", "one\n")
        self.base = self.git("rev-parse", "HEAD")
        self.git("checkout", "--quiet", "-b", BRANCH)
        self.commit(BRANCH, "work", "a\n")
        self.head = self.commit(BRANCH, "work", "a\nb\n")
        self.prover = GitProver(self.clones, protocols=LOCAL_PROTOCOLS)

    def _run(self, *words: str, at: Path) -> str:
        who = ["-c", "user.name=T", "-c", "user.email=t@town.invalid", "-c", "commit.gpgSign=false"]
        done = subprocess.run(["git", *who, *words], cwd=at, check=True, capture_output=True, text=True, env=os.environ)
        return done.stdout.strip()

    def git(self, *words: str) -> str:
        """Run git in the tree."""
        return self._run(*words, at=self.tree)

    def commit(self, branch: str, file: str, content: str) -> str:
        """Commit a file on the checked-out branch and push it."""
        (self.tree / file).write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "-m", f"{file}")
        self.git("push", "--quiet", "--force", "origin", f"HEAD:refs/heads/{branch}")
        return self.git("rev-parse", "HEAD")

    def onto_main(self, *words: str) -> str:
        """Run git on main and push the result."""
        self.git("checkout", "--quiet", "main")
        for command in words:
            self.git(*command.split())
        self.git("push", "--quiet", "origin", "main")
        return self.git("rev-parse", "HEAD")

    def look(self, **more: Any) -> Proof | ForgeError:
        """Look once."""
        return self.prover.proof(
            ASKER, MergeClaim(**{"git_url": str(self.bare), "target_branch": "main", "branch": BRANCH} | more)
        )

    def contained(self, **more: Any) -> bool | None:
        """Whether a look finds the merge."""
        found = self.look(**more)
        assert isinstance(found, Proof), found
        return found.contained


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A new place."""
    return Place(tmp_path)


def test_a_branch_that_nobody_merged_is_not_contained(place: Place) -> None:
    assert place.contained() is False
    assert place.contained(head=place.base, merge_commit=place.base) is False
    assert place.contained(merge_commit=place.head) is False


def test_a_merge_commit_is_found_and_named(place: Place) -> None:
    merge = place.onto_main(f"merge --no-ff -m x {BRANCH}")
    place.commit("main", "later", "x\n")
    for claim in ({}, {"merge_commit": merge}, {"base": place.base}, {"head": place.head}):
        assert place.look(**claim) == Proof(True, sha=merge, says="the target contains the branch")


def test_a_fast_forward_is_found(place: Place) -> None:
    place.onto_main(f"merge --ff-only {BRANCH}")
    assert place.look(base=place.base) == Proof(True, sha=place.head, says="the target contains the branch")


def test_a_branch_without_work_of_its_own_is_not_proven_by_being_in_the_target(place: Place) -> None:
    place.git("push", "--quiet", "--force", "origin", f"{place.base}:refs/heads/{BRANCH}")
    assert place.contained(base=place.base) is False


@pytest.mark.parametrize("later", [False, True])
def test_a_squash_is_found_by_its_commit_even_if_the_same_lines_changed_later(place: Place, later: bool) -> None:
    squash = place.onto_main(f"merge --squash {BRANCH}", "commit --quiet -m squashed")
    if later:
        place.commit("main", "work", "entirely\nother\n")
    assert place.contained() is False
    found = place.look(merge_commit=squash)
    assert found == Proof(True, sha=squash, says="the target contains the work of the branch")


def test_a_rebase_is_found_by_its_last_commit(place: Place) -> None:
    place.git("checkout", "--quiet", "main")
    place.commit("main", "other", "o\n")
    last = place.onto_main(f"cherry-pick {place.base}..{place.head}")
    assert place.contained(merge_commit=last) is True


def test_a_squash_that_left_a_part_out_is_not_contained(place: Place) -> None:
    place.git("checkout", "--quiet", "main")
    part = place.commit("main", "work", "a\n")
    assert place.contained(merge_commit=part) is False


def test_any_commit_of_the_target_proves_nothing_for_a_branch_in_conflict(place: Place) -> None:
    place.git("checkout", "--quiet", "main")
    other = place.commit("main", "work", "conflict\n")
    assert place.contained(merge_commit=other) is False


def test_a_squash_that_was_undone_is_not_contained(place: Place) -> None:
    squash = place.onto_main(f"merge --squash {BRANCH}", "commit --quiet -m squashed")
    place.onto_main("revert --no-edit HEAD")
    assert place.contained(merge_commit=squash) is False


def test_work_that_was_pushed_after_the_merge_is_missed(place: Place) -> None:
    place.onto_main(f"merge --no-ff -m x {BRANCH}")
    place.git("checkout", "--quiet", BRANCH)
    place.commit(BRANCH, "more", "m\n")
    assert place.contained(head=place.head) is False


def test_a_branch_that_is_gone_is_known_by_its_reported_head(place: Place) -> None:
    merge = place.onto_main(f"merge --no-ff -m x {BRANCH}")
    place.git("push", "--quiet", "origin", "--delete", BRANCH)
    assert place.contained() is None
    assert place.contained(head="HEAD") is None
    assert place.look(head=place.head) == Proof(True, sha=merge, says="the target contains the branch")


def test_a_target_that_does_not_exist_contains_nothing(place: Place) -> None:
    assert place.contained(target_branch="convoy/x/head") is False


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_paths_and_file_addresses_are_looked_at(place: Place, form: str) -> None:
    place.onto_main(f"merge --no-ff -m x {BRANCH}")
    assert place.contained(git_url=form.format(place.bare)) is True


def test_a_local_address_is_refused_where_only_remote_ones_are_allowed(place: Place) -> None:
    place.onto_main(f"merge --no-ff -m x {BRANCH}")
    place.prover = GitProver(place.clones)
    found = place.look()
    assert not isinstance(found, Proof) or found.contained is None


@pytest.mark.parametrize("name", ["--upload-pack=touch x", "-x", "a..b", "HEAD", "x:refs/heads/main", "a b", "*"])
@pytest.mark.parametrize("field", ["branch", "target_branch"])
def test_no_name_is_taken_for_an_option_or_a_refspec(place: Place, field: str, name: str) -> None:
    assert place.contained(**{field: name}) is None
    assert not (place.clones / "x").exists()


@pytest.mark.parametrize("url", ["--upload-pack=x", "-x", "ext::sh -c touch% /tmp/never", "fd::17"])
def test_no_address_runs_a_program(place: Place, url: str) -> None:
    found = place.look(git_url=url)
    assert not isinstance(found, Proof) or found.contained is None


@pytest.mark.parametrize("commit", ["--all", "HEAD", "refs/proof/target", "main", "0" * 40, "^HEAD", "@{-1}"])
def test_a_commit_is_a_whole_hash_or_unknown(place: Place, commit: str) -> None:
    assert place.contained(merge_commit=commit) is False


def test_a_repository_that_is_gone_could_not_be_looked_at(place: Place, tmp_path: Path) -> None:
    found = place.look(git_url=str(tmp_path / "nowhere.git"))
    assert isinstance(found, ForgeError)
    assert found.http_status == 404


def test_a_hook_of_the_user_and_a_damaged_clone_do_no_harm(
    place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place.onto_main(f"merge --no-ff -m x {BRANCH}")
    assert place.contained() is True
    [clone] = place.clones.glob("*.git")
    (clone / "HEAD").write_text("rubbish")
    assert place.contained() is True
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert (
        GitProver(place.clones, protocols=LOCAL_PROTOCOLS).proof(ASKER, MergeClaim(str(place.bare), "main", BRANCH))
        == place.look()
    )


def test_without_git_nobody_can_tell(place: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = GitProver(place.clones).proof(ASKER, MergeClaim(str(place.bare), "main", BRANCH))
    assert found == Proof(None, says="git is not installed where the town runs")


class Says:
    """A way to look that always gives the same answer."""

    def __init__(self, answer: Proof | ForgeError) -> None:
        self.answer = answer

    def proof(self, asker: Asker, claim: MergeClaim) -> Proof | ForgeError:
        """That answer."""
        return self.answer


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([Proof(None, says="a"), Proof(True, sha="s")], Proof(True, sha="s")),
        ([Proof(False, says="no"), Proof(True)], Proof(False, says="no")),
        ([ForgeError("http", "x", 403), Proof(True)], Proof(True)),
        ([ForgeError("http", "x", 403), Proof(None)], ForgeError("http", "x", 403)),
        ([ForgeError("no_token", "no token"), Proof(None, says="no git")], Proof(None, says="no token; no git")),
        ([], Proof(None, says="nothing is configured that could check it")),
    ],
)
def test_the_first_certain_answer_counts(answers: list[Proof | ForgeError], expected: Proof | ForgeError) -> None:
    assert Provers([Says(answer) for answer in answers]).proof(ASKER, MergeClaim("u", "main", "b")) == expected
