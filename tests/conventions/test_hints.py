"""Errors and hints go through the scrubber before anybody reads them. It must leave what we wrote ourselves as it is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.domain.secret_texts import masked
from tests.conventions.sources import ROOT

_PACKAGES = ("shared", "functions", "infra/townctl", "infra/ui", "infra/ops", "infra/agents/control_server")
_NO_PROSE = (
    ("shared/domain/secret_texts.py", "expressions that find secrets"),
    ("shared/ports/logged_texts.py", "expressions that find secrets"),
    ("shared/replay/recordings/masking.py", "expressions that find secrets"),
    ("shared/adapters/deploy_keys.py", "how a private key begins"),
    ("shared/adapters/prompts/steps.py", "prompts, which nothing scrubs"),
)
_UNSCRUBBED = ("SELECT", "UPDATE", "DELETE", "INSERT", "Bearer ", "not a key: ", "control server: it made a key")
"""How texts begin that are SQL, a header, or a key for its operator's eyes, or that end with what somebody else said."""
_ENDS_IN_OTHERS_WORDS = " got no token: "


def _texts() -> Iterator[tuple[str, str]]:
    """The place of every text of several words in the code, and the text; what is inserted into it is `x1`."""
    for package in _PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name not in dict(_NO_PROSE):
                yield from ((f"{name}:{line}", text) for line, text in _texts_in(path))


def _texts_in(path: Path) -> Iterator[tuple[int, str]]:
    tree = ast.parse(path.read_text())
    passed_over = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    passed_over |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        text = _text_of(node) if id(node) not in passed_over else None
        if text is not None and " " in text:
            yield getattr(node, "lineno", 0), text


def _text_of(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "x1" for part in node.values)
    return None


def test_the_scrubber_changes_no_text_of_ours() -> None:
    """Seen: `townctl token` said `give --secret [removed]`, and doctor `the image digest [removed] its manifest`."""
    eaten = [
        f"{place}: {text!r} becomes {masked(text)!r}"
        for place, text in _texts()
        if masked(text) != text and not text.startswith(_UNSCRUBBED) and _ENDS_IN_OTHERS_WORDS not in text
    ]
    assert eaten == []


@pytest.mark.parametrize(
    "text",
    [
        "--secret ARNxyz",
        "--secret ARN1",
        "password: FILE.2",
        "token=VALUE99",
        "Authorization: Bearer TOKEN-1",
        "secret: the-one",
        "password=is!it",
    ],
)
def test_what_only_begins_like_a_placeholder_is_removed(text: str) -> None:
    assert masked(text).endswith("[removed]")
