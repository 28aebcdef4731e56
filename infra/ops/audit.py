"""The audit of the lock: which of its packages have known vulnerabilities (`make audit`).

    python -m infra.ops.audit requirements.txt

pip-audit asks an advisory database about every package of the exported lock. Three answers are possible, and each has an exit code
of its own, so that an audit without data never looks like a clean one (`make` itself fails with 2, after a line with that code):

    0  every package was looked up, and none has a known vulnerability
    1  packages have known vulnerabilities; each is named with the versions that mend it
    3  no data: the database could not be reached, or does not know a package
"""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

CLEAN: Final = 0
VULNERABLE: Final = 1
NO_DATA: Final = 3
SERVICES: Final = ("pypi", "osv")
"""The advisory databases that pip-audit knows, in the order in which they are asked."""
_PATIENCE_SECONDS: Final = 600


@dataclass(frozen=True, slots=True)
class Looked:
    """What pip-audit printed."""

    stdout: str
    stderr: str


Ask = Callable[[str, Path], Looked]


def asked(service: str, requirements: Path) -> Looked:
    """Run pip-audit over exported requirements."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--no-deps", "--disable-pip"]
    command += ["--vulnerability-service", service, "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return Looked("", f"no answer within {_PATIENCE_SECONDS} s")
    return Looked(done.stdout, done.stderr)


def audit(requirements: Path, say: Callable[[str], object], *, ask: Ask = asked) -> int:
    """Audit the requirements, print what was found, and return the exit code."""
    wanted = names_in(requirements.read_text("utf-8"))
    if not wanted:
        say("audit: the exported lock names no package; nothing was looked up")
        return NO_DATA
    why = "the database did not answer"
    for service in SERVICES:
        looked = ask(service, requirements)
        packages = _packages(looked.stdout)
        if any("skip_reason" not in each for each in packages):
            return _judged(packages, say)
        reasons = [str(each["skip_reason"]) for each in packages] or looked.stderr.strip().splitlines()
        why = reasons[-1][:300] if reasons else why
    say(
        f"audit: no data: could not reach the advisory database, which was to be asked about {len(wanted)} packages ({why})"
    )
    say("  hint: run it where the internet can be reached; nothing is known about the packages of the lock")
    return NO_DATA


def names_in(requirements: str) -> frozenset[str]:
    """The names of the packages in exported requirements."""
    lines = (line for line in requirements.splitlines() if "==" in line and not line.startswith((" ", "#", "-")))
    return frozenset(line.partition("==")[0].partition("[")[0].strip().lower().replace("_", "-") for line in lines)


def _packages(stdout: str) -> list[dict[str, Any]]:
    """The packages in the answer of pip-audit; none if it failed."""
    try:
        found = json.loads(stdout)["dependencies"]
    except (ValueError, LookupError, TypeError):
        return []
    return found if isinstance(found, list) else []


def _judged(packages: Sequence[dict[str, Any]], say: Callable[[str], object]) -> int:
    unknown = sorted({each["name"] for each in packages if "skip_reason" in each})
    vulnerable = [(each, found) for each in packages for found in each.get("vulns", ())]
    for each, found in vulnerable:
        mends = ", ".join(found.get("fix_versions", ())) or "none yet"
        say(f"audit: {each['name']} {each['version']}: {found['id']}; mended in: {mends}")
    if unknown:
        say(f"audit: no data about {len(unknown)} packages: {', '.join(unknown)}")
    if vulnerable:
        say("  hint: make lock ARGS='--upgrade-package NAME', then make test")
        return VULNERABLE
    if unknown:
        return NO_DATA
    say(f"audit: {len(packages)} packages were looked up, none has a known vulnerability")
    return CLEAN


if __name__ == "__main__":
    sys.exit(audit(Path(sys.argv[1]), print))
