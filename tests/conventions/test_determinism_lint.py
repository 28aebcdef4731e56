"""The core depends on its input alone: no clock, no chance, no machine, no order that nobody chose."""

from typing import Final

import pytest

from tests.conventions.determinism import findings_in_python, findings_in_sql
from tests.conventions.sources import files_under, name_of

CORE: Final = tuple(f"shared/{name}" for name in ("domain", "town", "events", "actions", "rules", "engine"))

# (file, rule) -> why it may. A seam that is no longer needed fails below.
SEAMS: Final[dict[tuple[str, str], str]] = {}


def _found() -> list[tuple[str, str, str]]:
    found = [
        (name_of(path), finding.rule, f"{name_of(path)}:{finding.line}: {finding.rule}: {finding.what}")
        for suffix, findings_in in ((".py", findings_in_python), (".sql", findings_in_sql))
        for path in files_under(*CORE, suffix=suffix)
        for finding in findings_in(path.read_text(encoding="utf-8"))
    ]
    return sorted(found)


def test_the_core_depends_on_nothing_but_its_input() -> None:
    assert [line for path, rule, line in _found() if (path, rule) not in SEAMS] == []


def test_every_seam_is_still_needed() -> None:
    assert set(SEAMS) <= {(path, rule) for path, rule, _ in _found()}


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        ("clock", "import datetime as dt\nnow = dt.datetime.now(dt.UTC)"),
        ("clock", "from datetime import datetime\nnow = datetime.now()"),
        ("clock", "from datetime import datetime\nnow = datetime.utcnow()"),
        ("clock", "from datetime import datetime\nnow = datetime.today()"),
        ("clock", "from datetime import date\nnow = date.today()"),
        ("clock", "from datetime import datetime\nread_clock = datetime.now"),
        ("clock", "import time"),
        ("clock", "from time import perf_counter"),
        ("clock", "def f():\n    import time as t\n    return t.monotonic()"),
        ("chance", "import random"),
        ("chance", "from random import choice"),
        ("chance", "import secrets"),
        ("chance", "import uuid\nid = uuid.uuid4()"),
        ("chance", "from uuid import uuid1"),
        ("chance", "import os\nos.urandom(8)"),
        ("machine", "import os\nos.environ['HOME']"),
        ("machine", "from os import environ"),
        ("machine", "import os\nos.getenv('HOME')"),
        ("machine", "import locale"),
        ("machine", "def f(when):\n    return when.astimezone()"),
        ("machine", "from datetime import datetime\ndatetime.fromtimestamp(0)"),
        ("hash-seed", "key = hash('bead-1')"),
        ("set-order", "for bead in {'a', 'b'}:\n    print(bead)"),
        ("set-order", "for bead in set(beads):\n    print(bead)"),
        ("set-order", "for bead in set(beads) - set(done):\n    print(bead)"),
        ("set-order", "names = [bead.name for bead in frozenset(beads)]"),
        ("set-order", "names = list({bead.name for bead in beads})"),
        ("set-order", "names = ', '.join({bead.name for bead in beads})"),
        ("set-order", "names = [*set(beads)]"),
        ("set-order", "first = set(beads).pop()"),
        ("sql-clock", "sql = \"SELECT id FROM beads WHERE at < datetime('now')\""),
        ("sql-clock", "sql = 'INSERT INTO beads (at) VALUES (CURRENT_TIMESTAMP)'"),
        ("sql-clock", "sql = 'SELECT strftime(:f, at) AS at FROM beads'"),
        ("sql-clock", "sql = f'SELECT {columns} FROM beads WHERE julianday(at) > 1'"),
        ("sql-clock", "sql = 'SELECT date(at) AS day FROM beads'"),
        ("sql-chance", "sql = 'SELECT id FROM beads ORDER BY random()'"),
        ("sql-chance", "order = 'ORDER BY RANDOM()'"),
        ("sql-layout", "sql = 'VACUUM'"),
        ("sql-layout", "sql = 'ANALYZE beads'"),
        ("sql-layout", "sql = 'PRAGMA optimize'"),
        ("sql-star", "sql = 'SELECT * FROM beads'"),
        ("sql-star", "sql = 'WITH b AS (SELECT beads.* FROM beads) SELECT id FROM b'"),
    ],
)
def test_what_would_break_determinism_is_found(rule: str, source: str) -> None:
    assert rule in {finding.rule for finding in findings_in_python(source)}


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import UTC, datetime\nat = datetime.fromisoformat('2026-01-01T00:00:00Z')",
        "from datetime import UTC, datetime\nat = datetime.fromtimestamp(0, UTC)",
        "def f(tick):\n    return tick.now",
        "def f(self):\n    return self.clock.now()",
        "time = 5\nlater = time + 1",
        "import uuid\nid = uuid.uuid5(uuid.NAMESPACE_URL, 'bead-1')",
        "import hashlib\nkey = hashlib.sha256(b'bead-1').hexdigest()",
        "for bead in sorted(set(beads)):\n    print(bead)",
        "known = 'a' in {'a', 'b'}",
        "both = {name.lower() for name in {'A', 'B'}}",
        "'''Never SELECT *, never VACUUM, never datetime('now').'''",
        "def f():\n    '''As CURRENT_TIMESTAMP would.'''",
        "sql = 'SELECT count(*) AS beads FROM beads WHERE at < :now'",
        "denied = ('random', 'strftime', 'current_timestamp')",
        "message = 'the agent did not answer in time (60 s)'",
        "sql = '''\n-- never SELECT * here\nSELECT id FROM beads'''",
    ],
)
def test_what_is_harmless_passes(source: str) -> None:
    assert findings_in_python(source) == []


def test_a_file_of_sql_is_read_without_its_comments() -> None:
    findings = findings_in_sql(
        "-- VACUUM: never\nCREATE TABLE beads (\n  at TEXT DEFAULT CURRENT_TIMESTAMP\n) STRICT;\n"
    )
    assert [(finding.line, finding.rule) for finding in findings] == [(3, "sql-clock")]
