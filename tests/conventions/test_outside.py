"""Bytes from outside come in through doors that limit them. What decodes them elsewhere needs a reason.

The doors: `shared.domain.strict_json` for JSON, `outside_files` for files that agents may write, `http_exchange` for answers,
`town.schemas` for images, and one unpacker for each format that is packed.
"""

import ast
from collections.abc import Iterator
from typing import Final

import pytest

from tests.conventions.sources import files_under, imports_of, name_of

_DECODERS: Final = {
    "loads": "strict_json",
    "json": "strict_json",
    "decompress": "an unpacker with a largest size",
    "decompressobj": "an unpacker with a largest size",
    "deserialize": "town.schemas",
    "model_validate_json": "strict_json, then model_validate",
    "validate_json": "strict_json, then validate_python",
    "executescript": "town.schemas",
    "unpack_archive": "an unpacker with a largest size",
}
_PACKERS: Final = {
    "gzip", "bz2", "zlib", "zipfile", "tarfile", "lzma", "lz4", "zstd", "pickle", "marshal", "shelve", "yaml", "tomllib", "xml",
    "csv",
}  # fmt: skip
_PIECE: Final = "unpacks piece by piece and stops at the largest size"
_PYDANTIC: Final = (
    "pydantic's own parser has a limit of depth; the size was checked before, and the shape is that of a model"
)

CALLS: Final = {
    "shared/domain/strict_json.py: json.loads": "this is the door",
    "shared/adapters/forge_http.py: answer.json": "HttpAnswer.json, which is the door",
    "shared/adapters/http_json.py: answer.json": "HttpAnswer.json, which is the door",
    "shared/replay/recordings/file_format.py: unpacking.decompress": _PIECE,
    "shared/storage/publish.py: unpacking.decompress": _PIECE,
    "shared/storage/archive_index.py: unpacking.decompress": _PIECE,
    "shared/storage/patches.py: unpacking.decompress": _PIECE,
    "shared/storage/ltx.py: lz4.block.decompress": "the size of a page is given, and LZ4 writes no more",
    "shared/town/schemas.py: connection.deserialize": "the door of images, which reads only the schema and compares it",
    "shared/town/schemas.py: connection.executescript": "our own scripts",
    "shared/moving/foreign_rows.py: sql.deserialize": "the door of foreign databases: reads plain tables, within limits",
    "shared/moving/importing.py: sql.deserialize": "an image that this process has just made",
    "shared/events/__init__.py: event.model_validate_json": _PYDANTIC,
    "shared/storage/head.py: Manifest.model_validate_json": _PYDANTIC,
    "shared/questions/credential_need.py: RigConfig.model_validate_json": _PYDANTIC,
    "shared/town/rows.py: RigConfig.model_validate_json": _PYDANTIC,
    "infra/agents/control_server/clean_start.py: json.load": "a file without a name, which this program handed to itself",
    "infra/agents/control_server/single.py: StartAgentRequest.model_validate_json": "JSON that was read through the door",
}
IMPORTS: Final = {
    "shared/replay/recordings/file_format.py: lzma": "recordings are xz files",
    "shared/storage/ltx.py: lz4": "pages are LZ4 blocks",
    "shared/storage/publish.py: lz4": "journal objects are LZ4 frames",
    "shared/storage/archive_index.py: lz4": "indexes of archives are LZ4 frames",
    "shared/storage/patches.py: zlib": "crc32 only",
    "shared/storage/patches.py: zstd": "a tail is one Zstandard frame whose dictionary is the originals of its pages",
    "functions/retention/hour.py: zlib": "crc32 only",
    "shared/adapters/s3_answers.py: xml": "answers of the store that keeps the towns; expat limits what entities expand to",
}
_SEARCHED: Final = ("functions", "shared", "infra/agents", "infra/townctl", "infra/demo", "infra/ops/litestream")
"""Not infra/devstack and the rest of infra/ops: they read what the project itself wrote, or are the fakes of tests."""


def _calls() -> Iterator[str]:
    for path in files_under(*_SEARCHED):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if node.func.attr in _DECODERS or ast.unparse(node.func) == "json.load":
                yield f"{name_of(path)}: {ast.unparse(node.func)}"


def _imports() -> Iterator[str]:
    for path in files_under(*_SEARCHED):
        for _, name in imports_of(ast.parse(path.read_text(encoding="utf-8"))):
            yield from (f"{name_of(path)}: {part}" for part in name.split(".") if part in _PACKERS)


@pytest.mark.parametrize(
    ("found", "known"), [(set(_calls()), CALLS), (set(_imports()), IMPORTS)], ids=["calls", "imports"]
)
def test_whatever_decodes_bytes_is_a_door_or_has_a_reason(found: set[str], known: dict[str, str]) -> None:
    new = {each: _DECODERS.get(each.rpartition(".")[2], "a reason in this file") for each in found - set(known)}
    assert not new, "use the door that is named, or add the reason"
    assert set(known) == found, "a reason whose place is gone"


def test_no_program_opens_a_database_of_others_but_the_doors() -> None:
    opened = {
        name_of(path)
        for path in files_under(*_SEARCHED)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "sqlite3.connect"
    }
    assert opened == {
        "shared/images/rewriting.py",  # an empty database, into which rows are written
        "shared/moving/foreign_rows.py",
        "shared/moving/importing.py",  # an image that this process has just made
        "shared/town/database.py",
        "shared/town/schemas.py",  # empty databases, to learn the texts of our own schemas
    }
