"""The SBOM beside the bundle: what it names, that it is valid CycloneDX, and that the same lock gives the same bytes."""

import json
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from infra.ops import sbom

ROOT: Final = Path(__file__).parents[3]
LOCK: Final[dict[str, Any]] = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))
PROJECT: Final[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
DIGEST: Final = "ab" * 32


def a_lock(*packages: dict[str, Any]) -> dict[str, Any]:
    root = {"name": "town", "version": "1.0", "source": {"editable": "."}, "dependencies": [{"name": "one"}]}
    return {"package": [root, *packages]}


def locked(name: str, version: str = "2.0", *needs: str) -> dict[str, Any]:
    file = {"url": f"https://index.invalid/{name}-{version}.whl", "hash": f"sha256:{DIGEST}"}
    return {
        "name": name,
        "version": version,
        "source": {"registry": "https://index.invalid/simple"},
        "dependencies": [{"name": each} for each in needs],
        "wheels": [file],
    }


def install(place: Path, name: str, version: str = "2.0", *about: str) -> None:
    info = place / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", *about]
    (info / "METADATA").write_text("\n".join(lines) + "\n")


def made(place: Path, *packages: dict[str, Any]) -> dict[str, Any]:
    return sbom.document(a_lock(*packages), {"project": {"name": "town", "version": "1.0"}}, place)


def test_it_names_what_is_installed_with_the_hashes_of_the_lock_the_licences_and_what_needs_what(
    tmp_path: Path,
) -> None:
    install(tmp_path, "One", "2.0", "License-Expression: MIT OR Apache-2.0")
    install(tmp_path, "two_more", "3.1", "Classifier: License :: OSI Approved :: BSD License", "License: whatever")
    found = made(tmp_path, locked("one", "2.0", "two-more", "not-here"), locked("two-more", "3.1"), locked("not-here"))

    one, two = found["components"]
    assert (one["name"], one["version"], one["purl"]) == ("one", "2.0", "pkg:pypi/one@2.0")
    assert one["licenses"] == [{"expression": "MIT OR Apache-2.0"}]
    assert two["licenses"] == [{"license": {"name": "BSD License"}}]
    [file] = one["components"]
    assert (file["name"], file["hashes"]) == ("one-2.0.whl", [{"alg": "SHA-256", "content": DIGEST}])
    assert found["dependencies"] == [
        {"ref": "pkg:pypi/one@2.0", "dependsOn": ["pkg:pypi/two-more@3.1"]},
        {"ref": "town", "dependsOn": ["pkg:pypi/one@2.0"]},
        {"ref": "pkg:pypi/two-more@3.1", "dependsOn": []},
    ]


@pytest.mark.parametrize("packages", [(), (locked("one", "9.9"),)], ids=["unknown", "another version"])
def test_what_the_lock_does_not_know_is_no_part_of_a_bundle(tmp_path: Path, packages: tuple[Any, ...]) -> None:
    install(tmp_path, "one")
    with pytest.raises(LookupError, match="not in the lock, or in another version: one"):
        made(tmp_path, *packages)


def of_this_machine() -> dict[str, Any]:
    """The SBOM of all packages of the lock that are installed here, which is more than a bundle holds."""
    import sysconfig

    return sbom.document(LOCK, PROJECT, Path(sysconfig.get_paths()["purelib"]))


def test_it_is_valid_depends_on_nothing_but_the_lock_and_names_no_index() -> None:
    text = json.dumps(of_this_machine(), sort_keys=True)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert json.dumps(of_this_machine(), sort_keys=True) == text
    assert "index.invalid" not in text
    assert "serialNumber" not in text
    assert "timestamp" not in text
    addresses = {word for word in text.split('"') if "://" in word}
    assert addresses == {"http://cyclonedx.org/schema/bom-1.6.schema.json"}


def test_every_file_has_a_hash() -> None:
    for component in of_this_machine()["components"]:
        assert component["components"] or component["name"] == PROJECT["project"]["name"], component["name"]
        for file in component["components"]:
            assert [len(each["content"]) for each in file["hashes"]] == [64]
