"""`litestream.yml` for towns: where Litestream finds each of them. For restore and inspection only."""

from collections.abc import Sequence
from pathlib import Path

from infra.buckets import Bucket
from shared.storage.keys import checked_town_id

_WARNING = """\
# Made by `townctl litestream config`. For `litestream restore` and `litestream ltx` ONLY.
# Never run `litestream replicate` with it: Litestream does not know of other writers and would destroy the history of a
# town. In AWS the policy in infra/ops/policies/litestream_readers.json denies it the writes.
"""


def for_place(bucket: Bucket | None, data: Path, towns: Sequence[str], *, files: Path) -> str:
    """The configuration for towns in a bucket, or, if it is None, in a data directory."""
    return for_directory(data, towns, files=files) if bucket is None else for_bucket(bucket, towns, files=files)


def for_bucket(bucket: Bucket, towns: Sequence[str], *, files: Path) -> str:
    """The configuration for towns in a bucket; `files` is where restored databases go."""
    lines = [_WARNING, "dbs:"]
    for town_id in towns:
        lines += [
            f"  - path: {_quoted(str(files / f'{checked_town_id(town_id)}.db'))}",
            "    replica:",
            "      type: s3",
            f"      bucket: {_quoted(bucket.name)}",
            f"      path: {_quoted(f'towns/{town_id}/ltx')}",
        ]
        if bucket.region is not None:
            lines.append(f"      region: {_quoted(bucket.region)}")
        if bucket.endpoint_url is not None:
            lines += [f"      endpoint: {_quoted(bucket.endpoint_url)}", "      force-path-style: true"]
    return "\n".join(lines) + "\n"


def for_directory(data: Path, towns: Sequence[str], *, files: Path) -> str:
    """The configuration for towns in a data directory, through the links that `link_levels` makes below `files`."""
    lines = [_WARNING, "dbs:"]
    for town_id in towns:
        lines += [
            f"  - path: {_quoted(str(files / f'{checked_town_id(town_id)}.db'))}",
            "    replica:",
            "      type: file",
            f"      path: {_quoted(str(link_levels(data, town_id, files)))}",
        ]
    return "\n".join(lines) + "\n"


def link_levels(data: Path, town_id: str, files: Path) -> Path:
    """A folder in which Litestream finds a town of a data directory.

    Litestream names levels `0009` in a bucket, as we do, and `9` in a directory; links make one of the other.
    """
    replica = files / "replicas" / checked_town_id(town_id)
    levels = replica / "ltx"
    levels.mkdir(parents=True, exist_ok=True)
    for level in (1, 9):
        link = levels / str(level)
        if not link.is_symlink():
            link.symlink_to(data / "towns" / town_id / "ltx" / f"{level:04x}", target_is_directory=True)
    return replica


def _quoted(text: str) -> str:
    """A YAML scalar in single quotes; nothing in it is taken for syntax."""
    return "'" + text.replace("'", "''") + "'"
