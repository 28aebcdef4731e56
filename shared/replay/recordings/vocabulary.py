"""The system's own words: names of fields, and values that the code knows. They reveal nothing about people."""

import re
from collections.abc import Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final, get_args

from pydantic import BaseModel

from shared.domain import states
from shared.domain.config import RigConfig, TownConfig
from shared.domain.forge_errors import ForgeErrorKind, Refusal
from shared.domain.notes import RESERVED
from shared.domain.obstacles import OBSTACLES
from shared.events import BY_TYPE
from shared.intake.unreadable import UNREADABLE
from shared.town import database
from shared.town.columns import TABLES, columns_of
from shared.town.town_keys import KEYS
from shared.town.writing.agents import POLECAT_NAMES

_SCHEMA: Final = Path(database.__file__).with_name("schema.sql")
_CHECKED: Final = re.compile(r"\bIN\s*\(([^)]*)\)")
_QUOTED: Final = re.compile(r"'([^']+)'")
_KEYS: Final = """
    agents attempt bead beads begins breaker claim container counters conflicts drain episode fruitless head_sha
    http_status id index inputs kind last_batch_at message messages mergeable_state model name new_events nonce object observations
    ok open organization_id outputs payload poisoned problem processed process_id prompt_kind received_at retry_after
    retry_at review_mode rig runtime settings sha since size started_at state status subject title to town_id
""".split()  # noqa: SIM905 - a table
_WORDS: Final = """
    main master true false none unknown system patrol user ready degraded exited killed completed failed running starting
    stopped not_found error clean dirty blocked behind unstable draft has_hooks success failure pending approved
    changes_requested review_required merged closed open rejected started alive transient permanent rate_limited
    Refinery Mayor dead poisoned applied conflict skipped
""".split()  # noqa: SIM905 - a table


@cache
def known_keys() -> frozenset[str]:
    """All names of fields in payloads, configuration, metadata, the journal and the tables."""
    names = {*_KEYS, *KEYS, *RESERVED}
    for table in (*TABLES, "ticks"):
        names.update(columns_of(table))
    for model in _models():
        names.update(_names_in(model.model_json_schema()))
    return frozenset(names)


@cache
def known_words() -> frozenset[str]:
    """All texts that the code itself writes or compares with."""
    words = {*_WORDS, *POLECAT_NAMES, *BY_TYPE, UNREADABLE, *OBSTACLES, *get_args(Refusal), *get_args(ForgeErrorKind)}
    words.update(value for name, value in vars(states.Label).items() if name.isupper())
    for words_of_column in _CHECKED.findall(_SCHEMA.read_text(encoding="utf-8")):
        words.update(_QUOTED.findall(words_of_column))
    for found in vars(states).values():
        if isinstance(found, type) and issubclass(found, StrEnum):
            words.update(member.value for member in found)
    for model in _models():
        words.update(_constants_in(model.model_json_schema()))
    return frozenset(words)


def _models() -> Iterator[type[BaseModel]]:
    yield from (TownConfig, RigConfig)
    yield from BY_TYPE.values()


def _names_in(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for inner in schema.values():
            yield from _names_in(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _names_in(inner)


def _constants_in(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        found = [*schema.get("enum", ()), schema.get("const")]
        yield from (each for each in found if isinstance(each, str))
        for inner in schema.values():
            yield from _constants_in(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from _constants_in(inner)
