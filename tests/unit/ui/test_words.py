"""Words: nothing that a town can be in, get or do is without words, a shape and a tone."""

import re
from pathlib import Path

import pytest

from infra.ui import words
from shared.actions import ACTIONS
from shared.domain.states import AgentStatus, BeadStatus, EffectKind
from shared.events import BY_TYPE
from shared.questions.waiting import REASONS

ASSETS = Path(words.__file__).parent / "assets"


def test_every_reason_has_words() -> None:
    assert set(words.REASONS) == set(REASONS)


def test_every_event_has_a_sentence() -> None:
    assert set(words.EVENTS) == set(BY_TYPE)


def test_every_action_has_a_sentence() -> None:
    assert set(words.ACTIONS) == {action.type for action in ACTIONS}


def test_every_effect_has_a_sentence() -> None:
    assert set(words.EFFECTS) == {kind.value for kind in EffectKind}


def test_every_status_has_a_word() -> None:
    assert set(words.BEADS) == {status.value for status in BeadStatus}
    assert set(words.AGENTS) >= {status.value for status in AgentStatus}


@pytest.mark.parametrize("table", [words.EVENTS, words.ACTIONS, words.EFFECTS])
def test_a_sentence_has_only_blanks_that_are_filled(table: dict[str, str]) -> None:
    assert {blank for said in table.values() for blank in re.findall(r"\{(\w+)\}", said)} <= {"agent", "bead", "change"}


def test_every_shape_is_in_the_sprite() -> None:
    sprite = (ASSETS / "sprite.svg").read_text(encoding="utf-8")
    shapes = {word.shape for word in (*words.BEADS.values(), *words.AGENTS.values())} | {
        reason.shape for reason in words.REASONS.values()
    }
    assert {shape for shape in shapes if f'id="s-{shape}"' not in sprite} == set()
