"""Phase 9: apply actions in order, each in its own savepoint, and note the outcome of each."""

from dataclasses import dataclass, field

from shared.actions.base import Action
from shared.domain.errors import RowUnreadable
from shared.domain.outcomes import ActionOutcome, Applied, Failed, Skipped
from shared.domain.report import JudgedAction
from shared.engine.drain import error_text
from shared.town import database
from shared.town.no_room import require_room
from shared.town.town import Town


class _NotApplied(Exception):
    def __init__(self, outcome: ActionOutcome) -> None:
        self.outcome = outcome


@dataclass(slots=True)
class AppliedActions:
    """The actions of a pass with their outcomes."""

    actions: list[JudgedAction] = field(default_factory=list)
    applied: int = 0
    skipped: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    conflicts: list[tuple[str, str, str]] = field(default_factory=list)
    """(rule, action, id of the row)"""


def all_intents(town: Town, intents: list[tuple[str, Action]]) -> AppliedActions:
    """Apply each intent (rule name, action). If two want different states for the same row, the first one wins."""
    # Rules do not see each other's actions, so two of them can want the same bead in different states. The order of the rules
    # decides, and the loser is skipped, counted and alerted, because this is a bug in the rules. Example: one rule wants bead b
    # open and a later one wants it closed: b is opened, and the second action is skipped as a conflict. Only applied actions
    # count: if the first one had been skipped because b has moved on, the second one would be applied.
    done = AppliedActions()
    wanted: dict[tuple[str, str], str] = {}
    for rule, action in intents:
        wants = action.wants()
        clash = next((row for row, state in wants if wanted.get(row, state) != state), None)
        if clash is not None:
            done.conflicts.append((rule, f"{action.type} of {clash[0]}", clash[1]))
            _note(done, rule, action, Skipped("conflict"))
            continue
        outcome = _apply(town, action)
        if isinstance(outcome, Applied):
            wanted.update(dict(wants))
        _note(done, rule, action, outcome)
    if done.conflicts:
        town.keys.count(conflicts=len(done.conflicts))
    return done


def _apply(town: Town, action: Action) -> ActionOutcome:
    noted = town.noted()
    try:
        with database.savepoint(town.sql):
            outcome = action.apply(town)
            if not isinstance(outcome, Applied):
                raise _NotApplied(outcome)
            return outcome
    except _NotApplied as undone:
        town.forget_since(noted)
        return undone.outcome
    except Exception as error:  # noqa: BLE001 - the one boundary per action: undone, counted, alerted by the tick
        require_room(error)
        town.forget_since(noted)
        if isinstance(error, RowUnreadable):
            town.note_unreadable(error)
        return Failed(error_text(error))


def _note(done: AppliedActions, rule: str, action: Action, outcome: ActionOutcome) -> None:
    if isinstance(outcome, Applied):
        done.applied += 1
        done.actions.append(JudgedAction(rule, action.as_json(), "applied"))
    elif isinstance(outcome, Skipped):
        done.skipped += outcome.reason != "already"
        done.actions.append(JudgedAction(rule, action.as_json(), "skipped", outcome.reason))
    else:
        done.failed.append((f"{rule}: {action.type}", outcome.error))
        done.actions.append(JudgedAction(rule, action.as_json(), "failed", outcome.error))
