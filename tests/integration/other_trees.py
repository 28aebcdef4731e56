"""Working trees of other code: copies of this tree in which one rule is another."""

import shutil
from pathlib import Path

from tests.integration.townctl_calls import REPOSITORY


def a_tree(tree: Path, b1: str) -> Path:
    """A copy of this tree with other code in the place of rule B1."""
    for part in ("shared", "infra"):
        shutil.copytree(REPOSITORY / part, tree / part, ignore=shutil.ignore_patterns("__pycache__", "*.svg", "*.css"))
    rules = tree / "shared/rules/__init__.py"
    text = rules.read_text(encoding="utf-8")
    assert '    Rule("B1", beads.dispatch_ready),\n' in text
    rules.write_text(text.replace('    Rule("B1", beads.dispatch_ready),\n', b1), encoding="utf-8")
    return tree
