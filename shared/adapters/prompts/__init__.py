"""The prompts of agents: templates beside this module, filled from the start context.

    told(order)      the content of an agent's context file: the order and its prompts
    system_prompt    who the agent is: polecat.md, refinery.md, mayor.md or triage.md
    prompt           its task: one template for each prompt kind
    letter(text)     a message to a running agent

Rendering is pure. It happens when an effect is performed and not in the tick, so that the texts are not stored in every
outbox row and a reworded prompt does not change the `code_version`. Templates are `string.Template`. Texts from beads, agents
and forges are cleaned, truncated and quoted (`quoting`) before they are inserted, so they can neither end their own quotation nor
be taken for instructions. Only `custom_instructions`, which people configure for the town, are not quoted.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Template
from typing import Any, Final

from shared.adapters.prompts.quoting import block, cleaned, line
from shared.ports.runtime import AgentOrder

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
    ("Flags of every push", "git_push_flags", ""),
)
_METADATA_FACTS: Final = (
    ("Merge request bead", "mr_bead_id"),
    ("Rework for", "rework_for"),
    ("Conflicts with", "conflict_target_branch"),
)


def told(order: AgentOrder) -> dict[str, Any]:
    """The order with its prompts. Prompts that are already in the order (a control server received them) are kept."""
    return {"system_prompt": system_prompt(order), "prompt": prompt(order), **order}


def letter(text: str) -> str:
    """A message for an agent's mailbox: cleaned and truncated, because another agent may have written it."""
    shown = cleaned(text)
    return (
        shown
        if len(shown) <= _BODY_LIMIT
        else f"{shown[:_BODY_LIMIT]}\n(cut: {len(shown) - _BODY_LIMIT} more characters)"
    )


def system_prompt(order: AgentOrder) -> str:
    """Who the agent is and how it reports, whatever its task is."""
    role = str(order.get("role"))
    name = "triage" if order.get("prompt_kind") == "triage" else role if role in _ROLES else "polecat"
    instructions = cleaned(str(order.get("custom_instructions") or ""))[:_INSTRUCTIONS_LIMIT].strip()
    return _filled(
        name,
        identity=line(order.get("identity")),
        town=line(order.get("town_id")),
        ground_rules=_filled("ground_rules").rstrip(),
        instructions=f"\n# Instructions from the people of this town\n\n{instructions}\n" if instructions else "",
    )


def prompt(order: AgentOrder) -> str:
    """The task of the agent."""
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
    "The merge must be clean: if it has conflicts, request changes and do not resolve them yourself.\n"
)


def _facts(order: AgentOrder, metadata: Mapping[str, Any]) -> list[str]:
    """One line for each fact; unknown facts are left out."""
    found = [(label, (_section(order, part) if part else order).get(key)) for label, key, part in _FACTS]
    found += [(label, metadata.get(key)) for label, key in _METADATA_FACTS]
    return [f"- {label}: {line(value)}" for label, value in found if value not in (None, "", [], ())]


def _comments(value: object) -> str:
    comments = value if isinstance(value, list) else []
    shown = [block(comment, limit=_COMMENT_LIMIT) for comment in comments[:_MOST_COMMENTS]]
    return "\n\n".join([*shown, *_left_out(comments, _MOST_COMMENTS)]) or "> (none)"


def _listed(value: object, *, most: int) -> str:
    names = value if isinstance(value, list) else []
    return "\n".join([*(f"- {line(name)}" for name in names[:most]), *_left_out(names, most)]) or "- (none)"


def _rigs(value: object) -> str:
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
    """A template filled with these values. Raises KeyError if it names a value that is missing."""
    return _template(name).substitute(values)


@cache
def _template(name: str) -> Template:
    return Template((_HERE / f"{name}.md").read_text(encoding="utf-8"))
