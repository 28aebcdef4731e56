"""The lock says what to install, never from where; pyproject.toml tells why and how."""

import json
import re
from typing import Final

from tests.conventions.sources import ROOT

NO_HOST: Final = "index.invalid"
AGENT_PROGRAMS: Final = (ROOT / "infra/ops/agent_programs/package-lock.json").read_text(encoding="utf-8")
LOCK: Final = (ROOT / "uv.lock").read_text(encoding="utf-8")


def test_the_lock_names_no_host() -> None:
    assert set(re.findall(r"\w+://([^/\"]+)", LOCK)) == {NO_HOST}


def test_every_file_in_the_lock_has_a_hash() -> None:
    files = [line for line in LOCK.splitlines() if re.search(r"\{ url = ", line)]
    assert files
    assert [line for line in files if not re.search(r'hash = "sha256:[0-9a-f]{64}"', line)] == []


def test_the_lock_of_the_agent_programs_names_no_host_and_has_a_hash_of_every_package() -> None:
    packages = {name: package for name, package in json.loads(AGENT_PROGRAMS)["packages"].items() if name}
    assert packages
    assert [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")] == []
    assert "://" not in AGENT_PROGRAMS
