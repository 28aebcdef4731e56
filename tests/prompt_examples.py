"""The parts of docs/agents that the code makes: the table of docs/agents/prompts.md, and typical prompts for the reader.

python -m tests.prompt_examples     writes them anew
"""

from pathlib import Path
from typing import Any, Final

from shared.adapters import prompts
from shared.domain import wire
from shared.domain.merge_path import Piece, merge_path
from shared.domain.orders import StartOrder
from tests.conventions.sources import ROOT

PAGE: Final = "docs/agents/prompts.md"
_MARKS: Final = ("<!-- made by `python -m tests.prompt_examples` -->\n", "<!-- end of what is made -->\n")
_HEAD: Final = (
    "| Kind | Work | Has a pull request | Strategy | Code review | Review mode | With good work | Asks for changes by |"
)
_PR: Final = "https://github.com/acme/house/pull/7"
_CASES: Final = [
    *(
        ("work", False, is_part, strategy, review, "–")
        for strategy in ("pr", "direct")
        for is_part in (False, True)
        for review in (True, False)
        if strategy == "pr" or review
    ),
    *(
        (kind, has_pull_request, is_part, strategy, True, mode)
        for kind in ("review", "landing")
        for has_pull_request in (True, False)
        for is_part in ((False, True) if kind == "review" else (False,))
        for strategy in ("pr", "direct")
        for mode in ("rework", "comments")
    ),
]
_EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "work-pr": {"role": "polecat", "prompt_kind": "work", "merge_strategy": "pr", "opens_pr_into": "main"},
    "review-merges": {
        "role": "refinery",
        "prompt_kind": "review",
        "merge_strategy": "pr",
        "target_branch": "convoy/house/1a2b3c4d/head",
        "feature_branch": "convoy/house/1a2b3c4d/head",
        "merges_into": "convoy/house/1a2b3c4d/head",
        "asks_changes_by": "town",
        "require_clean_merge": True,
        "gates": ["make test"],
        "source": {"id": "b1", "title": "Add a door", "body": "It is blue."},
    },
    "feedback": {"role": "polecat", "prompt_kind": "pr_feedback", "merge_strategy": "pr", "pr_url": _PR},
}


def examples() -> dict[str, str]:
    """What each file must contain, by its name."""
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    before, after = page.partition(_MARKS[0])[0], page.partition(_MARKS[1])[2]
    found = {PAGE: f"{before}{_MARKS[0]}{table()}{_MARKS[1]}{after}"}
    return found | {f"docs/agents/prompts/{name}.md": example(name) for name in _EXAMPLES}


def table() -> str:
    """Every case of `merge_path`."""
    rows = [_HEAD, "|" + "---|" * _HEAD.count(" | ") + "---|"]
    for kind, has_pull_request, is_part, strategy, review, mode in _CASES:
        piece = Piece(prompt_kind=kind, target_branch="T", is_part=is_part, has_pull_request=has_pull_request)
        path = merge_path(piece, merge_strategy=strategy, code_review=review, review_mode=mode)
        does = "opens a pull request into its target" if path.opens_pr_into else "reports it, no more"
        does = "merges it into its target" if path.merges_into else does
        asks = {"town": "`request-changes`", "comments": "comments at the forge", None: "–"}[path.asks_changes_by]
        work = "part of a convoy that lands later" if is_part else "any other"
        cells = (kind, work, "yes" if has_pull_request else "no", strategy, "on" if review else "off", mode, does, asks)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def example(name: str) -> str:
    """The task of a typical order."""
    comment = {"author": "rosa", "file": "src/door.py", "line": 12, "thread": "PRRT_1", "text": "Rename it."}
    metadata = {"comments": [comment]} if name == "feedback" else {}
    given = {
        "town_id": "t1",
        "agent_id": "a1",
        "generation": 1,
        "identity": "Toast-polecat-rig-1@t1",
        "rig": {
            "id": "rig-1",
            "name": "house",
            "git_url": "https://github.com/acme/house.git",
            "default_branch": "main",
        },
        "bead": {"id": "b1", "title": "Add a door", "body": "It is blue.", "metadata": metadata},
        "branch": "gt/toast/b1",
        "target_branch": "main",
        **_EXAMPLES[name],
    }
    return prompts.prompt(wire.read(StartOrder, given))


def main() -> None:
    """Write the files anew."""
    for name, text in examples().items():
        path: Path = ROOT / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
