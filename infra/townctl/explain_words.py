"""`townctl explain rule` and `townctl explain setting`: what a word in a table or in a configuration means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl.output import Answer, table
from infra.townctl.setting_commands import SettingName, facts, the_setting
from shared.domain.errors import Refused

if TYPE_CHECKING:
    from shared.rules.base import Rule

RuleWord = Annotated[
    str, Parameter(help="The code of the rule, such as A8, or its name, such as agents.recover_silent_hook.")
]


def rule(code: RuleWord, /) -> Answer:
    """Show what a rule does, by the code in a table or by its name."""
    from shared.rules import RULES

    at = next((at for at, each in enumerate(RULES) if code.lower() in (each.code.lower(), each.name)), None)
    if at is None:
        known = ", ".join(each.code for each in RULES)
        hint = f"the rules, in their order: {known}; docs/spec/rules.md describes them"
        raise Refused(f"there is no rule {code}", status=404, path="rule", hint=hint)
    found = RULES[at]
    said = {"code": found.code, "name": found.name, "says": _words(found), "position": at + 1, "of": len(RULES)}
    return Answer(said, _rule_view(found, at, len(RULES)))


def setting(name: SettingName, /) -> Answer:
    """Show what a setting does, its type and its default, and which modules read it."""
    found = the_setting(name)
    return Answer(found, (Text(found.called, style="bold"), table("", "", rows=list(facts(found)))))


def _rule_view(found: Rule, at: int, total: int) -> Iterator[RenderableType]:
    yield Text(f"{found.code}: {_words(found)}", style="bold")
    module = found.judge.__module__.replace(".", "/")
    rows = [
        ("name", found.name),
        ("order", f"number {at + 1} of {total}; of two conflicting actions the first one wins"),
        ("code", f"{found.judge.__name__} in {module}.py"),
        ("described in", "docs/spec/rules.md"),
    ]
    yield table("", "", rows=rows)


def _words(found: Rule) -> str:
    """What the rule says of itself, without its code."""
    text = " ".join((found.judge.__doc__ or "").split())
    return re.sub(rf"^{re.escape(found.code)}:? ", "", text)
