"""Every setting: its type, its default, what a new town stores, what it does, and which modules read it."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final, get_type_hints

from pydantic import BaseModel

from infra.reference import kinds
from infra.reference.setting_words import EFFECTS, ONLY_OF_A_RIG, READ_AS
from shared.domain.config import NEW_TOWN, OF_A_RIG, RigConfig, TownConfig
from shared.domain.shapes import answer

_LINK: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_ROOT: Final = Path(__file__).resolve().parents[2]
_NOT_READERS: Final = ("shared/domain/", "shared/adapters/", "shared/replay/")
"""Modules that define, deliver or record settings; what they read is an order or a recording, not the configuration."""


@answer
class SettingWords:
    """A setting. `name` is its path in the town's configuration, `of_rig` its name in a rig's.

    A setting without `name` belongs to rigs only. `new_town` is what a new town stores, if that differs from the default.
    """

    name: str | None
    of_rig: str | None
    type: str
    nullable: bool
    default: Any
    stored_in_new_towns: bool
    new_town: Any
    effect: str

    @property
    def called(self) -> str:
        """The name by which it is found."""
        return self.name or self.of_rig or ""

    @property
    def does(self) -> str:
        """The effect without the markup of docs/settings.md."""
        return _LINK.sub(r"\1", self.effect).replace("`", "")


@answer
class SettingReference:
    """Every setting, in order of names; those that only a rig has are last."""

    settings: tuple[SettingWords, ...]


def every_setting() -> SettingReference:
    """Every setting of towns and rigs."""
    towns = sorted(_leaves(TownConfig), key=lambda found: found[0])
    rigs = {path: annotation for path, annotation, _ in _leaves(RigConfig)}
    return SettingReference(
        (
            *(_of_a_town(path, annotation, default) for path, annotation, default in towns),
            *(_of_a_rig(name, rigs[name]) for name in sorted(rigs) if name not in OF_A_RIG.values()),
        )
    )


def named(name: str) -> SettingWords | None:
    """The setting with this name; None if there is none."""
    return next((each for each in every_setting().settings if each.called == name), None)


def readers(setting: SettingWords) -> tuple[str, ...]:
    """The modules that read a setting, in order of their paths."""
    own = setting.called.rpartition(".")[2]
    names = {own, *READ_AS.get(setting.called, ())}
    return tuple(name for name, text in _sources().items() if _is_read(names, text))


def _of_a_town(path: str, annotation: Any, default: Any) -> SettingWords:
    given, value = _in(NEW_TOWN, path)
    return SettingWords(
        name=path,
        of_rig=OF_A_RIG.get(path),
        type=kinds.words(annotation),
        nullable=kinds.allows_null(annotation),
        default=default,
        stored_in_new_towns=given,
        new_town=value,
        effect=_effect(path, EFFECTS),
    )


def _of_a_rig(name: str, annotation: Any) -> SettingWords:
    return SettingWords(
        name=None,
        of_rig=name,
        type=kinds.words(annotation),
        nullable=True,
        default=None,
        stored_in_new_towns=False,
        new_town=None,
        effect=_effect(name, ONLY_OF_A_RIG),
    )


def _effect(name: str, known: Any) -> str:
    if name not in known:
        raise LookupError(f"the setting {name} has no effect yet: add it to infra/reference/setting_words.py")
    found: str = known[name]
    return found


def _leaves(model: type[BaseModel], within: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Path, annotation and default of every setting; a section is not a setting, but what is in it."""
    hints = get_type_hints(model, include_extras=True)
    for name, field in model.model_fields.items():
        path, annotation = f"{within}{name}", hints[name]
        part = kinds.part_of(annotation)
        is_section = part is not None and all(not each.is_required() for each in part.model_fields.values())
        if part is not None and is_section and part.__name__ != "Limit":
            yield from _leaves(part, f"{path}.")
        else:
            default = field.get_default(call_default_factory=True, validated_data={})
            yield path, annotation, list(default) if isinstance(default, tuple) else default


def _in(values: Any, path: str) -> tuple[bool, Any]:
    """Whether a configuration has a value at this path, and the value."""
    for name in path.split("."):
        if not isinstance(values, dict) or name not in values:
            return False, None
        values = values[name]
    return True, values


@cache
def _sources() -> dict[str, str]:
    """The text of each module that may read a setting, by its path."""
    paths = sorted((_ROOT / "shared").rglob("*.py"))
    names = {path.relative_to(_ROOT).as_posix(): path for path in paths}
    return {name: path.read_text(encoding="utf-8") for name, path in names.items() if not name.startswith(_NOT_READERS)}


def _is_read(names: set[str], text: str) -> bool:
    """Whether a module reads an attribute or a key with one of these names. Texts and comments do not count."""
    if not any(name in text for name in names):
        return False
    return any(names & set(_read_by(node)) for node in ast.walk(ast.parse(text)))


def _read_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Attribute):
        yield node.attr
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get":
        yield from (
            each.value for each in node.args[:1] if isinstance(each, ast.Constant) and isinstance(each.value, str)
        )
