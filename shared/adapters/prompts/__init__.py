"""The prompts of agents: templates beside this module, filled from the start context.

    told(order)      the content of an agent's context file: the order and its prompts
    system_prompt    who the agent is: polecat.md, refinery.md, mayor.md or triage.md
    prompt           its task: one template for each prompt kind; `steps` says what to do, with every command
    letter(text)     a message to a running agent

Rendering is pure. It happens when an effect is performed and not in the tick, so that the texts are not stored in every
outbox row and a reworded prompt does not change the `code_version`. Templates are `string.Template`. Texts from beads, agents
and forges are cleaned, truncated and quoted (`shared.domain.quoting`) before they are inserted, so they can neither end their
own quotation nor be taken for instructions. In commands each is one quoted word (`commands`). Only `custom_instructions`, which
people configure for the town, are not quoted. Of messages the town quotes what others wrote when it composes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from string import Template
from typing import Final

from shared.adapters.prompts.commands import option, script
from shared.adapters.prompts.steps import steps
from shared.domain.notes import BranchNotes, Metadata
from shared.domain.orders import OrderedBead, OrderedRig, StartOrder
from shared.domain.quoting import block, cleaned, line

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
_METADATA_FACTS: Final = (
    ("Merge request bead", BranchNotes.mr_bead_id),
    ("Rework for", BranchNotes.rework_for),
    ("Conflicts with", BranchNotes.conflict_target_branch),
)


def told(order: StartOrder) -> StartOrder:
    """The order with its prompts. Prompts that are already in the order (a control server received them) are kept."""
    return replace(
        order,
        system_prompt=system_prompt(order) if order.system_prompt is None else order.system_prompt,
        prompt=prompt(order) if order.prompt is None else order.prompt,
    )


def letter(text: str) -> str:
    """A message for an agent's mailbox: cleaned and truncated, because another agent may have written it."""
    shown = cleaned(text)
    return (
        shown
        if len(shown) <= _BODY_LIMIT
        else f"{shown[:_BODY_LIMIT]}\n(cut: {len(shown) - _BODY_LIMIT} more characters)"
    )


def system_prompt(order: StartOrder) -> str:
    """Who the agent is and how it reports, whatever its task is."""
    name = "triage" if order.prompt_kind == "triage" else order.role.value
    instructions = cleaned(order.custom_instructions or "")[:_INSTRUCTIONS_LIMIT].strip()
    return _filled(
        name,
        identity=line(order.identity),
        town=line(order.town_id),
        ground_rules=_filled("ground_rules").rstrip(),
        ending=_filled("ending").rstrip(),
        instructions=f"\n# Instructions from the people of this town\n\n{instructions}\n" if instructions else "",
    )


def prompt(order: StartOrder) -> str:
    """The task of the agent."""
    metadata = {} if order.bead is None else order.bead.metadata
    return _filled(
        _TASKS.get(order.prompt_kind or "", "work"),
        facts="\n".join(_facts(order, metadata)) or "(none)",
        body=block(None if order.bead is None else order.bead.body, limit=_BODY_LIMIT),
        files=_listed(metadata.get(BranchNotes.files.name), most=_MOST_FILES),
        comments=_comments(metadata.get("comments")),
        checkpoint=block(order.checkpoint, limit=_BODY_LIMIT),
        previous=block(order.previous_attempt, limit=_BODY_LIMIT),
        source=_source(order.source),
        steps=steps(order),
        rigs=_rigs(order.rigs or ()),
        message=block(order.message, limit=_BODY_LIMIT),
        **_of_the_mayor(order),
    )


def _facts(order: StartOrder, metadata: Metadata) -> list[str]:
    """One line for each fact; unknown facts are left out."""
    found: list[tuple[str, object]] = [
        ("Bead", None if order.bead is None else order.bead.id),
        ("Title", None if order.bead is None else order.bead.title),
        ("Labels", None if order.bead is None else order.bead.labels),
        ("Repository", None if order.rig is None else order.rig.name),
        ("Branch", order.branch),
        ("Target branch", order.target_branch),
        ("Feature branch of the convoy", order.feature_branch),
        ("Pull request", order.pr_url),
        ("Gates that must pass", order.gates),
    ]
    found += [(label, metadata.get(note.name)) for label, note in _METADATA_FACTS]
    return [f"- {label}: {line(value)}" for label, value in found if value not in (None, "", [], ())]


def _source(source: OrderedBead | None) -> str:
    """The bead for which the work was done, so that it can be judged by what was asked for."""
    if source is None:
        return "> (not known)"
    return f"- Bead: {line(source.id)}\n- Title: {line(source.title)}\n\n{block(source.body, limit=_BODY_LIMIT)}"


def _of_the_mayor(order: StartOrder) -> dict[str, str]:
    """The commands of a mayor's task, with a repository of the town."""
    rig = option(" --rig", order.rigs[0].id) if order.rigs else ""
    tasks = '[{"title": "FIRST", "body": "TEXT"}, {"title": "SECOND", "body": "TEXT", "depends_on": [0]}]'
    return {
        "look": script("town-agent list beads", "town-agent list waiting", "town-agent messages"),
        "plan": script(f"town-agent convoy create --title \"TITLE\"{rig} --tasks '{tasks}'"),
        "single": script(f'town-agent bead create --title "TITLE" --body "TEXT"{rig}'),
        "wait": script("town-agent messages", "town-agent waiting"),
    }


def _comments(value: object) -> str:
    comments = value if isinstance(value, list) else []
    shown = [_comment(each) for each in comments[:_MOST_COMMENTS]]
    return "\n\n".join([*shown, *_left_out(comments, _MOST_COMMENTS)]) or "> (none)"


def _comment(comment: object) -> str:
    """What one person says, and where. A comment of another form, which only people write, is shown as it is."""
    if not isinstance(comment, Mapping) or not isinstance(comment.get("text"), str):
        return block(comment, limit=_COMMENT_LIMIT)
    labels = (("by", "author"), ("in", "file"), ("line", "line"), ("thread", "thread"))
    known = [f"{label} {line(comment[key])}" for label, key in labels if isinstance(comment.get(key), str | int)]
    return f"Comment {', '.join(known)}:\n\n{block(comment['text'], limit=_COMMENT_LIMIT)}"


def _listed(value: object, *, most: int) -> str:
    names = value if isinstance(value, list) else []
    return "\n".join([*(f"- {line(name)}" for name in names[:most]), *_left_out(names, most)]) or "- (none)"


def _rigs(rigs: Sequence[OrderedRig]) -> str:
    shown = [f"- {line(rig.id)}: {line(rig.name)}, branch {line(rig.default_branch)}" for rig in rigs]
    return "\n".join([*shown[:_MOST_RIGS], *_left_out(rigs, _MOST_RIGS)]) or "- (none)"


def _left_out(values: Sequence[object], most: int) -> list[str]:
    return [f"({len(values) - most} more omitted)"] if len(values) > most else []


def _filled(name: str, **values: str) -> str:
    """A template filled with these values. Raises KeyError if it names a value that is missing."""
    return _template(name).substitute(values)


@cache
def _template(name: str) -> Template:
    return Template((_HERE / f"{name}.md").read_text(encoding="utf-8"))
