"""The pages about upgrades, roll-backs and buckets of one's own, on the emulated stack: the real functions, moto, every command.

Release N is this code without its newest migration (`tests.upgrades.test_back_and_forth`), release N+1 is this code.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest

from infra.townctl.bucket_rules import lifecycle
from shared.town import database
from tests.contracts.roles import BUCKET
from tests.contracts.test_roles import Life, deployment
from tests.integration.runbook_shell import RunbookShell
from tests.integration.test_disasters import RIG, Stack, functions, newest
from tests.upgrades.test_back_and_forth import BEFORE, release_before

pytestmark = pytest.mark.long


@dataclass
class Releases:
    """Which release the functions run: a deployment switches to the one that is checked out and built."""

    older: ExitStack = field(default_factory=ExitStack)
    checked_out: str = "N"
    built: str = "N"
    done: list[str] = field(default_factory=list)

    def checkout(self, release: str) -> None:
        self.checked_out = release

    def build(self) -> None:
        self.built = self.checked_out

    def deploy(self) -> None:
        self.older.close()
        if self.built == "N":
            self.older.enter_context(release_before())
        self.done.append(self.built)


@dataclass
class Deployed(Stack):
    """A stack whose code changes."""

    releases: Releases = field(default_factory=Releases)

    def run(self, page: str, *, release: str, section: str = "") -> None:
        """Run a page that checks out this release."""
        self.shell.programs = {
            "git checkout RELEASE": lambda: self.releases.checkout(release),
            "make test": lambda: None,
            "make build": self.releases.build,
            "sam deploy": self.releases.deploy,
        }
        self.shell.run(page, section=section)


def schema() -> int:
    """The schema of the town's newest commit."""
    with database.opened(newest().image) as sql:
        return database.schema_version(sql)


@pytest.fixture
def stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[Deployed]:
    with deployment("agent", tmp_path / "fargate") as life:
        functions()
        releases = Releases()
        releases.deploy()
        made = Deployed(life, RunbookShell(tmp_path, capsys, {"BUCKET": BUCKET, "TOWN": "t1"}), releases=releases)
        life.operator("PUT", "/api/towns/t1", {})
        life.post("t1", "rig_registered", RIG)
        life.work()
        made.create("b1")
        assert schema() == BEFORE
        yield made
        releases.older.close()


def failed_towns(life: Life, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The errors with which workers refuse towns now."""
    capsys.readouterr()
    life.minute()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    return [line["error"] for line in lines if line.get("event") == "town.failed"]


def test_a_stack_is_upgraded_with_a_migration_and_rolled_back_to_its_last_commit_before(
    stack: Deployed, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.run("upgrade", release="N+1", section="Upgrade")
    assert [town["townId"] for town in stack.shell.said["town"]["towns"]] == ["t1"]
    last = stack.shell.names["N"]
    assert newest().txid == int(last)
    stack.create("b2")
    assert (schema(), stack.beads()) == (BEFORE + 1, {"b1", "b2"})

    stack.run("roll-back", release="N", section="Deploy the older release")
    stack.life.post("t1", "bead_created", {"bead": {"bead_id": "b3", "type": "issue", "title": "x", "rig_id": "r1"}})
    assert failed_towns(stack.life, capsys) == ["SchemaMismatch"]

    def choose() -> None:
        stack.shell.names["N"] = last

    stack.shell.before = {"townctl --bucket BUCKET restore": choose}
    stack.run("roll-back", release="N", section="If the newer release has changed the schema")
    stack.life.minute()
    stack.life.work()
    assert (schema(), stack.beads()) == (BEFORE, {"b1", "b3"})
    assert stack.releases.done == ["N", "N+1", "N"]


def test_deploying_the_newer_release_again_loses_nothing(stack: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    stack.run("upgrade", release="N+1", section="Upgrade")
    stack.create("b2")
    stack.run("roll-back", release="N", section="Deploy the older release")
    stack.life.post("t1", "bead_created", {"bead": {"bead_id": "b3", "type": "issue", "title": "x", "rig_id": "r1"}})
    assert failed_towns(stack.life, capsys) == ["SchemaMismatch"]
    stack.run("roll-back", release="N+1", section="Deploy the older release")
    stack.life.minute()
    stack.life.work()
    assert (schema(), stack.beads()) == (BEFORE + 1, {"b1", "b2", "b3"})


def test_a_bucket_of_ones_own_gets_the_rules_that_are_printed(stack: Deployed) -> None:
    stack.shell.run("harden-a-stack", section="A bucket of your own")
    set_: Any = boto3.client("s3").get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]
    assert {rule["ID"] for rule in set_} == {rule["ID"] for rule in lifecycle(2)["Rules"]}
