"""What is deployed to Lambda: built for its processor, small enough, without development tools, with its code version."""

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.conventions.sources import ROOT

BUNDLE = ROOT / "build/bundle-aarch64/python"
FUNCTIONS = ROOT / "build/sam-x86_64"
VERSION = "shared/runner/code_version.txt"
VERSIONS_OF_A_BUNDLE = """\
import sys
sys.path.insert(0, sys.argv[1])
from shared.runner import code_version as it
print(it.__file__, it.code_version(), it.digest_of_core())
"""
HERE_IS_LAMBDAS_PYTHON = sys.version_info[:2] == (3, 13)
NEVER_COMPARED = importlib.util.MAGIC_NUMBER + (0b01).to_bytes(4, "little")
"""The first bytes of compiled modules that this interpreter uses without comparing them with their sources."""
AARCH64 = 0xB7
MOST_ZIPPED = 50 * 1000 * 1000
MOST_UNZIPPED = 250 * 1000 * 1000


@pytest.fixture(scope="module")
def files() -> list[Path]:
    assert (BUNDLE.parent / ".ready").exists(), "the bundle was not made; run: make build/bundle-aarch64/.ready"
    ours = [path for package in ("functions", "shared") for path in (ROOT / package).rglob("*")]
    ours = [path for path in ours if "__pycache__" not in path.parts]
    found = [path for path in (*BUNDLE.rglob("*"), *ours) if path.is_file()]
    assert len(found) > 1000
    return found


def test_every_library_in_it_is_made_for_arm(files: list[Path]) -> None:
    libraries = [path for path in files if path.suffix == ".so" or ".so." in path.name]
    assert len(libraries) >= 4
    for path in libraries:
        head = path.read_bytes()[:20]
        assert head[:4] == b"\x7fELF"
        assert int.from_bytes(head[18:20], "little") == AARCH64, path.name


def test_it_is_small_enough_to_be_uploaded(files: list[Path], tmp_path: Path) -> None:
    target = tmp_path / "bundle.zip"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as packed:
        for path in files:
            packed.write(path, str(path.relative_to(path.anchor)))
    assert target.stat().st_size < MOST_ZIPPED
    assert sum(path.stat().st_size for path in files) < MOST_UNZIPPED


def test_nothing_in_it_is_for_developers(files: list[Path]) -> None:
    packages = {path.relative_to(BUNDLE).parts[0] for path in files if path.is_relative_to(BUNDLE)}
    assert not packages & {"pytest", "moto", "cyclopts", "rich", "infra", "tests", "awslambdaric", "hypothesis"}
    assert {"boto3", "pydantic", "aws_lambda_powertools", "lz4", "fastcrc", "jwt", "sentry_sdk"} <= packages


@pytest.mark.parametrize("folder", [BUNDLE, *(FUNCTIONS / f"{name}Function/functions" for name in ("Tick", "Debug"))])
def test_nothing_in_it_is_left_to_be_compiled_by_a_cold_start(folder: Path) -> None:
    """Lambda's folder is read-only: without this, every cold start compiled five hundred modules again."""
    sources = list(folder.rglob("*.py"))
    assert sources
    left = [str(path.relative_to(folder)) for path in sources if not _is_compiled(path)]
    assert left == ([] if HERE_IS_LAMBDAS_PYTHON else [str(path.relative_to(folder)) for path in sources])


def _is_compiled(path: Path) -> bool:
    made = Path(importlib.util.cache_from_source(str(path)))
    return made.exists() and made.read_bytes()[:8] == NEVER_COMPARED


@pytest.mark.parametrize("folder", sorted(FUNCTIONS.glob("*Function")) or [FUNCTIONS], ids=lambda folder: folder.name)
def test_a_bundle_brings_the_version_of_its_own_code(folder: Path) -> None:
    """The version is computed from source files, which would prolong every cold start; so the build stores it."""
    assert folder != FUNCTIONS, "the functions were not built; run: make build-x86"
    command = [sys.executable, "-I", "-S", "-B", "-c", VERSIONS_OF_A_BUNDLE, str(folder)]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    module, stored, computed = ran.stdout.split()
    assert Path(module).is_relative_to(folder)
    assert (folder / VERSION).read_text(encoding="ascii") == f"{computed}\n"
    assert stored == computed


def test_a_checkout_stores_no_version_because_its_code_changes() -> None:
    assert not (ROOT / VERSION).exists()
