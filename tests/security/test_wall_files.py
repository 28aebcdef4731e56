"""W8: hostile bytes from outside. Every attack ends in one of our own errors, within 256 MiB and without running what it brought.

The attacks run in children with a limit of memory (`confined`); the fuzzers change genuine files byte by byte.
"""

import json
import lzma
import os
import sqlite3
import struct
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import lz4.frame
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.agents.control_server.requests import StartAgentRequest
from infra.ops.litestream import adopt
from infra.townctl import api_client
from infra.townctl.recordings import replay_file
from shared.adapters import outside_files
from shared.adapters.http_exchange import HttpAnswer
from shared.adapters.sqs_queue import wake_of
from shared.domain import strict_json
from shared.domain.errors import DamagedImage, ImageTooLarge, Refused, SchemaMismatch
from shared.images import image_digest
from shared.images.first_image import found
from shared.moving import export, foreign_rows, importing, transfer
from shared.replay.recordings import file_format
from shared.replay.recordings.file_format import Recording, page_marks
from shared.replay.recordings.verifying import verify
from shared.storage import keys, ltx, publish
from shared.town import database
from tests.raw_servers import answer, answering
from tests.recordings import golden
from tests.security.confined import outcome
from tests.towns import T

GENUINE: Final = "poison"
DEEP: Final = b"[" * 200_000 + b"]" * 200_000
FLAT: Final = b"[" + b"{}," * 4_000_000 + b"{}]"
"""12 MB of text that become 290 MB of objects."""
ENDLESS: Final = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n"


def image() -> bytes:
    return found("t1")


def changed(statements: str, content: bytes | None = None) -> bytes:
    """An image after statements that no release would run."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as sql:
        sql.deserialize(content or image())
        sql.execute("PRAGMA ignore_check_constraints = ON")
        sql.executescript(statements)
        return sql.serialize()


# --- images ----------------------------------------------------------------------------------------------------

FORGED_SCHEMAS: Final = {
    "trigger": f"CREATE TRIGGER t AFTER UPDATE ON town BEGIN INSERT INTO town SELECT i, i FROM ({ENDLESS}); END",
    "temporary-looking view": f"DROP VIEW IF EXISTS beads_live; CREATE VIEW extra AS {ENDLESS}",
    "virtual table": "CREATE VIRTUAL TABLE words USING fts5(body)",
    "table": "CREATE TABLE more (x)",
    "index": "CREATE INDEX more ON beads (title)",
    "index on an expression": "CREATE INDEX more ON beads (hex(zeroblob(length(title) * 1000000)))",
    "column": "ALTER TABLE beads ADD COLUMN more TEXT",
    "generated column": "ALTER TABLE beads ADD COLUMN more TEXT AS (hex(zeroblob(1000000000))) VIRTUAL",
    "check": "CREATE TABLE more (x CHECK (length(hex(zeroblob(500000000))) > 0))",
    "statistics": "ANALYZE",
    "sequence": "CREATE TABLE more (x INTEGER PRIMARY KEY AUTOINCREMENT); DROP TABLE more",
    "lost index": "DROP INDEX outbox_by_subject",
    "lost table": "DROP TABLE agent_nudges",
    "looser text": (
        "PRAGMA writable_schema = ON; "
        "UPDATE sqlite_schema SET sql = replace(sql, 'NOT NULL', '        ') WHERE name = 'bead_events'"
    ),
    "other version": "PRAGMA user_version = 1",
    "newer version": f"PRAGMA user_version = {database.SCHEMA_VERSION + 1}",
    "no version": "PRAGMA user_version = 0",
    "no town": "PRAGMA application_id = 0",
}


@pytest.mark.parametrize("kind", FORGED_SCHEMAS)
def test_an_image_opens_only_with_the_schema_of_a_release(kind: str) -> None:
    with pytest.raises(SchemaMismatch) as refused:
        database.open_image(changed(FORGED_SCHEMAS[kind]))
    assert refused.value.hint


def test_the_schemas_of_all_releases_open_made_new_or_migrated() -> None:
    from tests.upgrades.older import demo_image

    for content in (image(), demo_image()):
        with database.opened(content) as sql:
            assert database.schema_version(sql) in range(1, database.SCHEMA_VERSION + 1)


def test_a_schema_of_endless_length_is_not_read_to_its_end() -> None:
    many = changed("".join(f"CREATE TABLE t{number} (x);" for number in range(2500)))
    long = changed(f"CREATE TABLE long (x DEFAULT '{'x' * 100_000}')")
    for content in (many, long):
        name, text = outcome(partial(database.open_image, content))
        assert (name, "not a readable" in text) == ("SchemaMismatch", True)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(1, 255)), min_size=1, max_size=8), st.booleans())
def test_a_mutated_image_is_refused_or_sound(flips: list[tuple[int, int]], in_header: bool) -> None:
    content = bytearray(image())
    for at, mask in flips:
        content[at % (200 if in_header else len(content))] ^= mask
    try:
        database.require_sound(bytes(content))
    except (SchemaMismatch, DamagedImage):
        return
    with database.opened(bytes(content)) as sql:
        sql.execute("SELECT * FROM town").fetchall()


# --- recordings ------------------------------------------------------------------------------------------------


def forged(content: bytes) -> Recording:
    """The genuine recording with another image, whose digests a forger has computed anew."""
    genuine = golden.read(GENUINE)
    return replace(genuine, image=content, image_digest=image_digest.of_image(content), page_marks=page_marks(content))


def packed(text: bytes) -> bytes:
    return lzma.compress(text, preset=0)


@pytest.mark.parametrize("kind", ["trigger", "generated column", "looser text", "virtual table"])
def test_a_forged_image_in_a_recording_runs_nothing(kind: str) -> None:
    body = packed(
        lzma.decompress(file_format.to_bytes(forged(changed(FORGED_SCHEMAS[kind], golden.read(GENUINE).image))))
    )
    name, text = outcome(lambda: verify(file_format.from_bytes(body, "forged")).divergence)
    assert name == "done"
    assert "does not have the schema of a release" in text


def test_rows_in_a_recording_that_make_a_reader_fail_are_a_difference() -> None:
    deep = f"UPDATE town SET value = '{'[' * 50_000}' WHERE key = 'breaker'; UPDATE town SET value = '[]' WHERE key = 'config'"
    for statement in (deep, "DELETE FROM town", "UPDATE town SET value = 'x'"):
        name, text = outcome(partial(verify, forged(changed(statement, golden.read(GENUINE).image))))
        assert (name, "Difference" in text) == ("done", True)


def xz_with_a_huge_dictionary() -> bytes:
    """A genuine file whose header asks for a dictionary of 4 GiB."""
    body = bytearray(packed(b"{}\n"))
    at, size = 12, (body[12] + 1) * 4
    filter_id = body.index(b"\x21\x01", at)
    body[filter_id + 2] = 40
    body[at + size - 4 : at + size] = struct.pack("<I", zlib.crc32(bytes(body[at : at + size - 4])))
    return bytes(body)


def lines_of(change: Callable[[list[dict[str, Any]]], object]) -> bytes:
    lines = [json.loads(line) for line in lzma.decompress(golden.path_of(GENUINE).read_bytes()).splitlines()]
    change(lines)
    return packed("".join(f"{json.dumps(line)}\n" for line in lines).encode())


RECORDING_BOMBS: Final[dict[str, Callable[[], bytes]]] = {
    "zeros": lambda: packed(bytes(70 << 20)),
    "dictionary": xz_with_a_huge_dictionary,
    "deep head": lambda: packed(DEEP + b"\n"),
    "deep line": lambda: packed(lzma.decompress(golden.path_of(GENUINE).read_bytes()) + DEEP + b"\n"),
    "deep inputs": lambda: lines_of(lambda lines: lines[1]["row"].update(inputs=DEEP.decode())),
    "flat head": lambda: packed(FLAT + b"\n"),
    "flat changes": lambda: lines_of(lambda lines: lines[1].update(changes=[[]] * 1_100_000)),
    "long number": lambda: packed(b'{"format":' + b"9" * 1_000_000 + b"}\n"),
    "many ticks": lambda: packed(
        lzma.decompress(golden.path_of(GENUINE).read_bytes()).splitlines()[0] + b"\n" + b"{}\n" * 99
    ),
    "wide": lambda: packed('{"a":"\U0001f600'.encode() + b"a" * (40 << 20) + b'"}\n'),
    "text for a number": lambda: lines_of(lambda lines: lines[0].update(base_tick="x")),
    "list for a town": lambda: lines_of(lambda lines: lines[0].update(town=[1])),
    "number for a time": lambda: lines_of(lambda lines: lines[1]["row"].update(now=5)),
    "list for inputs": lambda: lines_of(lambda lines: lines[1]["row"].update(inputs="[]")),
    "huge tick": lambda: lines_of(lambda lines: lines[1]["row"].update(tick_no=10**30)),
    "odd changes": lambda: lines_of(lambda lines: lines[1].update(changes=[["town", {}, "", {}]])),
}


@pytest.mark.parametrize("kind", RECORDING_BOMBS)
def test_a_bomb_in_a_recording_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.recording"
    path.write_bytes(RECORDING_BOMBS[kind]())
    name, text = outcome(lambda: replay_file(path).document)
    assert name == "Refused" or (name == "done" and "bomb.recording is damaged" in text), (name, text)


def test_an_unknown_format_of_any_length_is_named_in_one_line() -> None:
    def change(lines: list[dict[str, Any]]) -> None:
        lines[0]["version"] = "\x1b[2J" * 1000

    with pytest.raises(Refused, match="has format") as refused:
        file_format.from_bytes(lines_of(change), "odd.recording")
    assert len(refused.value.message) < 100


def test_a_larger_recording_is_read_if_the_reader_allows_it() -> None:
    body = golden.path_of(GENUINE).read_bytes()
    with pytest.raises(Refused, match="more than 0 MiB when it is unpacked") as refused:
        file_format.from_bytes(body, "large", largest=1000)
    assert "--largest" in refused.value.hint
    assert file_format.from_bytes(body, "large").ticks


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 255)), min_size=1, max_size=5), st.integers(0, 10**9))
def test_a_mutated_recording_is_read_or_refused(flips: list[tuple[int, int]], cut: int) -> None:
    text = bytearray(lzma.decompress(golden.path_of(GENUINE).read_bytes()))
    start = text.index(b'"image_digest"')
    for at, mask in flips:
        text[start + at % (len(text) - start)] ^= mask
    if cut % 3 == 0:
        del text[start + cut % (len(text) - start) :]
    with suppress(Refused, DamagedImage):
        file_format.from_bytes(packed(bytes(text)), "mutated")


# --- LTX files, replicas and journal objects -------------------------------------------------------------------


def test_an_ltx_file_that_claims_a_huge_image_is_refused_before_its_pages_are_read(tmp_path: Path) -> None:
    delta = bytearray(ltx.encode_delta({1: bytes(4096)}, page_size=4096, pages=1, min_txid=2, max_txid=2, at=T))
    struct.pack_into(">I", delta, 12, 2**32 - 1)
    assert outcome(lambda: ltx.decode(bytes(delta), "huge"))[0] == "ImageTooLarge"
    folder = tmp_path / "ltx" / "0009"
    folder.mkdir(parents=True)
    (folder / "1.ltx").write_bytes(ltx.encode_snapshot(bytes(4096) * 20_000, page_size=4096, txid=1, at=T))
    name, text = outcome(lambda: adopt.read_replica(tmp_path))
    assert (name, "more than 67108864" in text) == ("ImageTooLarge", True)
    assert adopt.read_replica(tmp_path, largest=100 << 20).txid == 1


def test_only_the_schema_of_a_release_is_adopted_from_a_replica() -> None:
    with pytest.raises(SchemaMismatch):
        adopt.as_town(adopt.Replica(changed(FORGED_SCHEMAS["trigger"]), 1), "t1", now=T)


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 255)), min_size=1, max_size=6), st.integers(0, 10**9))
def test_a_mutated_ltx_file_is_read_or_refused(flips: list[tuple[int, int]], cut: int) -> None:
    blob = bytearray(ltx.encode_snapshot(image()[: 4096 * 8], page_size=4096, txid=1, at=T))
    for at, mask in flips:
        blob[at % len(blob)] ^= mask
    if cut % 2:
        del blob[cut % len(blob) :]
    with suppress(DamagedImage, ImageTooLarge):
        ltx.decode(bytes(blob), "mutated")


JOURNAL: Final = keys.journal("t1", 1, 2)


@pytest.mark.parametrize(
    "content",
    [lambda: bytes(300 << 20), lambda: DEEP, lambda: b"[" + b"{}," * 9_000_000 + b"{}]", lambda: b"9" * 100_000],
    ids=["zeros", "deep", "flat", "number"],
)
def test_a_bomb_in_a_journal_object_is_refused(content: Callable[[], bytes]) -> None:
    body = lz4.frame.compress(content())
    assert outcome(lambda: publish.rows_of(body, JOURNAL))[0] == "DamagedImage"


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 255)), min_size=1, max_size=4))
def test_a_mutated_journal_object_is_read_or_refused(flips: list[tuple[int, int]]) -> None:
    body = bytearray(publish.compressed(json.dumps({"format": 1, "ticks": []}).encode()))
    for at, mask in flips:
        body[at % len(body)] ^= mask
    with pytest.raises(DamagedImage):
        publish.rows_of(bytes(body), JOURNAL)


# --- imports ---------------------------------------------------------------------------------------------------


def foreign(*statements: str) -> bytes:
    sql = sqlite3.connect(":memory:", isolation_level=None)
    for statement in statements:
        sql.execute(statement)
    made = sql.serialize()
    sql.close()
    return made


BEADS: Final = "CREATE TABLE beads (bead_id, type, title, body)"
MANY: Final = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) "


def imported(content: bytes, *, largest: int = foreign_rows.LARGEST) -> object:
    is_database = content.startswith(foreign_rows.MAGIC)
    read = foreign_rows.of_database if is_database else transfer.of_lines
    given_rows = read(content, largest=largest)
    return importing.imported("new", given_rows, now=T).rows


def with_a_chain_that_is_read_again_and_again() -> bytes:
    """200 rows, each of which claims to be 3 MB long and shares its overflow pages with the others."""
    sql = sqlite3.connect(":memory:", isolation_level=None)
    sql.execute("PRAGMA page_size = 4096")
    sql.execute(BEADS)
    sql.execute("INSERT INTO beads VALUES ('b', 'issue', 'T', zeroblob(3000000))")
    content = bytearray(sql.serialize())
    sql.close()
    page = next(at for at in range(4096, len(content), 4096) if content[at] == 0x0D)
    (cell,) = struct.unpack_from(">H", content, page + 8)
    count = 200
    struct.pack_into(">H", content, page + 3, count)
    for number in range(count):
        struct.pack_into(">H", content, page + 8 + 2 * number, cell)
    return bytes(content)


HEADER: Final = json.dumps({"format": export.FORMAT, "version": 1}).encode()
IMPORT_BOMBS: Final[dict[str, Callable[[], bytes]]] = {
    "many rows": lambda: foreign(BEADS, MANY.format(140_000) + "INSERT INTO beads SELECT i, i, i, i FROM n"),
    "many columns": lambda: foreign(
        f"CREATE TABLE beads (bead_id, {', '.join(f'c{number}' for number in range(1500))})",
        MANY.format(12_000) + "INSERT INTO beads (bead_id) SELECT i FROM n",
    ),
    "a column too many in each row": lambda: foreign(
        "CREATE TABLE beads (bead_id, odd, strange)", MANY.format(120_000) + "INSERT INTO beads SELECT i, i, i FROM n"
    ),
    "shared pages": with_a_chain_that_is_read_again_and_again,
    "many objects": lambda: foreign(BEADS, *(f"CREATE TABLE t{number} (x)" for number in range(2500))),
    "virtual beads": lambda: foreign("CREATE VIRTUAL TABLE beads USING fts5(bead_id)"),
    "view of beads": lambda: foreign(f"CREATE VIEW beads AS {ENDLESS}"),
}


@pytest.mark.parametrize("kind", IMPORT_BOMBS)
def test_a_foreign_database_with_a_bomb_is_refused(kind: str) -> None:
    content = IMPORT_BOMBS[kind]()
    name, text = outcome(lambda: imported(content))
    assert (name, bool(text)) == ("Refused", True), (name, text)


def test_what_a_foreign_database_brings_to_be_run_is_not_run() -> None:
    content = foreign(
        "CREATE TABLE beads (bead_id, type, title, body, CHECK (length(title) >= 0))",
        "INSERT INTO beads VALUES ('b', 'issue', 'T', NULL)",
        "CREATE INDEX by_expression ON beads (bead_id, type, title, body, length(bead_id))",
        "ALTER TABLE beads ADD COLUMN more AS (hex(zeroblob(1000000000)))",
        f"CREATE TRIGGER t AFTER INSERT ON beads BEGIN INSERT INTO beads (bead_id) SELECT i FROM ({ENDLESS}); END",
        f"CREATE VIEW rigs AS {ENDLESS}",
    )
    name, text = outcome(lambda: imported(content))
    assert name == "done", text


def test_an_export_with_bombs_in_its_lines_is_refused_or_reported() -> None:
    row = b'{"table":"beads","row":{"bead_id":"b","metadata":%s}}\n'
    flat = b"[" + b"{}," * 300_000 + b"{}]"
    for lines in (row % DEEP, row % flat * 12, row % (b"9" * 10_000), b'{"table":"town","row":{}}\n' * 20_000):
        name, text = outcome(partial(imported, HEADER + b"\n" + lines, largest=1 << 20))
        assert name in ("Refused", "done"), (name, text)
    names = ",".join(f'"{number}":""' for number in range(40_000))
    name, text = outcome(partial(imported, HEADER + b"\n" + f'{{"table":"beads","row":{{{names}}}}}\n'.encode() * 100))
    assert name == "Refused", (name, text)
    rows = json.dumps({"format": export.FORMAT, "version": 1, "rows": dict.fromkeys(map(str, range(900_000)), 5)})
    name, text = outcome(partial(imported, rows.encode()))
    assert name == "Refused", (name, text)
    deep_key = {"table": "town", "row": {"key": "config", "value": DEEP.decode()}}
    name, text = outcome(lambda: imported(HEADER + b"\n" + json.dumps(deep_key).encode() + b"\n"))
    assert name == "done", text


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 255)), min_size=1, max_size=8))
def test_a_mutated_database_is_imported_in_part_or_refused(flips: list[tuple[int, int]]) -> None:
    content = bytearray(image())
    for at, mask in flips:
        content[16 + at % (len(content) - 16)] ^= mask
    with suppress(Refused):
        list(foreign_rows.of_database(bytes(content)))


# --- JSON of other programs ------------------------------------------------------------------------------------

JSON_BOMBS: Final = {
    "deep list": DEEP,
    "deep object": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "flat": FLAT,
    "flat numbers": b"[" + b"0," * 5_000_000 + b"0]",
    "long integer": b"9" * 5000,
    "large integer": b"[" + b"9" * 30 + b"]",
    "large float": b"[1e999]",
    "not a number": b"[NaN]",
    "not UTF-8": b'"\xff"',
    "strings without end": b'["' + b'""' * 1_000_000,
}


def started_with(order: str) -> object:
    told = {
        "agentId": "a1",
        "rigId": "",
        "townId": "t1",
        "role": "polecat",
        "name": "a",
        "identity": "a",
        "prompt": "go",
    }
    more = {"model": "m", "gitUrl": "", "branch": "b", "defaultBranch": "main", "envVars": {"TOWN_AGENT_ORDER": order}}
    return StartAgentRequest.model_validate({**told, **more}).order(generation=1)


@pytest.mark.parametrize("kind", JSON_BOMBS)
def test_every_reader_of_json_refuses_a_bomb(kind: str, tmp_path: Path) -> None:
    bomb = JSON_BOMBS[kind]
    path = tmp_path / "status.json"
    path.write_bytes(bomb)
    readers: dict[str, Callable[[], object]] = {
        "an answer of a forge or a control server": lambda: HttpAnswer(200, {}, bomb).json(),
        "a file of an agent": lambda: outside_files.json_of(path, limit=1 << 30),
        "a message of the queue": lambda: wake_of(bomb.decode(errors="replace")),
        "an event": lambda: strict_json.parse(bomb, limit=1 << 30, depth=64),
        "a start order": lambda: started_with(bomb.decode(errors="replace")),
    }
    for reader, read in readers.items():
        name, text = outcome(read)
        assert name in ("UnreadableJson", "Refused", "ValueError", "Unfit"), (reader, name, text)


@settings(max_examples=300)
@given(
    st.binary(max_size=300) | st.text(alphabet='[]{},:"\\0123456789.eE+-ntf \U0001f600', max_size=200).map(str.encode)
)
def test_any_bytes_are_a_value_or_refused(content: bytes) -> None:
    for read in (
        lambda: strict_json.foreign(content, limit=1000),
        lambda: strict_json.parse(content, limit=1000, depth=8),
        lambda: strict_json.stored(content.decode(errors="replace")),
    ):
        with suppress(Refused, ValueError):
            read()


def test_a_compressed_answer_of_an_api_is_not_unpacked() -> None:
    unpacked = zlib.compressobj(1, zlib.DEFLATED, 31)
    bomb = unpacked.compress(bytes(100 << 20)) + unpacked.flush()
    with answering(answer(bomb, "Content-Encoding: gzip")) as server:
        name, text = outcome(lambda: api_client.with_token("GET", f"{server.url}/api/towns", None, token=None).status)
    assert (name, text) == ("done", "200")


def test_a_file_of_an_agent_is_read_up_to_its_limit_and_a_pipe_not_at_all(tmp_path: Path) -> None:
    large, pipe, folder = tmp_path / "large", tmp_path / "pipe", tmp_path / "folder"
    with large.open("wb") as file:
        file.truncate(2 << 30)
    os.mkfifo(pipe)
    folder.mkdir()
    assert outcome(lambda: outside_files.json_of(large))[0] == "UnreadableJson"
    for odd in (pipe, folder, Path("/dev/zero")):
        assert outcome(partial(outside_files.json_of, odd))[0] in ("OSError", "IsADirectoryError")
