"""What towns did is what they would do again. Whoever changes a rule sees here what else it changes."""

import os
import re
from datetime import timedelta

import pytest

from shared.domain import canonical, limits
from shared.replay.recordings import file_format, verifying
from shared.town.known_events import content_digest
from tests.recordings import golden, make

SMALL = ("poison", "crash-loop", "cancelled")


@pytest.mark.parametrize("name", [name for name in golden.NAMES if name != golden.TAMPERED])
def test_a_golden_recording_comes_out_as_it_was_recorded(name: str) -> None:
    verified = verifying.verify(golden.read(name))
    assert verified.exact, golden.complaint(name, verified)
    assert len(verified.ticks) == len(golden.read(name).ticks)


def test_the_recording_that_somebody_tampered_with_is_found_out_at_its_place() -> None:
    verified = verifying.verify(golden.read(golden.TAMPERED))
    assert verified.divergence is not None
    assert (verified.divergence.tick, len(verified.partings)) == (9, 1)
    found = [(each.table, each.key, each.column, each.expected, each.got) for each in verified.divergence.differences]
    event_id = "bead_updated-2026-01-10T12:04:10.000Z-follows"
    said, forged = (canonical.dumps({"labels": ["gt:held"], "priority": word}) for word in ("critical", "low"))
    assert found == [
        ("town_events", event_id, "content_digest", content_digest(said), content_digest(forged)),
        ("beads", "follows", "priority", "critical", "low"),
        ("ticks", "9", "inputs.new_events[1].payload", said, forged),
    ]


def test_every_story_has_its_recording_and_no_recording_lacks_a_story() -> None:
    files = {path.stem for path in golden.FOLDER.glob(f"*{file_format.SUFFIX}")}
    assert files == set(golden.NAMES)
    assert len(files) > 12


@pytest.mark.parametrize("name", SMALL)
def test_a_story_told_again_is_the_recorded_one_and_makes_the_same_bytes_each_time(name: str) -> None:
    made = golden.made(name)
    assert golden.same_story(golden.read(name), made)
    assert file_format.to_bytes(golden.made(name)) == file_format.to_bytes(made)
    assert file_format.from_bytes(file_format.to_bytes(made), name) == made


def test_another_version_of_the_code_is_no_difference_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "code_version", lambda: "another")
    verified = verifying.verify(golden.read("drain"))
    assert verified.exact
    assert verified.notes[-1].endswith("installed code is another")


def test_a_changed_rule_is_a_readable_diff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "BEAD_LOST_AFTER", timedelta(minutes=10))
    verified = verifying.verify(golden.read("busy-day"))
    lines = golden.complaint("busy-day", verified).splitlines()
    assert lines[0].startswith("busy-day: tick 72 does not come out as it was recorded")
    assert re.fullmatch(r"    beads \S+ status: expected 'open', got 'in_progress'", lines[1])
    at = lines.index("  tick 72")
    assert lines[at + 1].startswith("  - B3 beads.reopen_lost transition_bead ")
    assert lines[at + 1].endswith(" in_progress -> open (applied)")
    assert any(line.startswith("  - B1 beads.dispatch_ready dispatch_agent ") for line in lines)
    assert lines[-1] == "  if this is what you want: make recordings-accept, and commit the files"


def test_accepting_says_what_changed_and_leaves_alone_what_did_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: os.PathLike[str]
) -> None:
    before = golden.path_of("outage").read_bytes()
    assert make.main(["outage"]) == 0
    assert capsys.readouterr().out == "outage: unchanged\n"
    assert golden.path_of("outage").read_bytes() == before
    monkeypatch.setattr(limits, "SETTLE_FOR", timedelta(seconds=10))
    assert make.main(["--look", "outage"]) == 1
    said = capsys.readouterr().out
    assert "outage: tick " in said
    assert "settling_until" in said
    assert golden.path_of("outage").read_bytes() == before
