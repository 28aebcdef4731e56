"""`make demo STORE=s3`: the same demo on an S3 server that it starts itself, with a shorter story."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from infra.demo import scenario, story
from infra.townctl import main
from tests.integration.test_demo import processes_of

_ONE_TASK = [{"title": "Write the lexer", "depends_on": [], "body": "Turn text into tokens.\n\ndemo: crash-once"}]


@pytest.mark.long
@pytest.mark.slow
def test_on_a_bucket_beads_land_a_crash_is_recovered_and_the_server_is_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Agents are processes that find the bucket in their environment and nothing of this user's own settings."""
    monkeypatch.setattr(scenario, "_TASKS", _ONE_TASK)
    monkeypatch.setenv("AWS_PROFILE", "of-this-user")
    before = dict(os.environ)
    data = tmp_path / "data"
    code = main.run(["--data", str(data), "demo", "--store", "s3", "--json"])
    seen = capsys.readouterr()
    assert code == 0, (seen.out, seen.err)
    told = json.loads(seen.out)
    assert told["ok"] is True
    assert told["data"].startswith("s3://towns-of-the-demo at http://127.0.0.1:")
    assert [beat["by"] for beat in told["recovery"] if beat["by"] in story.RECOVERY]
    assert not list(data.glob("towns/*")), "the town is in the bucket"

    log = subprocess.run(
        ["git", "log", "--format=%s", "main"], cwd=data / "work.git", capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {"Write the lexer", "Greet the reader"} <= set(log)
    assert processes_of(data) == []
    assert dict(os.environ) == before
