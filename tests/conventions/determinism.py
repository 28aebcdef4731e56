"""Finds what would make a tick depend on anything but its input.

It reads source, so it knows names and shapes, not values: a set that hides behind a variable is left to the
tests that run under several hash seeds. It would rather refuse something harmless (a seam can be listed) than
let a clock through.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One forbidden thing: its line, the rule it breaks and what it is."""

    line: int
    rule: str
    what: str


# A name stands for itself and everything below it: "time" forbids time.monotonic too.
FORBIDDEN_NAMES: Final = {
    "datetime.date.today": "clock",
    "datetime.datetime.now": "clock",
    "datetime.datetime.today": "clock",
    "datetime.datetime.utcnow": "clock",
    "time": "clock",
    "os.urandom": "chance",
    "random": "chance",
    "secrets": "chance",
    "uuid.uuid1": "chance",
    "uuid.uuid4": "chance",
    "locale": "machine",
    "os.environ": "machine",
    "os.environb": "machine",
    "os.getenv": "machine",
    "os.getpid": "machine",
    "platform": "machine",
    "socket.gethostname": "machine",
}

_KEEPS_ORDER: Final = {
    "list",
    "tuple",
    "enumerate",
    "iter",
    "next",
    "map",
    "filter",
    "zip",
    "reversed",
    "dict",
}
_MAKES_SETS: Final = {"set", "frozenset"}

_SQL_FUNCTIONS: Final = r"(?:date|time|datetime|julianday|strftime|unixepoch|timediff)"
_ANYWHERE: Final = (  # in any text that is not a docstring
    (re.compile(r"'now'", re.IGNORECASE), "sql-clock"),
    (re.compile(r"\bCURRENT_(?:TIMESTAMP|DATE|TIME)\b", re.IGNORECASE), "sql-clock"),
    (re.compile(r"\b(?:datetime|julianday|strftime|unixepoch|timediff)\(", re.IGNORECASE), "sql-clock"),
    (re.compile(r"\b(?:random|randomblob)\(", re.IGNORECASE), "sql-chance"),
    (re.compile(r"\bSELECT\s+(?:DISTINCT\s+)?(?:\w+\.)?\*", re.IGNORECASE), "sql-star"),
    (re.compile(r"(?:^|;)\s*(?:VACUUM|ANALYZE)\b"), "sql-layout"),
    (re.compile(r"\bPRAGMA\s+optimize\b", re.IGNORECASE), "sql-layout"),
)
_IN_SQL: Final = (  # only where the text is certainly SQL: ordinary words otherwise
    (re.compile(rf"\b{_SQL_FUNCTIONS}\s*\(", re.IGNORECASE), "sql-clock"),
    (re.compile(r"\b(?:VACUUM|ANALYZE)\b", re.IGNORECASE), "sql-layout"),
)
_STARTS_LIKE_SQL: Final = re.compile(
    r"\s*(?:SELECT|WITH|INSERT|UPDATE|DELETE|REPLACE|CREATE|ALTER|DROP|PRAGMA|VACUUM|ANALYZE)\b"
)
_SQL_COMMENT: Final = re.compile(r"--[^\n]*|/\*.*?\*/", re.DOTALL)


def findings_in_python(source: str) -> list[Finding]:
    """Everything forbidden in a module of the core, by line."""
    tree = ast.parse(source)
    return sorted({*_names(tree), *_unordered(tree), *_texts(tree)})


def findings_in_sql(source: str) -> list[Finding]:
    """Everything forbidden in a file of SQL, by line; comments may say what they like."""
    return sorted(set(_findings_in_statement(source, first_line=1)))


def _names(tree: ast.AST) -> Iterator[Finding]:
    aliases = _aliases(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _forbidden_name(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield from _forbidden_name(f"{node.module}.{alias.name}", node.lineno)
        elif isinstance(node, ast.Attribute):
            dotted = _dotted(node, aliases)
            if dotted is not None:
                yield from _forbidden_name(dotted, node.lineno)
        elif isinstance(node, ast.Call):
            yield from _forbidden_call(node)


def _forbidden_call(call: ast.Call) -> Iterator[Finding]:
    if isinstance(call.func, ast.Name) and call.func.id == "hash":
        yield Finding(call.lineno, "hash-seed", "hash()")
    if isinstance(call.func, ast.Attribute):
        if call.func.attr == "astimezone" and not call.args and not call.keywords:
            yield Finding(call.lineno, "machine", "astimezone() without a zone")
        if call.func.attr == "fromtimestamp" and len(call.args) + len(call.keywords) < 2:
            yield Finding(call.lineno, "machine", "fromtimestamp() without a zone")


def _forbidden_name(dotted: str, line: int) -> Iterator[Finding]:
    parts = dotted.split(".")
    for length in range(1, len(parts) + 1):
        prefix = ".".join(parts[:length])
        if prefix in FORBIDDEN_NAMES:
            yield Finding(line, FORBIDDEN_NAMES[prefix], prefix)
            return


def _aliases(tree: ast.AST) -> dict[str, str]:
    """What each imported local name stands for."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                local = alias.asname or alias.name.partition(".")[0]
                aliases[local] = alias.name if alias.asname else local
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return aliases


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str | None:
    if isinstance(node, ast.Name):
        return aliases.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value, aliases)
        return None if owner is None else f"{owner}.{node.attr}"
    return None


def _unordered(tree: ast.AST) -> Iterator[Finding]:
    for node in ast.walk(tree):
        for walked, where in _walked_in_order(node):
            if _is_set(walked):
                yield Finding(walked.lineno, "set-order", f"{where} over a set")


def _walked_in_order(node: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """What this piece of source walks through such that the order shows.

    A set made from a set loses nothing, so set comprehensions pass; a list, a dict or a stream made from one
    has its order. A stream that goes straight into any() has none, but reads better without the set.
    """
    if isinstance(node, (ast.For, ast.AsyncFor)):
        yield node.iter, "for"
    elif isinstance(node, (ast.ListComp, ast.DictComp, ast.GeneratorExp)):
        for generator in node.generators:
            yield generator.iter, "comprehension"
    elif isinstance(node, (ast.List, ast.Tuple)):
        for element in node.elts:
            if isinstance(element, ast.Starred):
                yield element.value, "unpacking"
    elif isinstance(node, ast.YieldFrom):
        yield node.value, "yield from"
    elif isinstance(node, ast.Call):
        yield from _walked_by_call(node)


def _walked_by_call(call: ast.Call) -> Iterator[tuple[ast.expr, str]]:
    if isinstance(call.func, ast.Name) and call.func.id in _KEEPS_ORDER:
        for argument in call.args:
            yield argument, f"{call.func.id}()"
    elif isinstance(call.func, ast.Attribute) and call.func.attr in {"join", "extend", "fromkeys"}:
        for argument in call.args:
            yield argument, f"{call.func.attr}()"
    elif isinstance(call.func, ast.Attribute) and call.func.attr == "pop":
        yield call.func.value, "pop()"


def _is_set(node: ast.expr) -> bool:
    if isinstance(node, (ast.Set, ast.SetComp)):
        return True
    if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.BitOr, ast.BitAnd, ast.Sub, ast.BitXor)):
        return _is_set(node.left) or _is_set(node.right)
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _MAKES_SETS


def _texts(tree: ast.AST) -> Iterator[Finding]:
    docstrings = {id(node) for node in _docstrings(tree)}
    inside_f_strings = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else " ? " for part in node.values]
            yield from _findings_in_text("".join(str(part) for part in parts), node.lineno)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings | inside_f_strings
        ):
            yield from _findings_in_text(node.value, node.lineno)


def _docstrings(tree: ast.AST) -> Iterator[ast.expr]:
    """Every text that stands alone as a statement: docstrings, and those below a constant."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield node.value


def _findings_in_text(text: str, line: int) -> Iterator[Finding]:
    if text.isidentifier() and not text.isupper():
        return  # a name, as in a list of what an authorizer refuses
    if _STARTS_LIKE_SQL.match(_SQL_COMMENT.sub("", text)):
        yield from _findings_in_statement(text, first_line=line)
    else:
        yield from _matches(text, _ANYWHERE, first_line=line)


def _findings_in_statement(sql: str, *, first_line: int) -> Iterator[Finding]:
    without_comments = _SQL_COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), sql)
    yield from _matches(without_comments, (*_ANYWHERE, *_IN_SQL), first_line=first_line)


def _matches(text: str, patterns: tuple[tuple[re.Pattern[str], str], ...], *, first_line: int) -> Iterator[Finding]:
    for pattern, rule in patterns:
        for match in pattern.finditer(text):
            yield Finding(first_line + text.count("\n", 0, match.start()), rule, match[0].strip())
