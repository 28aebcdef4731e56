"""Writes the template as CloudFormation receives it: after the SAM transform, as JSON.

It runs in the environment of aws-sam-cli, because SAM's translator pins another version of pydantic than this project:
`.tools/sam-<version>/bin/python infra/devstack/transformed.py template.yaml build/template.json [NAME=VALUE ...]`

The transform reads only a few parameters itself (GradualDeployment is one); all others stay unresolved.
"""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any


class _NoManagedPolicies:
    """Gives the translator no ARNs of managed policies, because the template refers to none by name."""

    def load(self) -> dict[str, str]:
        return {}


def transformed(template: Path, parameters: dict[str, str]) -> dict[str, Any]:
    """The whole template after the transform. Parameters stay unresolved."""
    from samcli.yamlhelper import yaml_parse  # type: ignore[import-not-found]
    from samtranslator.translator.transform import transform  # type: ignore[import-not-found]

    raw = yaml_parse(template.read_text(encoding="utf-8"))
    raw.setdefault("Globals", {}).setdefault("Function", {})["CodeUri"] = "s3://bucket/key"
    found: dict[str, Any] = transform(raw, parameters, _NoManagedPolicies())
    found.setdefault("Metadata", {})["MadeFrom"] = hashlib.sha256(template.read_bytes()).hexdigest()
    return found


def main() -> None:
    """Transform one file into another."""
    source, target = (Path(name) for name in sys.argv[1:3])
    parameters = dict(each.split("=", 1) for each in sys.argv[3:])
    shown = json.dumps(transformed(source, parameters), indent=1, sort_keys=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(shown + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
