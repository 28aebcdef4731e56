"""Code that is rolled back meets a town of newer code: it refuses it, touches nothing, and newer code goes on."""

import pytest

from shared.ports.queue import Wake
from shared.town import database, schemas
from tests.cloud import a_fleet
from tests.towns import T, event


@pytest.mark.lengthy
def test_older_code_refuses_a_town_of_a_newer_schema_and_its_head_stays_until_newer_code_comes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cloud = a_fleet("one", "two")
    ours = database.SCHEMA_VERSION
    original = database.check_identity

    def as_newer_code(sql: database.Database, town_id: str) -> None:
        sql.execute(f"PRAGMA user_version = {ours}")
        original(sql, town_id)
        sql.execute(f"PRAGMA user_version = {ours + 1}")

    def run() -> None:
        for town in ("one", "two"):
            cloud.queue.send([Wake(town, (cloud.world.clock.now(),), f"{town}:{cloud.world.clock.now()}")])
        cloud.queue.pump(cloud.work)
        cloud.world.clock.move(minutes=10)

    with monkeypatch.context() as newer:  # N + 1 has ticked one town
        newer.setattr(database, "check_identity", as_newer_code)
        newer.setattr(schemas, "_require_known", lambda *_: None)  # N + 1 knows its own schema
        cloud.queue.send([Wake("one", (T,), "one:first")])
        cloud.queue.pump(cloud.work)
    head = cloud.world.objects.get("towns/one/head")
    assert len(cloud.world.objects.list("towns/one/inbox/").keys) == 0

    cloud.world.post(event("town_started", event_id="while-N-is-back"), town_id="one")
    run()  # N is back
    failed = [line for line in cloud.lines if line["event"] == "town.failed"]
    assert [(line["town_id"], line["error"]) for line in failed] == [("one", "SchemaMismatch")]
    assert cloud.world.objects.get("towns/one/head") == head
    assert len(cloud.world.objects.list("towns/one/inbox/").keys) == 1
    assert cloud.world.journal("two")

    with monkeypatch.context() as newer:  # N + 1 again
        newer.setattr(database, "check_identity", as_newer_code)
        newer.setattr(schemas, "_require_known", lambda *_: None)  # N + 1 knows its own schema
        run()
        run()
    assert cloud.world.objects.get("towns/one/head") not in (None, head)
    assert len(cloud.world.objects.list("towns/one/inbox/").keys) == 0
    assert [line for line in cloud.lines if line["event"] == "town.failed"] == failed
