"""`townctl explain rule` and `townctl explain setting`: what a word in a table or in a configuration means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter
from rich.console import RenderableType
from rich.text import Text

from infra.townctl.output import Answer, table
from infra.townctl.people import done
from infra.townctl.setting_commands import SettingName, facts, the_setting
from shared.domain.errors import Refused

if TYPE_CHECKING:
    from shared.questions.waiting import Waiting, WaitingReason
    from shared.rules.base import Rule

RuleWord = Annotated[
    str,
    Parameter(
        help="The code of the rule, such as A8, or its name, such as agents.recover_silent_hook; or why a bead waits, such as "
        "failed_dependency."
    ),
]


_BUDGETS: Final = ("budget.per_bead", "budget.per_convoy")


def rule(code: RuleWord, /) -> Answer:
    """Show what a rule does, by the code in a table or by its name; or what it means that a bead waits for a reason."""
    from shared.domain.field_errors import did_you_mean
    from shared.questions.waiting import REASONS
    from shared.rules import RULES

    at = next((at for at, each in enumerate(RULES) if code.lower() in (each.code.lower(), each.name)), None)
    if at is None:
        reason = next((each for each in REASONS if each == code.lower()), None)
        if reason is not None:
            return _reason(reason)
        also = did_you_mean(code.lower(), [*(each.name for each in RULES), *REASONS], most=3)
        known = ", ".join(each.code for each in RULES)
        hint = f"{also}the rules, in their order: {known}; docs/spec/rules.md describes them"
        raise Refused(f"there is no rule and no waiting reason {code}", status=404, path="rule", hint=hint)
    found = RULES[at]
    said = {"code": found.code, "name": found.name, "says": _words(found), "position": at + 1, "of": len(RULES)}
    return Answer(said, _rule_view(found, at, len(RULES)))


def _reason(reason: WaitingReason) -> Answer:
    """What a waiting reason means: the guards that have it, and who can end it."""
    from infra.ui.remedies import remedies_of
    from infra.ui.words import reason_word
    from shared.questions.guards import meanings_of
    from shared.questions.waiting import BY_PEOPLE

    meanings, text = meanings_of(reason), reason_word(reason).text
    remedies = remedies_of(_usual_wait(reason, meanings), "TOWN")
    said = {
        "reason": reason,
        "says": text,
        "needsPerson": reason in BY_PEOPLE,
        "guards": [{"guard": guard, "says": says} for guard, says in meanings.items()],
        "remedies": [{"who": each.who, "does": done(each, {}), "command": each.command} for each in remedies],
    }
    ends = "only a person ends it" if reason in BY_PEOPLE else "it ends by itself, by time or by an event"
    lines = [f"  {each.who} can {done(each, {})}" + (f": {each.command}" if each.command else "") for each in remedies]
    shown: list[RenderableType] = [Text(f"{reason} is why a bead waits: {text}; {ends}", style="bold")]
    shown.append(table("guard", "what it means", rows=list(meanings.items())))
    shown += [Text(each) for each in lines]
    shown.append(Text("`townctl explain bead BEAD` says which of it holds a bead back, and since when", style="dim"))
    return Answer(said, shown)


def _usual_wait(reason: WaitingReason, guards: Iterable[str]) -> Waiting:
    """A bead that waits for this reason, and the events that would end it."""
    from shared.questions.reasons import ENDED_BY, FAILED_ENDED_BY, OBSTACLE_ENDED_BY, SETTING_OF, senders_of
    from shared.questions.waiting import Guard, Need, Waiting

    ended_by: dict[str, tuple[str, ...]] = dict([*ENDED_BY.items(), *OBSTACLE_ENDED_BY.items()])
    if reason == "failed_dependency":
        ended_by["blocked_by"] = FAILED_ENDED_BY
    needs: list[Need] = []
    for guard in guards:
        settings = _BUDGETS if guard == "budget_spent" else (SETTING_OF.get(guard),)
        for event in ended_by.get(guard, ()):
            changed = settings if event == "town_configured" else (None,)
            needs += [Need(event, "BEAD", senders_of(event), setting) for setting in changed]
    never = datetime.min.replace(tzinfo=UTC)
    held = tuple(Guard(guard, "") for guard in guards)
    return Waiting("BEAD", reason, never, None, None, None, held, tuple(needs), None, None)


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
