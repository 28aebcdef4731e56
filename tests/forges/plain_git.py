"""The commits of a fake forge as a real repository without a forge, and what git says about them."""

import subprocess
from dataclasses import replace
from pathlib import Path

from infra.devstack.fake_history import History
from shared.adapters.git_prover import LOCAL_PROTOCOLS, GitProver
from shared.ports.forge import Asker, ForgeError, MergeClaim, Proof


def proof_by_git(bare: Path, history: History, home: int, asker: Asker, claim: MergeClaim) -> Proof | ForgeError:
    """What git says to a claim about the commits of a fake forge; ids of commits are the fake's, in and out."""
    if not bare.exists():
        subprocess.run(["git", "init", "--quiet", "--bare", str(bare)], check=True)
    named = _written(bare, history, home)

    def real(sha: str | None) -> str | None:
        return None if sha is None else named.get(sha, sha)

    whole = replace(claim, head=real(claim.head), base=real(claim.base), merge_commit=real(claim.merge_commit))
    answer = GitProver(bare.with_name("clones"), protocols=LOCAL_PROTOCOLS).proof(asker, whole)
    if isinstance(answer, ForgeError):
        return answer
    fake = {value: key for key, value in named.items()}
    return Proof(answer.contained, fake.get(answer.sha or "", answer.sha), answer.says)


def _written(bare: Path, history: History, home: int) -> dict[str, str]:
    """Write all commits and the branches of a repository; returns the real id of each commit."""
    marks = {sha: number for number, sha in enumerate(history.commits, 1)}
    lines: list[str] = []
    for sha, number in marks.items():
        commit = history.commits[sha]
        lines += [f"commit refs/fake/{number}", f"mark :{number}", f"committer A <a@b> {number} +0000", "data 1", "x"]
        for verb, parent in zip(("from", *["merge"] * 9), commit.parents, strict=False):
            lines.append(f"{verb} :{marks[parent]}")
        lines.append("deleteall")
        for path, content in sorted(commit.files.items()):
            lines += [f"M 100644 inline {path}", f"data {len(content.encode())}", content]
    for (repository, branch), sha in history.branches.items():
        if repository == home:
            lines += [f"reset refs/heads/{branch}", f"from :{marks[sha]}", ""]
    stream = "\n".join(lines) + "\n"
    exported = bare / "marks"
    words = ["git", "fast-import", "--quiet", "--force", f"--export-marks={exported}"]
    subprocess.run(words, cwd=bare, input=stream.encode(), check=True)
    real = dict(line.split(" ") for line in exported.read_text(encoding="utf-8").splitlines())
    return {sha: real[f":{number}"] for sha, number in marks.items()}
