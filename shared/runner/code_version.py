"""The code version: a digest of the code that a tick runs, so that replay knows when the rules changed.

It covers the import closure of `shared.engine.tick`, which is exactly the packages in `CORE`, and their SQL files. A test
checks that the list equals the closure. Comments, docstrings and blank lines do not count, so correcting a sentence
leaves the version as it is, and so does any change outside the core. The texts of errors are code.
"""

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Final

CORE: Final = ("domain", "town", "events", "actions", "rules", "engine")
_SHARED: Final = Path(__file__).parent.parent
_BUNDLED: Final = Path(__file__).with_name("code_version.txt")

_TOKEN: Final = re.compile(
    r"""
      (?P<string> [rRuU]? (?: \"{3} (?: \\. | [^\\] )*? \"{3}  |  '{3} (?: \\. | [^\\] )*? '{3}
                                    | " (?: \\. | [^"\\\n] )* "        |  ' (?: \\. | [^'\\\n] )* ' ) )
    | (?P<comment> \#[^\n]* )
    | (?P<opening> [(\[{] )
    | (?P<closing> [)\]}] )
    | (?P<newline> \n )
    | (?P<continuation> \\ \n )
    | (?P<code> [^\s"'\#()\[\]{}\\]+ (?: [ ] [^\s"'\#()\[\]{}\\]+ )* )
    """,
    re.VERBOSE | re.DOTALL,
)


@cache
def code_version() -> str:
    """The digest: hex, 16 characters. A bundle contains it in a file, because computing it would prolong a cold start."""
    if _BUNDLED.is_file():
        return _BUNDLED.read_text(encoding="ascii").strip()
    return digest_of_core()


def digest_of_core() -> str:
    """The sha256 over the names and the significant source of the core's .py and .sql files: hex, 16 characters."""
    digest = hashlib.sha256()
    for path in sorted(file for package in CORE for file in (_SHARED / package).rglob("*")):
        if path.suffix in (".py", ".sql"):
            source = path.read_text(encoding="utf-8")
            digest.update(path.relative_to(_SHARED).as_posix().encode() + b"\n")
            kept = significant(source) if path.suffix == ".py" else significant_sql(source)
            digest.update(kept.encode())
    return digest.hexdigest()[:16]


def significant(source: str) -> str:
    r"""Python source without comments, docstrings and line breaks: one statement a line, after the width of its indentation.

    A docstring is any string that is a whole statement, as in this one or below a constant: nothing can depend on it. It
    is recognised by its context: no bracket is open, and no other token belongs to its statement. So `x = [\n"a"\n]`
    keeps its "a", and `x = 1\n"a"\n` does not. A backslash at the end of a line continues the statement. An f-string can
    call functions, so it counts as code.
    """
    statements: list[str] = []
    tokens: list[str] = []
    depth, has_code, line_start, indentation = 0, False, 0, 0
    for token in _TOKEN.finditer(source + "\n"):
        kind = token.lastgroup
        if kind == "newline":
            line_start = token.end()
            if depth == 0:
                if has_code:
                    statements.append(f"{indentation} {' '.join(tokens)}")
                tokens, has_code = [], False
        elif kind not in ("comment", "continuation"):
            if not tokens:
                indentation = token.start() - line_start
            tokens.append(token[0])
            has_code = has_code or kind != "string"
            depth += {"opening": 1, "closing": -1}.get(kind or "", 0)
    return "\n".join(statements)


def significant_sql(source: str) -> str:
    """SQL without the comments and blank lines between its statements.

    A comment inside a statement counts: SQLite stores the text of CREATE statements in the image, so changing a
    comment there changes the image. The core's SQL has no triggers, whose bodies hold a ";" inside a statement.
    """
    kept: list[str] = []
    for line in source.split("\n"):
        is_between = not kept or kept[-1].partition("--")[0].rstrip().endswith(";")
        if not is_between or (line.strip() and not line.lstrip().startswith("--")):
            kept.append(line)
    return "\n".join(kept)


def keep() -> None:
    """Write the digest beside this module. Only the build calls this, in a bundle, because the code there no longer changes."""
    _BUNDLED.write_text(digest_of_core() + "\n", encoding="ascii")
