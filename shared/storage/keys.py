"""The keys of all objects that belong to towns. They are built and parsed only here.

    towns/<town>/head                                   the town's newest commit, the only object that is replaced
    towns/<town>/ltx/0001/<min>-<max>.ltx               a spill: the pages that a range of commits changed
    towns/<town>/ltx/0009/<1>-<max>.ltx                 a snapshot: the whole image after a commit
    towns/<town>/patches/<min>-<max>.patch              a patch file: how a range of commits changed pages
    towns/<town>/journal/<min>-<max>.json.lz4           journal rows that have left the image
    towns/<town>/archive/beads/<txid>.json.lz4          ended beads that have left the image after that commit
    towns/<town>/archive/index/<txid>[-<shard>].lz4     where each archived bead is, as of that commit
    towns/<town>/logs/<agent>/<generation>-<kind>.<writer>.json    what a start of an agent printed, or its transcript
    towns/<town>/inbox/<received ms>-<batch id>.json    waiting events, in the order in which they were received
    towns/<town>/put-away                               the head of a town that was put away, which has no head
    due/<UTC second>/<town>                             empty: this town wants a tick at that second
    watch/lives/<life>                                  the towns that a process runs together
    watch/apart/<town>                                  a town that such a process did not survive
    watch/violated/<town>                               empty: an invariant of this town is violated
    probe/<probe id>                                    scratch object of one capability probe

Every part of a key is validated, so no town id leads to the objects of another town or out of a directory.
"""

import hashlib
import re
from datetime import UTC, datetime
from typing import Final

from shared.domain.errors import Refused
from shared.domain.ids import is_town_id
from shared.domain.times import from_milliseconds, to_milliseconds
from shared.ports.agent_logs import LogKind, LogName, LogWriter
from shared.ports.waiting_room import DueMarker

TOWNS: Final = "towns/"
DUE: Final = "due/"
WATCH: Final = "watch/"

_AFTER_EVERYTHING: Final = "~"  # greater than every character in our keys
_BATCH_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_HEAD: Final = re.compile(r"towns/([a-z0-9][a-z0-9-]{0,63})/head", re.ASCII)
_INBOX_OBJECT: Final = re.compile(r"towns/[a-z0-9][a-z0-9-]{0,63}/inbox/[^/]+", re.ASCII)
_RECEIVED: Final = re.compile(r"/inbox/([0-9]{13})-[^/]+\Z", re.ASCII)
_MARKER: Final = re.compile(r"due/(\d{8}T\d{6}Z)/([a-z0-9][a-z0-9-]{0,63})", re.ASCII)
_WATCHED: Final = re.compile(r"watch/(lives|apart|violated)/([a-z0-9][a-z0-9-]{0,63})", re.ASCII)
_LTX: Final = re.compile(r"towns/[a-z0-9][a-z0-9-]{0,63}/ltx/000[0-9]/([0-9a-f]{16})-([0-9a-f]{16})\.ltx", re.ASCII)
_PATCH_FILE: Final = re.compile(r"towns/[a-z0-9][a-z0-9-]{0,63}/patches/([0-9a-f]{16})-([0-9a-f]{16})\.patch", re.ASCII)
_JOURNAL: Final = re.compile(
    r"towns/[a-z0-9][a-z0-9-]{0,63}/journal/([0-9a-f]{16})-([0-9a-f]{16})\.json\.lz4", re.ASCII
)
_ARCHIVE_BLOCK: Final = re.compile(r"towns/[a-z0-9][a-z0-9-]{0,63}/archive/beads/([0-9a-f]{16})\.json\.lz4", re.ASCII)
_ARCHIVE_INDEX: Final = re.compile(
    r"towns/[a-z0-9][a-z0-9-]{0,63}/archive/index/([0-9a-f]{16})(?:-([0-9a-f]{2}))?\.lz4", re.ASCII
)
_LOG: Final = re.compile(
    r"towns/[a-z0-9][a-z0-9-]{0,63}/logs/([^/]{1,150})/([0-9]{10,20})-(log|transcript)\.(container|agent)\.json",
    re.ASCII,
)
_LONGEST_PART: Final = 150
_UNUSUAL: Final = re.compile(r"[^a-z0-9_-]")  # capitals too: some file systems do not tell them apart
_LAST_MILLISECOND: Final = 9_999_999_999_999  # the greatest number of 13 digits, in November 2286


def checked_town_id(town_id: str) -> str:
    """The id itself. Raises Refused if it is not a valid town id."""
    if not is_town_id(town_id):
        raise Refused(
            f"not a town id: {town_id[:80]!r}",
            status=400,
            path="town_id",
            hint="a town id has 1 to 64 lower-case letters, digits and hyphens and does not start with a hyphen",
        )
    return town_id


def head(town_id: str) -> str:
    """The key of the town's head: its newest commit."""
    return f"{TOWNS}{checked_town_id(town_id)}/head"


def put_away(town_id: str) -> str:
    """The key of the head of a town that was put away."""
    return f"{TOWNS}{checked_town_id(town_id)}/put-away"


def snapshot(town_id: str, txid: int) -> str:
    """The key of the snapshot of a commit, as Litestream names it."""
    return f"{ltx_prefix(town_id)}0009/{1:016x}-{txid:016x}.ltx"


def spill(town_id: str, min_txid: int, max_txid: int) -> str:
    """The key of the spill of a range of commits, as Litestream names it."""
    return f"{ltx_prefix(town_id)}0001/{min_txid:016x}-{max_txid:016x}.ltx"


def ltx_prefix(town_id: str) -> str:
    """The prefix of a town's snapshots and spills, which Litestream can restore from."""
    return f"{TOWNS}{checked_town_id(town_id)}/ltx/"


def txids_of(key: str) -> tuple[int, int] | None:
    """The first and last TXID of a spill or snapshot; None for any other key."""
    found = _LTX.fullmatch(key)
    return (int(found[1], 16), int(found[2], 16)) if found else None


def is_snapshot(key: str) -> bool:
    """Whether this is the key of a snapshot."""
    span = txids_of(key)
    return span is not None and span[0] == 1 and "/ltx/0009/" in key


def patch_file(town_id: str, min_txid: int, max_txid: int) -> str:
    """The key of the patch file of a range of commits."""
    return f"{patches_prefix(town_id)}{min_txid:016x}-{max_txid:016x}.patch"


def patches_prefix(town_id: str) -> str:
    """The prefix of a town's patch files, in order of commits."""
    return f"{TOWNS}{checked_town_id(town_id)}/patches/"


def patched_txids_of(key: str) -> tuple[int, int] | None:
    """The first and last TXID of a patch file; None for any other key."""
    found = _PATCH_FILE.fullmatch(key)
    return (int(found[1], 16), int(found[2], 16)) if found else None


def ticks_of(key: str) -> tuple[int, int] | None:
    """The first and last tick of a journal object; None for any other key."""
    found = _JOURNAL.fullmatch(key)
    return (int(found[1], 16), int(found[2], 16)) if found else None


def journal(town_id: str, min_tick: int, max_tick: int) -> str:
    """The key of the journal object with the rows of ticks `min_tick` to `max_tick`, inclusive."""
    return f"{journal_prefix(town_id)}{min_tick:016x}-{max_tick:016x}.json.lz4"


def journal_prefix(town_id: str) -> str:
    """The prefix of a town's journal objects, in order of ticks."""
    return f"{TOWNS}{checked_town_id(town_id)}/journal/"


def archive_block(town_id: str, txid: int) -> str:
    """The key of the archived beads that left the image of a commit."""
    return f"{archive_blocks(town_id)}{txid:016x}.json.lz4"


def archive_blocks(town_id: str) -> str:
    """The prefix of a town's archived beads, in order of commits."""
    return f"{archive_prefix(town_id)}beads/"


def archive_index(town_id: str, txid: int, shard: int | None = None) -> str:
    """The key of the archive's index as of a commit, or of one of its shards."""
    return f"{archive_indexes(town_id)}{txid:016x}{'' if shard is None else f'-{shard:02x}'}.lz4"


def archive_indexes(town_id: str) -> str:
    """The prefix of all indexes of a town's archive and their shards."""
    return f"{archive_prefix(town_id)}index/"


def archive_prefix(town_id: str) -> str:
    """The prefix of all that belongs to a town's archive."""
    return f"{TOWNS}{checked_town_id(town_id)}/archive/"


def archive_block_of(key: str) -> int | None:
    """The commit after which the beads in this object left the image; None for any other key."""
    found = _ARCHIVE_BLOCK.fullmatch(key)
    return int(found[1], 16) if found else None


def archive_index_of(key: str) -> tuple[int, int | None] | None:
    """The commit of an index of the archive, and the shard if it is one; None for any other key."""
    found = _ARCHIVE_INDEX.fullmatch(key)
    return (int(found[1], 16), None if found[2] is None else int(found[2], 16)) if found else None


def logs_of(town_id: str, agent_id: str | None = None) -> str:
    """The prefix of the logs of a town, or of one of its agents."""
    prefix = f"{TOWNS}{checked_town_id(town_id)}/logs/"
    return prefix if agent_id is None else f"{prefix}{_part(agent_id)}/"


def log(town_id: str, name: LogName) -> str:
    """The key of a log."""
    return f"{logs_of(town_id, name.agent_id)}{name.generation:010d}-{name.kind}.{name.by}.json"


def named_log(key: str, agent_id: str) -> LogName | None:
    """The log of this agent that a key names; None for any other key."""
    found = _LOG.fullmatch(key)
    if found is None or found[1] != _part(agent_id):
        return None
    kind: LogKind = "transcript" if found[3] == "transcript" else "log"
    by: LogWriter = "container" if found[4] == "container" else "agent"
    return LogName(agent_id, int(found[2]), kind, by)


def _part(agent_id: str) -> str:
    """The id of an agent, which may contain any character, as one part of a key. Different ids have different parts."""
    escaped = _UNUSUAL.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), agent_id) or "%"
    return escaped if len(escaped) <= _LONGEST_PART else "%" + hashlib.sha256(agent_id.encode()).hexdigest()


def town_of_head(key: str) -> str | None:
    """The town whose head this is; None for any other key."""
    found = _HEAD.fullmatch(key)
    return found[1] if found else None


def town_of(key: str) -> str | None:
    """The town to which an object below `towns/` belongs; None for any other key."""
    name, slash, _ = key.removeprefix(TOWNS).partition("/")
    return name if slash and key.startswith(TOWNS) and is_town_id(name) else None


def before_head(town_id: str) -> str:
    """A text between the keys of a town's archive, which come before its head, and the head."""
    return f"{archive_prefix(town_id)}{_AFTER_EVERYTHING}"


def after_town_of(key: str) -> str:
    """A text greater than every key of the town that `key` belongs to, and less than every key of the next town."""
    name, slash, _ = key.removeprefix(TOWNS).partition("/")
    return f"{TOWNS}{name}{slash}{_AFTER_EVERYTHING}" if slash else key


def towns_beginning(prefix: str) -> str:
    """The prefix of all objects of the towns whose ids begin with `prefix`; if no id can, a prefix that matches nothing."""
    return f"{TOWNS}{prefix if is_town_id(prefix) or not prefix else _AFTER_EVERYTHING}"


def town(town_id: str) -> str:
    """The prefix of everything that a town owns: its archive comes first, then its head, then its inbox."""
    return f"{TOWNS}{checked_town_id(town_id)}/"


def inbox(town_id: str) -> str:
    """The prefix of all events that wait for the town."""
    return f"{TOWNS}{checked_town_id(town_id)}/inbox/"


def inbox_object(town_id: str, received_at: datetime, batch_id: str) -> str:
    """The key of one batch. The order of keys is the order in which batches were received."""
    received = to_milliseconds(received_at)
    if not 0 <= received <= _LAST_MILLISECOND:
        hint = "check the clock of this machine"
        raise Refused(f"a batch cannot have been received at {received_at}", status=400, path="received_at", hint=hint)
    if not _BATCH_ID.fullmatch(batch_id):
        raise Refused(
            f"not a batch id: {batch_id[:80]!r}",
            status=400,
            path="batch_id",
            hint="a batch id has 1 to 128 characters of A-Z a-z 0-9 . - _ and starts with a letter or digit",
        )
    return f"{inbox(town_id)}{received:013d}-{batch_id}.json"


def beside(key: str) -> str:
    """The key of another batch that was received at the same time."""
    name, dot, end = key.rpartition(".json")
    return f"{name}-moved.json" if dot and not end else f"{key}-moved"


def received_at(key: str) -> datetime | None:
    """When the batch with this key was received; None if its name does not say."""
    found = _RECEIVED.search(key)
    return None if found is None else from_milliseconds(int(found[1]))


def is_inbox_object(key: str) -> bool:
    """Whether this is the key of an object in a town's inbox."""
    return _INBOX_OBJECT.fullmatch(key) is not None


def is_log(key: str) -> bool:
    """Whether this is the key of a log of an agent."""
    return _LOG.fullmatch(key) is not None


def is_known(key: str) -> bool:
    """Whether this is the key of any object below `towns/` that the reconciler writes."""
    of_history = (txids_of(key), patched_txids_of(key), ticks_of(key))
    of_a_town = (town_of_head(key), *of_history, archive_block_of(key), archive_index_of(key))
    other = is_inbox_object(key) or is_log(key) or key.endswith("/put-away")
    return other or any(each is not None for each in of_a_town)


def kind_of(key: str) -> str | None:
    """The value of the tag `kind`, by which the bucket's lifecycle selects objects: `inbox`, `log`, or None for no tag."""
    return "inbox" if is_inbox_object(key) else "log" if is_log(key) else None


def due_marker(town_id: str, at: datetime) -> DueMarker:
    """The marker of the second that contains `at`; it is never later than `at`."""
    second = at.astimezone(UTC).replace(microsecond=0)
    key = f"{DUE}{_second_text(second)}/{checked_town_id(town_id)}"
    return DueMarker(key=key, town_id=town_id, at=second)


def marker_of(key: str) -> DueMarker | None:
    """The marker with this key; None if it is not the key of a marker."""
    found = _MARKER.fullmatch(key)
    if not found:
        return None
    try:
        at = datetime.fromisoformat(found[1])  # ten times as fast as strptime, and a busy pass reads many markers
    except ValueError:  # digits, but not a date: 20260231T000000Z
        return None
    return DueMarker(key=key, town_id=found[2], at=at)


def life(life_id: str) -> str:
    """The key of the note of a process about the towns that it runs."""
    return f"{WATCH}lives/{checked_town_id(life_id)}"


def apart(town_id: str) -> str:
    """The key of the record of a town that runs apart from others."""
    return f"{WATCH}apart/{checked_town_id(town_id)}"


def violated(town_id: str) -> str:
    """The key of the marker of a town that violates an invariant."""
    return f"{WATCH}violated/{checked_town_id(town_id)}"


def watched(key: str) -> tuple[str, str] | None:
    """The kind and the name of an object under `watch/`; None for any other key."""
    found = _WATCHED.fullmatch(key)
    return (found[1], found[2]) if found else None


def after_due(now: datetime) -> str:
    """A text greater than the keys of all markers of `now` or earlier, and less than those of all later ones."""
    return f"{DUE}{_second_text(now.astimezone(UTC))}/{_AFTER_EVERYTHING}"


def probe(probe_id: str) -> str:
    """The scratch key of one capability probe."""
    if not _BATCH_ID.fullmatch(probe_id):
        hint = "a probe id has 1 to 128 characters of A-Z a-z 0-9 . - _ and starts with a letter or digit"
        raise Refused(f"not a probe id: {probe_id[:80]!r}", status=400, path="probe_id", hint=hint)
    return f"probe/{probe_id}"


def _second_text(at: datetime) -> str:
    return f"{at.year:04d}{at:%m%dT%H%M%SZ}"  # strftime may write years before 1000 with fewer than four digits
