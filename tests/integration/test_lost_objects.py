"""Every object of a town is deleted, cut, changed or exchanged: it is found, a way back is printed, and the way leads back.

Each case damages a copy of the same town, asks `townctl doctor`, follows the command that its finding prints, and then looks at
what is left: the town ticks, its newest state is the newest commit that could be read, and nothing else was lost.
"""

import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import combinations, count
from pathlib import Path
from typing import Any

import pytest

from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.memory_objects import MemoryObjects
from shared.domain import limits
from shared.domain.errors import TownError
from shared.ports.agent_logs import LogName
from shared.ports.object_store import ObjectStore
from shared.ports.steps import drive
from shared.storage import head, keys, layer_reading, layers
from shared.storage.agent_logs import StoredLogs
from shared.storage.archive_index import hash_of, shard_of
from shared.storage.listing import all_keys
from shared.storage.restore import KeptPast
from shared.storage.towns import ObjectTownStore
from shared.town import database
from tests.integration.townctl_calls import Townctl
from tests.scenarios.table import scenario
from tests.small_layers import small_layers
from tests.towns import T, TownBuilder, a_town, event
from tests.worlds import a_world

TOWN, OTHER = "alpha", "beta"
ARCHIVE = ("archive block", "archive index", "archive shard")
KINDS = (
    *("head", "snapshot", "spill", "patch file", "older snapshot", "journal", "log", "inbox", "marker"),
    *ARCHIVE,
)
HARMS = ("deleted", "cut", "flipped", "exchanged")
NOBODY_KNOWS = {
    ("inbox", "deleted"),  # nothing else knows that the batch was there
    ("inbox", "exchanged"),  # a batch does not say for which town it was received
    ("log", "deleted"),  # logs are deleted by their age
    ("log", "exchanged"),  # a log does not say of whom it is
    ("log", "flipped"),  # it is a text, of which another letter is a text too
    ("older snapshot", "deleted"),  # as retention deletes it
    *(("marker", harm) for harm in ("cut", "flipped", "exchanged")),  # a marker has no content
}
BATCH_AND_MARKER = {("inbox", "deleted"), ("marker", "deleted")}
"""The marker is there for the batch, so nothing else knows of either."""
SINGLE = [(kind, harm) for kind in KINDS for harm in HARMS if (kind, harm) not in NOBODY_KNOWS]


@dataclass
class Place:
    """A store with two towns, and what its towns were before anything was damaged."""

    objects: Any
    townctl: Townctl
    beads: dict[int, list[str]] = field(default_factory=dict)

    def kept(self) -> KeptPast:
        return KeptPast(self.objects, self.objects, TOWN)

    def key_of(self, kind: str, town_id: str = TOWN) -> str:
        """The object of this kind that a town would miss most."""
        manifest = _manifest(self.objects, town_id)
        files = sorted(drive(all_keys(self.objects, keys.ltx_prefix(town_id))))
        found: dict[str, Callable[[], str]] = {
            "head": lambda: keys.head(town_id),
            "snapshot": lambda: next(key for key in layer_reading.names_below(manifest) if keys.is_snapshot(key)),
            "spill": lambda: max(key for key in layer_reading.names_below(manifest) if "/ltx/0001/" in key),
            "patch file": lambda: max(key for key in layer_reading.names_below(manifest) if "/patches/" in key),
            "older snapshot": lambda: next(key for key in files if keys.is_snapshot(key)),
            "journal": lambda: drive(all_keys(self.objects, keys.journal_prefix(town_id)))[1],
            "archive block": lambda: drive(all_keys(self.objects, keys.archive_blocks(town_id)))[0],
            "archive index": lambda: max(key for key, shard in _indexes(self.objects, town_id) if shard is None),
            "archive shard": lambda: max(key for key, shard in _indexes(self.objects, town_id) if shard is not None),
            "log": lambda: drive(all_keys(self.objects, keys.logs_of(town_id)))[0],
            "inbox": lambda: drive(all_keys(self.objects, keys.inbox(town_id)))[0],
            "marker": lambda: next(key for key in drive(all_keys(self.objects, keys.DUE)) if key.endswith(town_id)),
        }
        return found[kind]()

    def harm(self, kind: str, harm: str, *, key: str | None = None) -> str:
        """Damage an object past the store's own rules; returns its key."""
        key = key or self.key_of(kind)
        if harm == "deleted":
            for each in drive(all_keys(self.objects, keys.DUE)) if kind == "marker" else [key]:
                if kind != "marker" or each.endswith(TOWN):
                    self.objects.delete(each)
            return key
        body = self.objects.get(key).body
        if harm == "cut":
            body = body[: len(body) // 2]
        elif harm == "flipped":
            body = body[:-40] + bytes((body[-40] ^ 4,)) + body[-39:]
        else:
            body = self.objects.get(self.key_of(kind, OTHER)).body
        self.objects.put(key, body)
        return key

    def findings(self) -> list[dict[str, str]]:
        """What the doctor finds in the town."""
        called = self.townctl("doctor", TOWN, "--json")
        assert called.code in (0, 1), called.err
        return [each for each in called.document["findings"] if each["townId"] == TOWN]

    def newest_beads(self) -> list[str]:
        image = drive(ObjectTownStore(self.objects).load(TOWN))
        return _beads(image.image)


def _manifest(objects: ObjectStore, town_id: str) -> head.Manifest:
    found = objects.get(keys.head(town_id))
    assert found is not None
    return head.decode(found.body, key=keys.head(town_id), town_id=town_id).manifest


def _indexes(objects: ObjectStore, town_id: str) -> list[tuple[str, int | None]]:
    listed = drive(all_keys(objects, keys.archive_indexes(town_id)))
    return [(key, place[1]) for key in listed if (place := keys.archive_index_of(key)) is not None]


def _bead_of_shard(town_id: str, shard: int) -> str:
    """The id of a bead that belongs into this shard of the archive's index."""
    return next(each for number in count() if shard_of(hash_of(each := f"{town_id}-old-{number}")) == shard)


def _with_ended_beads(town_id: str) -> TownBuilder:
    """A town of which five beads leave for the archive, one every ten hours; the index has a shard for each."""
    town = a_town(town_id)
    for number in range(1, 6):
        closed = T - timedelta(hours=60 - 10 * number)
        bead_id = _bead_of_shard(town_id, number)
        town.bead(bead_id, status="closed", created_at=closed, updated_at=closed, closed_at=closed)
    return town


def _beads(image: bytes) -> list[str]:
    with database.opened(image) as sql:
        return [row[0] for row in sql.execute("SELECT bead_id FROM beads WHERE status = 'open' AND type = 'issue'")]


def _live(objects: Any, town_id: str) -> dict[int, list[str]]:
    """Forty ticks with spills, two snapshots and journal objects; then an event that waits, and a log. The beads by commit."""
    world = a_world(_with_ended_beads(town_id), objects=objects)
    beads, rng = {}, random.Random(town_id)
    for number in range(90):
        if number >= 40 and _manifest(objects, town_id).spills and _manifest(objects, town_id).patch_files:
            break  # its newest head needs every kind of object
        world.clock.move(hours=1, seconds=number)
        body = rng.randbytes(6000).hex()
        bead = {"bead_id": f"{town_id}-{number:02}", "type": "issue", "title": "t", "body": body, "labels": ["gt:held"]}
        world.post(event("bead_created", {"bead": bead}, event_id=f"create-{number:03}"), town_id=town_id)
        world.run(town_id=town_id)
        image = world.image(town_id)
        beads[image.txid] = _beads(image.image)
    world.clock.move(minutes=1)
    bead = {"bead_id": f"{town_id}-waits", "type": "issue", "title": "t", "labels": ["gt:held"]}
    world.post(event("bead_created", {"bead": bead}, event_id="waits-long"), town_id=town_id)
    drive(StoredLogs(objects).keep(town_id, LogName("agent", 1, "log", "container"), "it ran " * 30, at=T))
    return beads


@pytest.fixture(scope="module")
def towns(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same two towns in a directory and in memory, with small thresholds, so that every kind of object exists."""
    root = tmp_path_factory.mktemp("towns")
    memory = MemoryObjects(kept_versions=1000, now=lambda: datetime.now(UTC))
    with pytest.MonkeyPatch.context() as patched:
        small_layers(patched, 20 * 1024, patch_files=1)
        patched.setattr(layers, "SNAPSHOT_EVERY", timedelta(hours=30))
        patched.setattr(limits, "JOURNAL_WINDOW_ROWS", 12)
        beads = _live(memory, TOWN)
        for objects, town_id in ((memory, OTHER), (DirectoryObjects(root), TOWN), (DirectoryObjects(root), OTHER)):
            _live(objects, town_id)
    return {"directory": root, "memory": memory, "beads": beads}


@pytest.fixture(params=["memory", "directory"])
def place(
    towns: dict[str, Any], request: pytest.FixtureRequest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Iterator[Place]:
    """A copy of the towns."""
    data = tmp_path / "data"
    if request.param == "directory":
        shutil.copytree(towns["directory"], data)
        yield Place(DirectoryObjects(data), Townctl(data, capsys), towns["beads"])
    else:
        data.mkdir()
        memory = _copy(towns["memory"])
        yield Place(memory, Townctl(data, capsys, objects=lambda _: memory), towns["beads"])


def _copy(memory: MemoryObjects) -> MemoryObjects:
    made = MemoryObjects(kept_versions=1000, now=lambda: datetime.now(UTC))
    for name in ("_objects", "_times", "_keys"):
        setattr(made, name, getattr(memory, name).copy())
    made._past = {key: past.copy() for key, past in memory._past.items()}
    made._writes = memory._writes
    return made


def _commands(hint: str) -> list[list[str]]:
    """The commands of townctl that a hint names in full."""
    found = [words.split()[1:] for words in re.findall(r"`(townctl [^`]+)`", hint)]
    return [words for words in found if "N" not in words and "TOWN" not in words]


def _contents(objects: ObjectStore) -> dict[str, bytes]:
    found = {key: objects.get(key) for key in drive(all_keys(objects, keys.TOWNS))}
    return {key: stored.body for key, stored in found.items() if stored is not None}


def _check(place: Place, harms: tuple[tuple[str, str], ...]) -> None:
    chosen = {kind: place.key_of(kind) for kind, _ in harms}  # before the head is harmed, which names them
    damaged = {place.harm(kind, harm, key=chosen[kind]) for kind, harm in harms}
    before = _contents(place.objects)
    readable = drive(place.kept().newest_readable())
    assert readable is not None
    findings = place.findings()
    for kind, harm in harms:
        if (kind, harm) not in NOBODY_KNOWS and set(harms) != BATCH_AND_MARKER:
            assert findings, (kind, harm)
    for finding in findings:
        assert finding["hint"]
        for command in _commands(finding["hint"]):
            called = place.townctl(*command, "--json")
            assert called.code in (0, 1), (command, called.err)
    left = [each["check"] for each in place.findings()]
    assert "head" not in left, left
    ticked = place.townctl("tick", TOWN, "--force", "--json")
    assert ticked.code == 0, ticked.err
    wanted = set(place.beads[readable.point.txid])
    assert wanted <= set(place.newest_beads())
    for key, body in before.items():  # whatever was still there is there, or was taken in by the tick
        still = place.objects.get(key)
        taken = keys.is_inbox_object(key) or key == keys.head(TOWN) or key in damaged
        assert taken or (still is not None and still.body == body), key


IN_A_DIRECTORY = [("head", harm) for harm in HARMS] + [("spill", "cut")]
"""The stores differ only in what is left of a head; the other kinds are tried in memory, which is faster."""


@scenario(594)
@pytest.mark.parametrize(
    ("place", "kind", "harm"),
    [("memory", *each) for each in SINGLE] + [("directory", *each) for each in IN_A_DIRECTORY],
    ids=str,
    indirect=["place"],
)
def test_what_happens_to_any_object_is_found_and_the_printed_way_leads_back(place: Place, kind: str, harm: str) -> None:
    _check(place, ((kind, harm),))


def _harm_to(kind: str, number: int) -> tuple[str, str]:
    """A harm to an object of a kind; a marker has no content that could be harmed."""
    return kind, "deleted" if kind == "marker" else HARMS[number % 4]


PAIRS = [(_harm_to(one, at), _harm_to(other, at + 1)) for at, (one, other) in enumerate(combinations(KINDS, 2))]


@pytest.mark.long
@pytest.mark.parametrize(
    ("place", "harms"),
    [("memory", harms) for harms in PAIRS] + [("directory", harms) for harms in PAIRS if harms[0][0] == "head"],
    ids=str,
    indirect=["place"],
)
def test_what_happens_to_any_two_objects_is_found_and_the_printed_way_leads_back(
    place: Place, harms: tuple[tuple[str, str], ...]
) -> None:
    _check(place, harms)


MENDED = ("patch file", "spill", "snapshot", "journal", "archive index", "archive shard")


@scenario(597)
@pytest.mark.parametrize("place", ["memory"], indirect=True)
@pytest.mark.parametrize("harm", HARMS)
def test_whatever_is_told_elsewhere_is_made_again_and_nothing_is_lost(place: Place, harm: str) -> None:
    """Seen: a patch file was damaged. The head before it still had what was in it, and the town went back to that head."""
    newest, before = place.newest_beads(), _contents(place.objects)
    # of a shard and a block that contradict each other, and no index beside them, nobody can tell which is the town's
    kinds = [kind for kind in MENDED if (kind, harm) != ("archive shard", "exchanged")]
    chosen = {kind: place.key_of(kind) for kind in kinds}
    for kind, key in chosen.items():
        place.harm(kind, harm, key=key)
    harmed = _contents(place.objects)
    listed = place.townctl.document("mend", TOWN, "--only-list")
    assert _contents(place.objects) == harmed, "nothing is written"
    assert {each["key"] for each in listed["remade"]} == set(chosen.values())
    [hint] = [each["hint"] for each in place.findings() if each["check"] == "head"]
    assert _commands(hint) == [["mend", TOWN]]
    mended = place.townctl.document("mend", TOWN)
    assert (mended["notRemade"], mended["remade"]) == ([], listed["remade"])
    assert _contents(place.objects) == before, "the same bytes"
    assert place.newest_beads() == newest
    assert place.townctl.document("mend", TOWN)["remade"] == [], "there is nothing left to do"
    assert [each for each in place.findings() if each["check"] != "due marker"] == []


@scenario(597)
@pytest.mark.parametrize("place", ["memory"], indirect=True)
def test_what_is_told_nowhere_else_is_said_with_what_to_do_and_the_index_waits_for_it(place: Place) -> None:
    block, root = place.harm("archive block", "cut"), place.harm("archive index", "deleted")
    mended = place.townctl("mend", TOWN, "--json")
    assert mended.code == 1
    told = {each["key"]: each for each in mended.document["notRemade"]}
    assert set(told) == {block, root}
    assert "nowhere else" in told[block]["why"]
    assert "put it back" in told[block]["hint"]
    assert "the blocks of the archive" in told[root]["why"]


@scenario(598)
@pytest.mark.parametrize("place", ["memory"], indirect=True)
def test_a_quick_check_leaves_out_the_past(place: Place) -> None:
    place.harm("journal", "flipped")
    assert [each["check"] for each in place.findings()] == ["history"]
    quick = place.townctl("doctor", TOWN, "--quick", "--json")
    assert (quick.code, quick.document["findings"]) == (0, [])
    place.harm("patch file", "cut")
    quick = place.townctl("doctor", TOWN, "--quick", "--json")
    assert [each["check"] for each in quick.document["findings"]] == ["head"]


def test_an_intact_town_has_no_finding(place: Place) -> None:
    found = [each for each in place.findings() if each["check"] != "due marker"]
    assert found == []


@scenario(595)
def test_a_name_whose_history_is_there_is_not_given_away_and_every_command_names_the_way_back(place: Place) -> None:
    """Created over its own history, a town could not commit: the objects that it wanted to create were there."""
    place.harm("head", "deleted")
    for words in (
        ["town", "create", TOWN],
        ["tick", TOWN],
        ["town", "status", TOWN],
        ["ticks", TOWN],
        ["explain", "bead", "x", TOWN],
    ):
        refused = place.townctl(*words, "--json")
        assert refused.code == 2, words
        assert "history" in refused.error["message"], (words, refused.error)
        assert f"townctl restore {TOWN} --in-place --txid N" in refused.error["hint"], words
    points = place.townctl.document("points", TOWN)
    assert points["points"]
    assert "has lost its head" in points["notes"][0]
    with pytest.raises(TownError, match="has lost its head"):
        drive(ObjectTownStore(place.objects).load(TOWN))


@scenario(595)
def test_numbers_that_lost_ticks_may_have_used_are_used_by_nobody_again(place: Place) -> None:
    lost = _manifest(place.objects, TOWN)
    place.harm("head", "deleted")
    newest = place.townctl.document("points", TOWN)["points"][0]
    restored = place.townctl.document("restore", TOWN, "--in-place", "--txid", str(newest["txid"]))
    after = _manifest(place.objects, TOWN)
    assert restored["txid"] == after.txid > lost.txid
    assert after.tick_no > lost.tick_no
    assert after.txid - after.tick_no == lost.txid - lost.tick_no
    assert (after.epoch, lost.epoch) == (1, 0)
    [entry] = [tick for tick in place.townctl.document("ticks", TOWN)["ticks"] if tick["restore"]]
    assert entry["restore"]["lostHead"] is True
    assert place.findings() == []


@pytest.mark.parametrize("place", ["memory"], indirect=True)
@pytest.mark.parametrize(
    ("kind", "harm"), [each for each in SINGLE if each[0] in {"head", "snapshot", "spill", "journal"}]
)
def test_the_points_are_listed_whatever_is_damaged(place: Place, kind: str, harm: str) -> None:
    """Seen: the list also tells what each commit changed in the settings, and refused when the newest commit was damaged."""
    intact = place.townctl.document("points", TOWN, "--limit", "100")["points"]
    place.harm(kind, harm)
    listed = place.townctl.document("points", TOWN, "--limit", "100")
    left = listed["points"]
    assert left
    assert {point["txid"] for point in left} <= {point["txid"] for point in intact}
    assert listed["notes"] or kind == "journal"
    earlier = place.townctl.document("points", TOWN, "--before", "20")["points"]
    assert earlier[0]["tick"] == 19
    assert earlier == [point for point in left if point["txid"] <= earlier[0]["txid"]][:20]
