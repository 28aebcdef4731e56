"""Stages the sources of a wheel that makes `townctl` and `town-agent` in an environment of their own: `make dist` builds it.

The project's own dependencies are those of the Lambda bundle, where each one costs cold start. The wheel has those of the command
line, the servers and the page too, and no tests. Its versions are the pinned ones, which are tested together.
"""

import json
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("functions", "infra", "shared")
GROUPS: Final = ("ops", "agents", "ui")
_ONLY_HERE: Final = ("grafana-foundation-sdk",)
"""Makes the dashboards from the catalogue, which is done in a checkout."""
_NOT_SOURCE: Final = shutil.ignore_patterns("__pycache__", "*.pyc", "release.txt", ".*")


def stage(target: Path) -> None:
    """Put everything that the wheel contains into a new directory."""
    shutil.rmtree(target, ignore_errors=True)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, target / package, ignore=_NOT_SOURCE)
    shutil.copy(ROOT / "README.md", target)
    with (ROOT / "pyproject.toml").open("rb") as file:
        (target / "pyproject.toml").write_text(project_of(tomllib.load(file)), encoding="utf-8")


def project_of(known: dict[str, Any]) -> str:
    """The pyproject.toml of the wheel."""
    project, groups = known["project"], known["dependency-groups"]
    wanted = [*project["dependencies"], *(each for group in GROUPS for each in groups[group] if isinstance(each, str))]
    needed = [each for each in wanted if not each.startswith(_ONLY_HERE)]
    scripts = "\n".join(f"{name} = {json.dumps(path)}" for name, path in sorted(project["scripts"].items()))
    return f"""\
[project]
name = {json.dumps(project["name"])}
version = {json.dumps(project["version"])}
description = {json.dumps(project["description"])}
readme = "README.md"
requires-python = {json.dumps(project["requires-python"])}
dependencies = {json.dumps(needed, indent=4)}

[project.scripts]
{scripts}

[build-system]
requires = {json.dumps(known["build-system"]["requires"])}
build-backend = {json.dumps(known["build-system"]["build-backend"])}

[tool.uv.build-backend]
module-root = ""
module-name = {json.dumps(PACKAGES)}
"""


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
