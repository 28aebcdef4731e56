"""The type of a field in words, from its annotation: `text of at most 4 KiB`, `` `low` or `high` ``."""

import inspect
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from shared.domain import config, spending
from shared.events import fields, usage

_KINDS: Final[tuple[tuple[Any, str], ...]] = (
    (fields.FreeText, "text, at most 4 KiB"),
    (fields.NonEmptyText, "text of 1 character to 4 KiB"),
    (fields.BodyText, "text, at most 32 KiB"),
    (fields.StatusMessage, "text of 1 to 280 characters"),
    (fields.IdText, "id"),
    (fields.Ids, "list of ids"),
    (fields.Generation, "integer from 1"),
    (fields.Integer, "integer"),
    (fields.Time, "time (ISO 8601 with an offset)"),
    (fields.Texts, "list of texts"),
    (fields.JsonList, "list, at most 4 KiB of JSON"),
    (fields.Checkpoint, "any JSON but null, at most 32 KiB"),
    (fields.JsonObject, "object"),
    (fields.HttpsUrl, "address that starts with https://"),
    (fields.GitUrl, "git address without credentials"),
    (usage.Tokens, "integer from 0"),
    (usage.Model, "text of 1 to 128 characters"),
    (config.Text, "text, at most 4 KiB"),
    (config.RepositoryText, "git address or `owner/name`"),
    (dict[str, object], "object"),
    (bool, "`true` or `false`"),
    (str, "text"),
    (int, "integer"),
)
"""The words of each kind of field. A kind that is narrowed further matches by the beginning of its metadata."""


def without_null(annotation: Any) -> Any:
    """The annotation of a value that is given: `X` of `X | None`."""
    if get_origin(annotation) in (Union, UnionType):
        given = [each for each in get_args(annotation) if each is not NoneType]
        return given[0] if len(given) == 1 else annotation
    return annotation


def allows_null(annotation: Any) -> bool:
    """Whether null is a value."""
    return get_origin(annotation) in (Union, UnionType) and NoneType in get_args(annotation)


def words(annotation: Any) -> str:
    """The type in words. Raises LookupError for an annotation that has none: add it to this module."""
    annotation = without_null(annotation)
    if get_origin(annotation) is Literal:
        return _either([f"`{each}`" for each in get_args(annotation)])
    if annotation is spending.Limit:
        return "object with `usd`, `tokens` or both"
    if annotation is config.AgentRuntimeConfig:
        return f"object with `kind`: {words(annotation.model_fields['kind'].annotation)}"
    if part_of(annotation) is not None:
        return f"list of objects{_bounds(_metadata(annotation), 'entries')}" if _is_list(annotation) else "object"
    if _is_list(annotation):
        of = next((word for kind, word in _KINDS if kind == annotation), None)
        return (
            of or f"list of {_plural(words(get_args(_bare(annotation))[0]))}{_bounds(_metadata(annotation), 'entries')}"
        )
    if get_origin(_bare(annotation)) is dict:
        key, value = get_args(_bare(annotation))
        return "object" if value is object else f"object from {words(key)} to {words(value)}"
    return _known(annotation)


def part_of(annotation: Any) -> type[BaseModel] | None:
    """The model of the object, or of the objects in the list, that a field holds; None if it holds neither."""
    bare = _bare(without_null(annotation))
    inner = get_args(bare)[0] if get_origin(bare) is tuple else bare
    return inner if inspect.isclass(inner) and issubclass(inner, BaseModel) else None


def _known(annotation: Any) -> str:
    bare, given = _bare(annotation), _metadata(annotation)
    best: tuple[int, str] | None = None
    for kind, word in _KINDS:
        has = _metadata(kind)
        if _bare(kind) == bare and given[: len(has)] == has and (best is None or len(has) > best[0]):
            best = len(has), word
    if best is None:
        raise LookupError(f"no words for {annotation}: add them to infra/reference/kinds.py")
    return best[1] + _bounds(given[best[0] :])


def _bounds(metadata: tuple[Any, ...], counts: str = "characters") -> str:
    """The limits in the metadata, as in `, 1 to 100`; a length is a number of `counts`."""
    found = {name: value for each in metadata for name, value in _limits_of(each)}
    unit = f" {counts}" if any(name.endswith("length") for name in found) else ""
    least, most = found.get("ge", found.get("min_length")), found.get("le", found.get("max_length"))
    if "gt" in found:
        return f", over {found['gt']}"
    if most is None:
        return "" if least is None else f", at least {least}{unit}" if least != 1 or not unit else ", not empty"
    return f", at most {most:,}{unit}" if least is None else f", {least:,} to {most:,}{unit}"


def _limits_of(metadata: Any) -> list[tuple[str, Any]]:
    parts = metadata.metadata if isinstance(metadata, FieldInfo) else (metadata,)
    names = ("ge", "gt", "le", "min_length", "max_length")
    return [(name, getattr(part, name)) for part in parts for name in names if hasattr(part, name)]


def _is_list(annotation: Any) -> bool:
    return get_origin(_bare(annotation)) is tuple


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _metadata(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()


def _plural(word: str) -> str:
    first, comma, rest = word.partition(",")
    return f"{first}s{comma}{rest}"


def _either(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} or {last}" if most else last
