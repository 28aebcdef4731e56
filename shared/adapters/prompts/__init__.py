"""The prompts of agents: templates beside this module, filled in from the start context.

    told(order)      the content of an agent's start file: the order with its prompts
    system_prompt    the agent's role: polecat.md, refinery.md, mayor.md or triage.md
    prompt           its task: one template per prompt kind
    letter(text)     a message to a running agent

Rendering is pure. It happens when an order is performed, not in the tick: otherwise every outbox row would contain the
texts, and a better sentence would change the `code_version`. A template is a `string.Template`. Text from beads, agents and
forges is cleaned, truncated and quoted before it is inserted (`quoting`), so that it can neither end its quotation nor pass
for instructions. Only `custom_instructions`, which the town's people configure, are inserted unquoted, cleaned and truncated.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Template
from typing import Any, Final

from shared.adapters.prompts.quoting import block, cleaned, line

_HERE: Final = Path(__file__).parent
_INSTRUCTIONS_LIMIT: Final = 8_000
_BODY_LIMIT: Final = 32_768
_COMMENT_LIMIT: Final = 2_000
_MOST_COMMENTS: Final = 50
_MOST_FILES: Final = 200
_MOST_RIGS: Final = 100

_TASKS: Final = {
    **{kind: kind for kind in ("work", "review", "landing", "rework", "pr_feedback", "pr_conflict", "pr_fixup")},
    "triage": "triage_task",
    "mayor": "mayor_task",
}
_ROLES: Final = frozenset({"polecat", "refinery", "mayor"})
_FACTS: Final = (
    ("Bead", "id", "bead"),
    ("Title", "title", "bead"),
    ("Labels", "labels", "bead"),
    ("Repository", "name", "rig"),
    ("Branch", "branch", ""),
    ("Target branch", "target_branch", ""),
    ("Feature branch of the convoy", "feature_branch", ""),
    ("Pull request", "pr_url", ""),
    ("Merge strategy", "merge_strategy", ""),
    ("Review mode", "review_mode", ""),
    ("Gates that must pass", "gates", ""),
    ("Flags for every git push", "git_push_flags", ""),
)
_METADATA_FACTS: Final = (
    ("Merge request bead", "mr_bead_id"),
    ("Rework for", "rework_for"),
    ("Conflicts with", "conflict_target_branch"),
)


def told(order: Mapping[str, Any]) -> dict[str, Any]:
    """The order with its prompts. Prompts that it already contains, because a control server received them, stay."""
    return {"system_prompt": system_prompt(order), "prompt": prompt(order), **order}


def letter(text: str) -> str:
    """A message as it is stored in an agent's mailbox: cleaned and truncated, because another agent may have written it."""
    shown = cleaned(text)
    return (
        shown
        if len(shown) <= _BODY_LIMIT
        else f"{shown[:_BODY_LIMIT]}\n(cut: {len(shown) - _BODY_LIMIT} more characters)"
    )


def system_prompt(order: Mapping[str, Any]) -> str:
    """The agent's role and how it reports, independent of its task."""
    role = str(order.get("role"))
    name = "triage" if order.get("prompt_kind") == "triage" else role if role in _ROLES else "polecat"
    instructions = cleaned(str(order.get("custom_instructions") or ""))[:_INSTRUCTIONS_LIMIT].strip()
    return _filled(
        name,
        identity=line(order.get("identity")),
        town=line(order.get("town_id")),
        ground_rules=_filled("ground_rules").rstrip(),
        instructions=f"\n# What the people of this town ask of you\n\n{instructions}\n" if instructions else "",
    )


def prompt(order: Mapping[str, Any]) -> str:
    """The agent's task."""
    kind = str(order.get("prompt_kind"))
    bead = _section(order, "bead")
    metadata = _section(bead, "metadata")
    return _filled(
        _TASKS.get(kind, "work"),
        facts="\n".join(_facts(order, metadata)) or "(none)",
        body=block(bead.get("body"), limit=_BODY_LIMIT),
        files=_listed(metadata.get("files"), most=_MOST_FILES),
        comments=_comments(metadata.get("comments")),
        checkpoint=block(order.get("checkpoint"), limit=_BODY_LIMIT),
        clean_merge=_CLEAN_MERGE if order.get("require_clean_merge") else "",
        rigs=_rigs(order.get("rigs")),
        message=block(order.get("message"), limit=_BODY_LIMIT),
    )


_CLEAN_MERGE: Final = (
    "The merge must be clean: if it conflicts, request changes and do not resolve the conflict yourself.\n"
)


def _facts(order: Mapping[str, Any], metadata: Mapping[str, Any]) -> list[str]:
    """One line for each known fact; unknown ones are omitted."""
    found = [(label, (_section(order, part) if part else order).get(key)) for label, key, part in _FACTS]
    found += [(label, metadata.get(key)) for label, key in _METADATA_FACTS]
    return [f"- {label}: {line(value)}" for label, value in found if value not in (None, "", [], ())]


def _comments(value: Any) -> str:
    comments = value if isinstance(value, list) else []
    shown = [block(comment, limit=_COMMENT_LIMIT) for comment in comments[:_MOST_COMMENTS]]
    return "\n\n".join([*shown, *_left_out(comments, _MOST_COMMENTS)]) or "> (none)"


def _listed(value: Any, *, most: int) -> str:
    names = value if isinstance(value, list) else []
    return "\n".join([*(f"- {line(name)}" for name in names[:most]), *_left_out(names, most)]) or "- (none)"


def _rigs(value: Any) -> str:
    rigs = [rig for rig in value if isinstance(rig, Mapping)] if isinstance(value, list) else []
    shown = [
        f"- {line(rig.get('id'))}: {line(rig.get('name'))}, branch {line(rig.get('default_branch'))}" for rig in rigs
    ]
    return "\n".join([*shown[:_MOST_RIGS], *_left_out(rigs, _MOST_RIGS)]) or "- (none)"


def _left_out(values: list[Any], most: int) -> list[str]:
    return [f"({len(values) - most} more omitted)"] if len(values) > most else []


def _section(value: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = value.get(key)
    return found if isinstance(found, Mapping) else {}


def _filled(name: str, **values: str) -> str:
    """A template filled with these values. Raises KeyError for a placeholder without a value."""
    return _template(name).substitute(values)


@cache
def _template(name: str) -> Template:
    return Template((_HERE / f"{name}.md").read_text(encoding="utf-8"))
