"""The code version covers exactly the code that a tick runs, and none of its text."""

import ast
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shared.runner.code_version import CORE, significant, significant_sql
from tests.conventions.sources import files_under, name_of

RUN = "from shared.runner.code_version import digest_of_core; print(digest_of_core())"


def module_of(path: Path) -> str:
    return name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


MODULES = {module_of(path): path for path in files_under("shared")}


def imported_by(module: str) -> set[str]:
    """The modules of this project that one imports, with the packages that they lie in."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    packages = {name.rsplit(".", count)[0] for name in found for count in range(1, name.count(".") + 1)}
    return (found | packages) & MODULES.keys()


def closure_of(module: str) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += sorted(imported_by(name))
    return seen


def test_the_core_is_exactly_what_a_tick_imports() -> None:
    covered = {module_of(path) for path in files_under(*(f"shared/{package}" for package in CORE))}
    assert covered == closure_of("shared.engine.tick") - {"shared"}


def copy_of_shared(folder: Path) -> Path:
    for path in files_under("shared") + files_under("shared", suffix=".sql"):
        target = folder / name_of(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return folder


def version_in(folder: Path) -> str:
    import subprocess
    import sys

    ran = subprocess.run([sys.executable, "-B", "-c", RUN], check=True, cwd=folder, capture_output=True, text=True)
    return ran.stdout.strip()


@pytest.mark.slow
def test_only_code_of_the_core_changes_the_version(tmp_path: Path) -> None:
    """Rewording a sentence of `explain` once turned seven days of history from a replay into a what-if."""
    copy = copy_of_shared(tmp_path)
    before = version_in(copy)

    for place in ("questions/story.py", "replay/faithful.py", "runner/worker.py", "moving/importing.py"):
        file = copy / "shared" / place
        file.write_text(file.read_text(encoding="utf-8") + '\nREWORDED = "other words"\n', encoding="utf-8")
    core = copy / "shared/rules/beads.py"
    code = core.read_text(encoding="utf-8")
    core.write_text(code.replace('"""', '"""Said in other words: ', 1) + "\n# and a comment\n", encoding="utf-8")
    sql = copy / "shared/town/views.sql"
    sql.write_text("-- Said in other words.\n\n" + sql.read_text(encoding="utf-8"), encoding="utf-8")
    assert version_in(copy) == before

    core.write_text(code + "\nX = 1\n", encoding="utf-8")
    assert version_in(copy) != before


@pytest.mark.parametrize(
    ("source", "same"),
    [
        ('"""Doc."""\nx = 1\n', "x = 1\n"),
        ('x = 1\n"""Below a constant."""\n', "x = 1\n"),
        ('def f():\n    """Two\n\n    lines."""\n    return 1\n', "def f():\n    return 1\n"),
        ("x = 1  # why\n\n\n# more\ny = 2\n", "x = 1\ny = 2\n"),
        ("x = f(\n    1,\n    2\n)\n", "x = f(1,\n2)\n"),
        ('r"raw"\nx = 1\n', "x = 1\n"),
    ],
)
def test_text_and_line_breaks_do_not_count(source: str, same: str) -> None:
    assert significant(source) == significant(same)


@pytest.mark.parametrize(
    ("source", "other"),
    [
        ("x = 1\n", "x = 2\n"),
        ('x = "a  b"\n', 'x = "a b"\n'),
        ('x = """a\n\nb"""\n', 'x = """a\nb"""\n'),
        ('x = [\n"a",\n]\n', "x = [\n]\n"),
        ('x = "# no comment"\n', 'x = "# none"\n'),
        ("if a:\n    b()\n    c()\n", "if a:\n    b()\nc()\n"),
        ('f"{call()}"\n', 'f"{other()}"\n'),
        ('x = "it\'s" # why\n', 'x = "its" # why\n'),
        ('x = \\\n    "a"\n', 'x = \\\n    "b"\n'),
    ],
)
def test_everything_else_counts(source: str, other: str) -> None:
    assert significant(source) != significant(other)


@pytest.mark.parametrize("path", files_under("shared"), ids=name_of)
def test_python_itself_agrees_on_what_is_text(path: Path) -> None:
    """The syntax tree without strings that are statements of their own is the oracle."""
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    docstrings = [
        node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    assert significant(source) == significant(_without_docstrings(source, tree))
    assert not [text for text in docstrings if len(text) > 40 and text.split("\n")[0] in significant(source)]


def _without_docstrings(source: str, tree: ast.AST) -> str:
    lines = source.split("\n")
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = ""
    return "\n".join(lines)


def test_comments_between_statements_of_sql_do_not_count() -> None:
    assert significant_sql("-- Why.\nCREATE TABLE t (a);\n\n-- More.\nCREATE TABLE u (b);\n") == (
        "CREATE TABLE t (a);\nCREATE TABLE u (b);"
    )


def test_a_comment_inside_a_statement_counts_because_sqlite_stores_it_in_the_image() -> None:
    plain, commented = "CREATE TABLE t (\n    a\n);\n", "CREATE TABLE t (\n    -- Why.\n    a\n);\n"
    stored = []
    for source in (plain, commented):
        with closing(sqlite3.connect(":memory:")) as sql:
            sql.executescript(source)
            stored.append(sql.execute("SELECT sql FROM sqlite_schema").fetchone())
    assert stored[0] != stored[1]
    assert significant_sql(plain) != significant_sql(commented)


@pytest.mark.parametrize("comment", ["-- Why;", "a, -- why;"])
def test_a_semicolon_in_a_comment_does_not_end_a_statement_of_sql(comment: str) -> None:
    source = f"CREATE TABLE t (\n{comment}\n-- More.\nb\n);\n"
    assert significant_sql(source) != significant_sql(source.replace("-- More.\n", ""))


def test_the_core_has_no_trigger_whose_body_would_end_a_statement_early() -> None:
    sources = [path.read_text(encoding="utf-8") for path in files_under("shared/town", suffix=".sql")]
    assert sources
    assert not any("TRIGGER" in source.upper() for source in sources)
