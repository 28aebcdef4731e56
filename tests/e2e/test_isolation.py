"""A function in the emulator can import only the folder that sam built for it, the runtime client, and Python itself."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra.devstack.emulator import ROOT, built, runtime_command
from tests.contracts.transformed import resources
from tests.e2e.cloud import FUNCTIONS

LOOK_AROUND = """\
import importlib, json, sys

def main(words):
    importlib.import_module(words[1].rpartition(".")[0])
    files = {module.__file__ for module in list(sys.modules.values()) if getattr(module, "__file__", None)}
    print(json.dumps({"path": sys.path, "files": sorted(files), "standard": [sys.base_prefix, sys.base_exec_prefix]}))
"""


def seen(function: str, tmp_path: Path) -> Any:
    """What the handler's interpreter has loaded, reported by a stand-in for the runtime client."""
    client = tmp_path / "awslambdaric"
    client.mkdir()
    (client / "__init__.py").write_text("")
    (client / "__main__.py").write_text(LOOK_AROUND)
    command = runtime_command(function, resources("AWS::Lambda::Function")[function]["Handler"], client=tmp_path)
    misleading = {"PYTHONPATH": str(ROOT)}  # an isolated interpreter ignores it
    shown = subprocess.run(command, check=True, cwd=tmp_path, env=misleading, capture_output=True, text=True)
    return json.loads(shown.stdout)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_loads_nothing_from_the_repository_but_what_sam_built(function: str, tmp_path: Path) -> None:
    found = seen(function, tmp_path)
    ours = [file for file in found["files"] if Path(file).is_relative_to(built(function))]
    assert any(file.endswith("/app.py") for file in ours)
    allowed = (built(function), tmp_path, *map(Path, found["standard"]))
    others = [file for file in found["files"] if not any(Path(file).is_relative_to(place) for place in allowed)]
    boot = str(ROOT / "infra/devstack/lambda_boot.py")
    assert set(others) <= {boot}
    assert not [path for path in found["path"] if "site-packages" in path or Path(path) == ROOT]
