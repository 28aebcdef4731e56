"""The audit of the lock: an audit without data never looks like a clean one."""

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest

from infra.ops.audit import CLEAN, NO_DATA, SERVICES, VULNERABLE, Looked, audit, names_in

ROOT: Final = Path(__file__).parents[3]
GOOD: Final = {"name": "one", "version": "1.0", "vulns": []}
BAD: Final = {"name": "two", "version": "2.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}
SKIPPED: Final = {"name": "three", "skip_reason": "three could not be found"}
LOCKED: Final = "one==1.0 \\\n    --hash=sha256:aa\ntwo==2.0 ; sys_platform == 'linux' \\\n    --hash=sha256:bb\n"


def answer(*packages: dict[str, Any]) -> Looked:
    return Looked(json.dumps({"dependencies": list(packages)}), "")


def audited(tmp_path: Path, *answers: Looked, locked: str = LOCKED) -> tuple[int, str, list[str]]:
    """The exit code, what was said, and the services that were asked."""
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(locked)
    said: list[str] = []
    asked: list[str] = []

    def ask(service: str, _: Path) -> Looked:
        asked.append(service)
        return answers[len(asked) - 1]

    code = audit(requirements, said.append, ask=ask)
    return code, "\n".join(said), asked


def test_a_lock_without_known_vulnerabilities_is_clean(tmp_path: Path) -> None:
    code, said, asked = audited(tmp_path, answer(GOOD, {**GOOD, "name": "two"}))
    assert (code, asked) == (CLEAN, ["pypi"])
    assert "2 packages were looked up" in said


def test_a_vulnerability_is_named_with_the_version_that_mends_it(tmp_path: Path) -> None:
    code, said, _ = audited(tmp_path, answer(GOOD, BAD, SKIPPED))
    assert code == VULNERABLE
    assert "two 2.0: PYSEC-1; mended in: 2.1" in said
    assert "no data about 1 packages: three" in said


@pytest.mark.parametrize(
    "silence",
    [
        Looked("", "ConnectionError: Max retries exceeded"),
        Looked("not JSON", ""),
        Looked("[]", ""),
        Looked('{"dependencies": null}', ""),
        answer(),
        answer(SKIPPED),
    ],
    ids=["no connection", "no JSON", "another shape", "null", "nothing", "all unknown"],
)
def test_a_database_that_cannot_be_reached_is_no_data_and_the_other_one_is_asked(
    tmp_path: Path, silence: Looked
) -> None:
    code, said, asked = audited(tmp_path, silence, silence)
    assert (code, asked) == (NO_DATA, list(SERVICES))
    assert "no data: could not reach the advisory database" in said
    assert audited(tmp_path, silence, answer(GOOD))[0] == CLEAN


def test_a_package_that_the_database_does_not_know_is_no_data(tmp_path: Path) -> None:
    code, said, _ = audited(tmp_path, answer(GOOD, SKIPPED))
    assert code == NO_DATA
    assert "no data about 1 packages: three" in said
    assert "none has a known vulnerability" not in said


def test_an_empty_lock_is_no_data(tmp_path: Path) -> None:
    assert audited(tmp_path, locked="# nothing\n")[0] == NO_DATA


def test_the_names_are_those_of_the_export() -> None:
    assert names_in(LOCKED + "-e .\n# three==1\nFour_More[x]==3\n") == {"one", "two", "four-more"}


# --- pins of tools ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("tool", "variable"), [("uv", "UV_VERSION"), ("aws-sam-cli", "SAM_VERSION")])
def test_what_a_build_installs_beside_the_lock_is_pinned_by_hash(tool: str, variable: str) -> None:
    version = re.search(rf"^{variable} := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert version is not None
    pins = (ROOT / f"infra/ops/tools/{tool}.txt").read_text()
    assert f"{tool}=={version[1]} " in pins
    packages = re.split(r"\n(?=\S)", pins.strip())
    assert all("==" in each and "--hash=sha256:" in each for each in packages)
    assert "://" not in pins


def test_no_recipe_installs_a_tool_without_its_hash() -> None:
    recipes = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    installs: list[str] = [line for line in recipes.splitlines() if re.search(r"\bpip install\b", line)]
    installs = [
        line for line in installs if "dist/*.whl" not in line
    ]  # `make try-dist` installs our wheel as people do
    assert len(installs) == 4
    assert [line for line in installs if "--require-hashes" not in line] == []
