"""Pydantic's validation errors in the form that we report: the place, the kind of error and a sentence, never the value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pydantic import BaseModel, ValidationError

UNKNOWN_FIELD: Final = "extra_forbidden"
_COMPARED: Final = 64
"""Letters of a wrong word that are compared with the known ones, of which none is longer."""

_AN_OBJECT: Final = "Input should be an object"
_AN_ARRAY: Final = "Input should be a valid array"
_IN_WORDS_OF_JSON: Final = {
    "dict_type": _AN_OBJECT,
    "model_type": _AN_OBJECT,
    "list_type": _AN_ARRAY,
    "tuple_type": _AN_ARRAY,
    UNKNOWN_FIELD: "there is no such field",
}
"""Pydantic's own messages name Python types and our classes. Senders write JSON, so these messages use the words of JSON."""


_TO_DO: Final = {
    "missing": "add this field",
    "no_id": "shorten this id, or leave out its line breaks and other control characters",
    UNKNOWN_FIELD: "remove this field; its name may be misspelt",
    "string_too_long": "shorten this text",
    "string_too_short": "this text may not be empty: send one, or leave the field out",
}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong place in a value. `path` leads to it, `kind` is pydantic's error type, `message` a sentence for people."""

    path: tuple[str | int, ...]
    kind: str
    message: str

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Self:
        """The error that pydantic's details describe."""
        kind = str(details["type"])
        return cls(tuple(details["loc"]), kind, _IN_WORDS_OF_JSON.get(kind, str(details["msg"])))

    @property
    def hint(self) -> str:
        """What to do about it."""
        return _TO_DO.get(self.kind, f"send a value that fits: {self.message[:1].lower()}{self.message[1:]}")

    @property
    def place(self) -> str:
        """The path with dots, as in `bead.labels.0`; empty if the whole value is wrong."""
        return ".".join(str(part) for part in self.path)


def first_error(error: ValidationError) -> FieldError:
    """The first of a value's errors."""
    return all_errors(error)[0]


def all_errors(error: ValidationError) -> tuple[FieldError, ...]:
    """All of a value's errors, in the order in which pydantic found them."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return tuple(FieldError.of(details) for details in found)


def what_is_expected(model: type[BaseModel], wrong: FieldError) -> str:
    """A hint for a wrong value: for an unknown field the names of the known ones, else what to do."""
    if wrong.kind != UNKNOWN_FIELD:
        return wrong.hint
    schema = model.model_json_schema()
    names = _names_at(schema, wrong.path[:-1], schema.get("$defs", {}))
    if names is None:
        return wrong.hint
    if len(names) < 2:
        return f"the only field is {names[0]}" if names else "no field is accepted there"
    return f"{did_you_mean(str(wrong.path[-1]), names)}the fields are {', '.join(sorted(names))}"


def did_you_mean(word: str, known: Iterable[str], *, most: int = 1) -> str:
    """A question after the known words that are most like a wrong one, `did you mean door? `; empty if none is close."""
    from difflib import get_close_matches  # noqa: PLC0415 - only a refusal needs it

    near = get_close_matches(word[:_COMPARED], list(known), n=most)
    return f"did you mean {', '.join(near)}? " if near else ""


def _names_at(schema: Any, path: tuple[str | int, ...], definitions: Mapping[str, Any]) -> tuple[str, ...] | None:
    """The names of the fields of the object at a path; None if the schema has no such object."""
    schema = definitions.get(schema.get("$ref", "").rpartition("/")[2], schema)
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        if (found := _names_at(choice, path, definitions)) is not None:
            return found
    if not path:
        return tuple(schema.get("properties", ())) if schema.get("type") == "object" else None
    inner = schema.get("items") if isinstance(path[0], int) else schema.get("properties", {}).get(path[0])
    return _names_at(inner, path[1:], definitions) if isinstance(inner, dict) else None
