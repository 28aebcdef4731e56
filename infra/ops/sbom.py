"""The SBOM of the Lambda bundle: what is in it, as a CycloneDX 1.6 document.

    python infra/ops/sbom.py build/bundle-aarch64/python uv.lock pyproject.toml > build/bundle-aarch64/sbom.cdx.json

The packages are those that were installed into the bundle. The lock adds the SHA-256 of every file from which one may have been
installed (the build verifies them), and what each package depends on; the packages themselves name their licences. The document
depends on nothing else: it holds no time and no random number, so the same lock gives the same bytes. It names no package index.

It needs nothing but Python, because `make build` runs it without the environment of developers.
"""

import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

_SPDX_EXPRESSION = re.compile(r"[A-Za-z0-9.+() -]{1,200}")


def document(lock: Mapping[str, Any], project: Mapping[str, Any], installed: Path) -> dict[str, Any]:
    """The SBOM of the packages that are installed in a directory. Raises LookupError if one of them is not in the lock."""
    locked = {package["name"]: package for package in lock["package"]}
    found = sorted(_installed(installed).items())
    unknown = [name for name, each in found if locked.get(name, {}).get("version") != each.version]
    if unknown:
        raise LookupError(
            f"these packages of the bundle are not in the lock, or in another version: {', '.join(unknown)}"
        )
    names = {name for name, _ in found}
    root = project["project"]["name"]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": root,
                "version": project["project"]["version"],
            }
        },
        "components": [_component(locked[name], each) for name, each in found],
        "dependencies": [
            {
                "ref": _ref(name, locked),
                "dependsOn": sorted(_ref(each, locked) for each in _needs(locked[name]) & names),
            }
            for name in sorted({root, *names} & locked.keys())
        ],
    }


def _installed(place: Path) -> dict[str, Distribution]:
    return {_normal(each.metadata["Name"]): each for each in distributions(path=[str(place)])}


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _component(package: Mapping[str, Any], installed: Distribution) -> dict[str, Any]:
    name, version = package["name"], package["version"]
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _purl(name, version),
        "name": name,
        "version": version,
        "purl": _purl(name, version),
        "components": [
            {
                "type": "file",
                "bom-ref": f"{_purl(name, version)}#{file}",
                "name": file,
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }
            for file, digest in sorted(_files(package))
        ],
    }
    licences = list(_licences(installed))
    return component | ({"licenses": licences} if licences else {})


def _files(package: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The files of a package in the lock, with their SHA-256."""
    for file in (*([package["sdist"]] if "sdist" in package else []), *package.get("wheels", ())):
        yield file["url"].rpartition("/")[2], file["hash"].removeprefix("sha256:")


def _licences(installed: Distribution) -> Iterator[dict[str, Any]]:
    """What a package says of its licence: an expression, else classifiers, else a short name of its own."""
    given = installed.metadata
    if "License-Expression" in given and _SPDX_EXPRESSION.fullmatch(given["License-Expression"]):
        yield {"expression": given["License-Expression"]}
        return
    classified = [
        each.rpartition(" :: ")[2] for each in given.get_all("Classifier", []) if each.startswith("License ::")
    ]
    own = given["License"].strip() if "License" in given else ""
    short = [own] if own and "\n" not in own and len(own) <= 100 else []
    for name in sorted(set(classified)) or short:
        yield {"license": {"name": name}}


def _needs(package: Mapping[str, Any]) -> set[str]:
    return {each["name"] for each in package.get("dependencies", ())}


def _ref(name: str, locked: Mapping[str, Any]) -> str:
    """The reference of a package; of the project itself its name."""
    package = locked[name]
    return (
        name if "editable" in package["source"] or "virtual" in package["source"] else _purl(name, package["version"])
    )


def _purl(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"


def main() -> None:
    """Print the SBOM of the directory, lock and project file in the arguments."""
    installed, lock, project = (Path(word) for word in sys.argv[1:4])
    made = document(tomllib.loads(lock.read_text("utf-8")), tomllib.loads(project.read_text("utf-8")), installed)
    json.dump(made, sys.stdout, indent=2, sort_keys=True)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
