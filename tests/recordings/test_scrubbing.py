"""Nothing that people wrote leaves the town with a recording, wherever it stood; and the town decides as it did."""

import lzma
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import Refused
from shared.domain.senders import Sender
from shared.domain.times import to_text
from shared.history.retained_past import StoredPast
from shared.images import rewriting
from shared.intake import ingest
from shared.ports.steps import Steps, drive
from shared.ports.town_past import JournalRow, PastImage, journal_row
from shared.replay.recordings import file_format, making, verifying
from shared.replay.recordings.file_format import Recording
from shared.replay.recordings.masking import SECRET, Masks
from shared.replay.recordings.scrubbing import Scrubbing
from shared.replay.time_window import Window
from shared.storage.in_place import restore_in_place
from shared.storage.restore import KeptPast
from shared.town import database
from tests.fakes import FakeClock
from tests.recordings.golden import past_of
from tests.security.holders import a_busy_town, said
from tests.towns import MS, TOWN, T, TownBuilder, a_town, ago, event
from tests.worlds import World

PERSON = "Alice Canary"
SECRETS = (
    "alice.canary@example.com",
    "ghp_Canary0123456789abcdef",
    "https://alice:canary@git.example.com/canary/app.git",
    "AKIACANARY0123456789",
    "password=canary-42",
    "eyJcanary0123.eyJcanary",
    "xoxb-canary-0123456789",
    "+43 660 1234567",
    "Bearer canary0123456789",
    "-----BEGIN CANARY KEY-----",
    "sk-canary-0123456789abcdef",
)
TRACES = (b"canary", b"alice", b"0123456789", b"1234567")
IN_AN_ID = "ghp_Canary0123456789abcdef"

BEAD = {"type": "issue", "status": "closed", "title": "t", "created_at": ago(hours=2), "updated_at": ago(hours=1)}
TEMPLATES: dict[str, tuple[str, dict[str, Any]]] = {
    "beads": ("bead_id", BEAD),
    "agent_metadata": ("bead_id", {"role": "polecat", "identity": "?"}),
    "agent_nudges": ("nudge_id", {"agent_bead_id": "mayor", "message": "", "created_at": ago(hours=1)}),
    "bead_events": ("bead_event_id", {"bead_id": "b", "event_type": "created", "created_at": ago(hours=1)}),
    "convoy_metadata": ("bead_id", {}),
    "escalation_metadata": ("bead_id", {"severity": "low"}),
    "open_violations": (
        "subject",
        {"invariant": 99, "first_seen_tick": 1, "first_seen_at": ago(hours=1), "message": "m"},
    ),
    "outbox": (
        "effect_id",
        {
            "kind": "notify_mayor",
            "generation": 1,
            "subject": "?",
            "payload": "{}",
            "state": "done",
            "deadline": ago(hours=1),
            "created_at": ago(hours=2),
            "finished_at": ago(hours=1),
        },
    ),
    "review_metadata": ("bead_id", {"branch": "b"}),
    "rigs": ("id", {"name": "?", "created_at": ago(hours=2)}),
    "town_events": (
        "event_id",
        {
            "event_type": "nudge_timeout",
            "source": "ingest",
            "created_at": ago(hours=1),
            "received_at": ago(hours=1),
            "processed_at": ago(hours=1),
        },
    ),
    "bead_dependencies": ("bead_id", {"depends_on_bead_id": "?", "dependency_type": "tracks"}),
    "agent_usage": ("agent_id", {"generation": 1, "models": "[]", "reported_at": ago(hours=1)}),
    "usage_sums": ("subject", {"kind": "bead"}),
}
UNREADABLE_BY_A_TICK = {("open_violations", at) for at in ("first_seen_at", "opened_at", "last_captured_at")}
NUMBERED = {"bead_events", "outbox", "town_events"}


def text_columns(town: TownBuilder) -> Iterator[tuple[str, str]]:
    """Every column of every table that holds text."""
    for (table,) in town.rows("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name"):
        for column, kind in town.rows("SELECT name, type FROM pragma_table_info(?)", table):
            if kind == "TEXT" and table in TEMPLATES:
                yield table, column


def with_canaries(*, alive: bool) -> TownBuilder:
    """A town in which every text column of every table holds a secret once, ids and words of our own too.

    A town that is to live needs readable times where the tick itself, and no rule, reads them.
    """
    town = a_town()
    town.sql.set_authorizer(None)
    columns = list(text_columns(town))
    database.restrict(town.sql)
    for number, (table, column) in enumerate(columns):
        if alive and (table, column) in UNREADABLE_BY_A_TICK:
            continue
        key, row = TEMPLATES[table]
        name = f"row-{number}"
        made = {key: name, **{at: f"{name}-{at}" if value == "?" else value for at, value in row.items()}}
        made |= {"seq": 1_000 + number} if table in NUMBERED else {}
        if column in (key, "subject", "id") or column.endswith("_id"):
            made[column] = f"{IN_AN_ID}-{number}"
        elif column in ("payload", "metadata", "config", "labels", "models"):
            secret = {f"{PERSON} {number}": {"x": SECRETS[number % len(SECRETS)], "y": 431234567000}}
            made[column] = [*secret] if column == "labels" else secret
        else:
            made[column] = f"{PERSON} {number} {SECRETS[number % len(SECRETS)]}"
        town.insert(table, **made)
    town.key("config", {"custom_instructions": f"ask {PERSON}", "default_model": SECRETS[1]})
    town.key("alerted", {f"problem {PERSON}": to_text(ago(hours=1))})
    town.key(f"of {PERSON}", {"env": {"TOKEN": SECRETS[2]}})
    return town


def told(world: World) -> None:
    """Canaries come in every free text of every event, while the town works."""
    for number, secret in enumerate(SECRETS):
        bead = {
            "bead_id": f"asked-{number}",
            "type": "issue",
            "title": f"For {PERSON}: {secret}",
            "body": f"call {secret} " + "and more " * 60,
            "rig_id": "rig-1",
            "labels": [secret],
            "metadata": {secret: secret, "deep": [{"alice": secret}]},
        }
        world.post(event("bead_created", {"bead": bead}, event_id=f"create-bead-{number}", at=world.clock.now()))
    world.put_raw(b'{"who":"Alice Canary","password":"canary-42"', name="torn")
    world.run()
    world.clock.move(seconds=30)
    for agent, generation in world.town().rows("SELECT bead_id, generation FROM agent_metadata WHERE generation > 0"):
        if agent in world.runtime.running():
            world.runtime.exits(agent, reason=f"killed by {PERSON}")
            said = {"generation": generation, "branch": "alice/canary", "summary": SECRETS[0]}
            world.post(event("agent_done", said, agent=agent, event_id=f"done-{agent}", at=world.clock.now()))
            status = {"message": f"{PERSON} helps with {SECRETS[3]}"}
            world.post(event("agent_status", status, agent=agent, event_id=f"status-{agent}", at=world.clock.now()))
    world.run()
    for _ in range(6):
        world.clock.move(minutes=3)
        world.run()


def recorded(world: World) -> Recording:
    """The recording of all that happened after T."""
    made = drive(making.record(TOWN, past_of(world), Window(T + MS, world.clock.now())))
    assert made.recording is not None, made.problem
    return made.recording


def traces_in(one: Recording) -> list[tuple[str, bytes]]:
    """What is left of a canary, in the file and in the pages of the image."""
    file = lzma.decompress(file_format.to_bytes(one))
    places = {"file": file.lower(), "image": one.image.lower()}
    found = []
    for place, content in places.items():
        found += [(place, trace) for trace in TRACES if trace in content]
        found += [(place, secret.encode()) for secret in SECRETS if secret.lower().encode() in content]
    return found


def test_nothing_of_a_secret_in_any_text_column_is_in_any_page_of_the_image() -> None:
    image = with_canaries(alive=False).image()
    masked = Scrubbing(TOWN, image, ()).image(image)
    assert [trace for trace in TRACES if trace in masked.lower()] == []
    assert [trace for trace in TRACES if trace not in image.lower()] == []


def test_nothing_of_a_secret_in_any_text_column_or_payload_is_in_the_file() -> None:
    world = World(clock=FakeClock(T))
    world.put_in(with_canaries(alive=True))
    world.clock.move(seconds=10)
    told(world)
    before = b"".join(world.image().image.lower().split())
    assert all(trace in before for trace in TRACES)
    one = recorded(world)
    assert traces_in(one) == []
    assert one.masked > 100
    assert len(one.ticks) > 5
    assert verifying.verify(one).exact


def test_events_of_agents_are_recorded_with_their_agent_and_generation_and_decide_the_same() -> None:
    world = World(clock=FakeClock(T))
    world.put_in(a_busy_town())
    for number, generation in enumerate((4, 5)):
        world.clock.move(seconds=10)
        holder = Sender("agent", "toast", generation, key="key-of-alice", token="token-of-alice", request="alice")
        branch = f"gt/toast/{'b' if generation == 5 else 'evil'}"
        batch = ingest.batch_of(
            [said("agent_done", {"branch": branch}, by="toast")], received_at=world.clock.now(), sent_by=holder
        )
        world.put_raw(batch.body, name=f"b{number}")
        world.run()
    one = recorded(world)
    outcomes = {each["event_id"]: each["outcome"] for tick in one.ticks for each in tick.row["outputs"]["events"]}
    assert outcomes["report-1@toast"] == "skipped: stale generation"
    assert outcomes["report-1~5@toast"] == "applied"
    assert traces_in(one) == []
    assert verifying.verify(one).exact


def test_the_journal_in_the_first_image_leaves_only_its_numbers() -> None:
    world = World(clock=FakeClock(T - 90 * MS))
    world.put_in(a_town())
    for number in range(4):
        world.post(event("nudge_timeout", event_id=f"secret-0{number}", agent="mayor", at=world.clock.now()))
        world.run()
        world.clock.move(ms=100)
    one = recorded(world)
    kept = rewriting.all_rows(one.image)["ticks"]
    assert [(row["inputs"], row["outputs"]) for row in kept] == [("{}", "{}")] * len(kept)
    assert kept


def test_the_same_text_has_the_same_stand_in_and_another_text_another() -> None:
    masks = Masks()
    first, again, other = masks.free("one"), masks.free("one"), masks.free("two")
    assert first == again != other
    assert masks.count == 2


@pytest.mark.parametrize("given", ["2026-01-10T12:00:00.000Z", "in_progress", "gt:held", "", " - ", "Toast", "main"])
def test_words_of_our_own_and_times_stay(given: str) -> None:
    assert Masks().free(given) == given


def test_a_long_text_keeps_its_length_in_characters_and_in_bytes() -> None:
    text = "für 𝄞 … " * 60
    masked = Masks().free(text)
    assert (len(masked), len(masked.encode())) == (len(text), len(text.encode()))
    assert "für" not in masked


def test_an_address_keeps_what_rules_read_of_it() -> None:
    masks = Masks()
    rig, pull = masks.url("git@github.com:Acme/app.git"), masks.url("https://github.com/acme/App/pull/12")
    assert (rig, pull) == (
        "git@github.com:part-1/part-2.git",
        "https://github.com/part-1/part-2/pull/12",
    )
    assert (
        masks.url("https://alice:secret@git.corp.example/a/b.git?token=x") == "https://host-3.invalid/part-4/part-5.git"
    )


def test_an_id_stays_unless_it_gives_itself_away() -> None:
    masks = Masks()
    assert masks.identifier("8501fb00-31ac-87ff-9546-b53130e628ba") == "8501fb00-31ac-87ff-9546-b53130e628ba"
    for given in ("alice@example.com", "Alice Canary", IN_AN_ID):
        assert masks.identifier(given).startswith("id-")
    assert masks.identity("Toast-polecat-rig-1@t1") == "Toast-polecat-rig-1@t1"
    assert masks.identity("Polecat-21-polecat-rig-1@t1") == "Polecat-21-polecat-rig-1@t1"
    assert masks.identity("Alice-polecat-rig-1@t1").startswith("name-")
    assert masks.identity("alice@example.com").startswith("identity-")


def test_a_branch_that_the_town_names_itself_is_named_as_a_tick_with_masked_texts_names_it() -> None:
    masks = Masks(frozenset({"bead-1", "Odd Bead"}))
    assert masks.free("gt/toast/bead-1") == "gt/toast/bead-1"
    assert masks.free("refs/heads/gt/polecat-21/bead-1") == "refs/heads/gt/polecat-21/bead-1"
    title = masks.text("Ship the Contract of Acme", "title")
    assert masks.free("convoy/ship-the-contract-of-acme/0123abcd/head") == f"convoy/{title}/0123abcd/head"
    for of_people in ("gt/alice/bead-1", "gt/toast/secret-plan", "convoy/another-plan/0123abcd/head", "fix/login"):
        assert masks.free(of_people).startswith("masked-")


def test_a_passed_head_and_the_head_of_a_report_stay_equal() -> None:
    masks = Masks()
    assert {masks.text("c0ffee", key) for key in ("head", "head_sha", "review_passed_head", "refused_head")} == {
        "c0ffee"
    }


@pytest.mark.parametrize("secret", SECRETS)
def test_the_last_look_knows_a_secret_when_it_sees_one(secret: str) -> None:
    assert SECRET.search(secret) is not None
    assert SECRET.search(f'{{"x":"a {secret} b"}}') is not None


@pytest.mark.parametrize("given", ["git@github.com:acme/app.git", "Toast-polecat-rig-1@t1", "id-12", "process-1f2e3d"])
def test_the_last_look_lets_pass_what_is_none(given: str) -> None:
    assert SECRET.search(given) is None


@dataclass
class Altered(StoredPast):
    """A past whose journal rows somebody changed."""

    columns: dict[str, Any] = field(default_factory=dict)

    def rows_after(self, town_id: str, tick_no: int) -> Steps[tuple[JournalRow, ...]]:
        rows = yield from super().rows_after(town_id, tick_no)
        return tuple(journal_row({**row, **self.columns}) for row in rows)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"sqlite_version": "3.99.0"}, "only the outputs are compared"),
        ({"now": "2026-01-10T12:00:20.000Z"}, "the result is not what was committed"),
        ({"code_version": "older", "config_digest": "x"}, "is not proven"),
    ],
)
def test_what_is_not_proven_to_have_happened_is_not_recorded(columns: dict[str, Any], problem: str) -> None:
    world = World(clock=FakeClock(T))
    world.put_in(a_town().bead("b1"))
    world.clock.move(seconds=10)
    world.run()
    assert isinstance(world.objects, MemoryObjects)
    past = Altered(world.objects, world.objects, columns=columns)
    made = drive(making.record(TOWN, past, Window(T + MS, world.clock.now() + 60 * 1000 * MS)))
    assert made.recording is None
    assert made.problem is not None
    assert problem in made.problem


@dataclass
class OnlyTheOldest(StoredPast):
    """A past of which all images but the oldest are gone."""

    def before(self, town_id: str, at: datetime) -> Steps[PastImage | None]:
        return (yield from self.oldest(town_id))


def with_a_restore() -> World:
    """Ten ticks; after the sixth somebody brings back the state after the third."""
    world = World(clock=FakeClock(T))
    world.put_in(a_town())
    for number in range(10):
        world.clock.move(seconds=10)
        bead = {"bead_id": f"b{number}", "type": "issue", "title": "t", "rig_id": "rig-1", "labels": ["gt:held"]}
        world.post(event("bead_created", {"bead": bead}, at=world.clock.now()))
        world.run()
        if number == 5:
            past = past_of(world)
            kept = KeptPast(past.objects, past.versions, TOWN)
            old, now = drive(kept.at_txid(4)), world.clock.now()
            drive(restore_in_place(world.store, kept, old, now=now, worker_id="restorer"))
    return world


def test_a_restore_within_a_window_is_said_and_before_it_is_followed() -> None:
    world = with_a_restore()
    across = drive(making.record(TOWN, past_of(world), Window(T + MS, world.clock.now())))
    assert across.recording is None
    assert across.problem is not None
    assert "restored an older state" in across.problem
    kept = past_of(world)
    after = Window(T + 75_000 * MS, world.clock.now())
    followed = drive(making.record(TOWN, OnlyTheOldest(kept.objects, kept.versions), after))
    assert followed.recording is not None, followed.problem
    assert followed.history.started_from.warm_up_ticks > 4
    assert verifying.verify(followed.recording).exact


def test_a_window_in_which_nothing_ran_or_too_much_did_is_refused() -> None:
    world = World(clock=FakeClock(T))
    world.put_in(a_town().bead("b1"))
    world.clock.move(seconds=10)
    world.run()
    with pytest.raises(Refused, match="no tick ran"):
        drive(making.record(TOWN, past_of(world), Window(T + 11_000 * MS, T + 12_000 * MS)))
