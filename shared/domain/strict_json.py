"""The one reader of JSON. Whatever comes from outside is limited in size, depth, number of values and length of numbers.

    parse     what is sent to us: a text that two parsers could understand differently is refused (spec/events.md 1, rule 5)
    foreign   what another program wrote in its own way: the answers of forges and control servers, files of agents
    stored    what the town has stored: the limits held when it came in, so only a damaged or forged image can break them

Size, depth and number of values are counted in the raw text before anything is parsed, so no input can exhaust the stack or the
memory: a value takes at most about 100 bytes.
"""

import json
import math
import re
from itertools import accumulate, islice
from typing import Any, Final

from shared.domain.errors import Refused

DEEPEST: Final = 64
"""The most levels of a value from outside. Real ones have fewer than 20. Code that walks a value may recurse."""
MOST_VALUES: Final = 1_000_000
"""The most values of one text."""
_DEEPEST_STORED: Final = 2 * DEEPEST  # the payload of an event, in a journal row
_LONGEST_NUMBER: Final = 64
_SMALLEST_INTEGER: Final = -(2**63)
_LARGEST_INTEGER: Final = 2**63 - 1
_STRING: Final = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A string that is not closed extends to the end of the body: the parser refuses it, and the search takes linear time."""
_QUOTES_PER_VALUE: Final = 8
_NO_BRACKET: Final = bytes(sorted(set(range(256)) - set(b"[]{}")))
_LEVEL: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class UnreadableJson(ValueError):
    """A text is not JSON or exceeds a limit; the message says which."""


def parse(body: bytes, *, limit: int, depth: int, values: int = MOST_VALUES) -> object:
    """Parse one JSON value of at most `limit` bytes, `depth` levels and `values` values. Raises Refused and nothing else."""
    if len(body) > limit:
        hint = "send less at a time, for example fewer events in a request"
        raise Refused(f"{len(body)} bytes: at most {limit} are accepted", status=413, hint=hint)
    if body.startswith(b"\xef\xbb\xbf"):
        raise Refused("the body starts with a byte order mark", status=400, hint="send plain UTF-8")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused(f"not UTF-8 text at byte {error.start}", status=400, hint="send plain UTF-8") from None
    try:
        _require_shape(text, depth, values)
    except UnreadableJson as problem:
        raise Refused(str(problem), status=400, hint="send a flatter or smaller value") from None
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_refuse_constant,
        )
    except json.JSONDecodeError as error:
        raise Refused(
            f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}",
            status=400,
            hint="correct the body there; `python -m json.tool` checks a file in the same way",
        ) from None
    if "\\u" in text:
        require_storable_text(value)
    return value


def foreign(content: bytes | str, *, limit: int, depth: int = DEEPEST, values: int = MOST_VALUES) -> Any:
    """The value in a text that another program wrote, at most `limit` bytes long. Raises UnreadableJson and nothing else.

    A key that occurs twice has its last value, and texts may contain what the town cannot store.
    """
    if len(content) > limit:
        raise UnreadableJson(f"larger than {limit} bytes")
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UnreadableJson("not UTF-8 text") from None
    _require_shape(text, depth, values)
    try:
        return json.loads(
            text, parse_int=_foreign_integer, parse_float=_foreign_float, parse_constant=_unknown_constant
        )
    except UnreadableJson:
        raise
    except ValueError:
        raise UnreadableJson("not JSON") from None


def stored(text: str) -> Any:
    """The value in a text of a town's image. Raises ValueError if the image is damaged or forged."""
    if len(text) > _DEEPEST_STORED:
        _require_shape(text, _DEEPEST_STORED, len(text))
    return json.loads(text)


def require_storable_text(value: object, path: str = "") -> None:
    """Refuse U+0000 and lone surrogates in every text of a value, including keys. Raises Refused."""
    if isinstance(value, str):
        if "\0" in value:
            raise Refused("U+0000 is not allowed in text", status=400, path=path, hint="remove the character")
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise Refused(
                "text contains a lone surrogate", status=400, path=path, hint="send whole characters, as UTF-8"
            )
    elif isinstance(value, dict):
        for key, inner in value.items():
            require_storable_text(key, path)
            require_storable_text(inner, below(path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            require_storable_text(inner, f"{path}[{index}]")


def depth_of(value: object) -> int:
    """How many levels of objects and lists a parsed value has."""
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth_of, value), default=0)
    return 0


def below(path: str, key: str) -> str:
    """The path of a field, for people: printable, with a long name cut."""
    shown = key if key.isprintable() and len(key) <= 100 else ascii(key[:100])
    return f"{path}.{shown}" if path else shown


def _require_shape(text: str, deepest: int, most: int) -> None:
    """Count levels and values. Raises UnreadableJson. A short or shallow text is not searched at all."""
    opened = text.count("[") + text.count("{")
    if opened <= deepest and opened + text.count(",") < most:
        return
    if text.count('"') > _QUOTES_PER_VALUE * most:
        raise UnreadableJson(f"more than {most} values")
    bare = _STRING.sub("", text)
    brackets = bare.encode(errors="replace").translate(None, _NO_BRACKET)
    if max(accumulate(map(_LEVEL.__getitem__, islice(brackets, 2 * most))), default=0) > deepest:
        raise UnreadableJson(f"nested deeper than {deepest} levels")
    if bare.count(",") + bare.count("[") + bare.count("{") >= most:
        raise UnreadableJson(f"more than {most} values")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise Refused("duplicate key in one object", status=400, path=below("", key), hint="send each key once")
        seen.add(key)
    return found


def _integer(literal: str) -> int:
    _require_length(literal)
    value = int(literal)
    if not _SMALLEST_INTEGER <= value <= _LARGEST_INTEGER:
        raise Refused(f"the integer {literal} does not fit into 64 bits", status=400, hint="send it as text")
    return value


def _float(literal: str) -> float:
    _require_length(literal)
    value = float(literal)
    if not math.isfinite(value):
        raise Refused(f"the number {literal} is too large", status=400, hint="send it as text")
    return value


def _require_length(literal: str) -> None:
    if len(literal) > _LONGEST_NUMBER:
        raise Refused(f"a number has at most {_LONGEST_NUMBER} characters", status=400, hint="send it as text")


def _foreign_integer(literal: str) -> int:
    value = int(literal) if len(literal) <= _LONGEST_NUMBER else _LARGEST_INTEGER + 1
    if not _SMALLEST_INTEGER <= value <= _LARGEST_INTEGER:
        raise UnreadableJson("an integer that does not fit into 64 bits")
    return value


def _foreign_float(literal: str) -> float:
    value = float(literal) if len(literal) <= _LONGEST_NUMBER else math.inf
    if not math.isfinite(value):
        raise UnreadableJson("a number that is too large or too long")
    return value


def _unknown_constant(name: str) -> object:
    raise UnreadableJson(f"{name}, which is not JSON")


def _refuse_constant(name: str) -> object:
    raise Refused(f"{name} is not JSON", status=400, hint="send a number that JSON has, or null")
