"""`make drain-test` itself: it can fail, and then prints what a person needs. `test_runbook` runs it successfully."""

from pathlib import Path

import pytest

from infra.devstack import drain_test
from shared.adapters.local_processes import LocalProcessRuntime


@pytest.mark.slow
def test_a_town_in_which_nothing_happens_fails_with_rows_and_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The agent's program is missing: no agent is ever alive."""
    monkeypatch.setattr(drain_test, "_REAL_SECONDS_AT_MOST", 1.0)
    monkeypatch.setattr(drain_test, "_COMMAND", "/nowhere/agent")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said: list[str] = []
    assert drain_test.run("nonce", speed=40, say=said.append) is False
    told = "\n".join(said)
    assert "FAIL (nonce): timed out while waiting for this: an agent is working" in told
    assert f"('{drain_test.FIRST}', 'issue'" in told
    assert "('dispatch_agent'" in told
    assert "/nowhere/agent" in told
    assert "No such file or directory" in told
    assert "PASS" not in told
    assert list(tmp_path.iterdir()) == []
    assert LocalProcessRuntime(tmp_path, command=()).running() == ()


def test_it_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        drain_test.main(["--how", "magic"])
    assert ended.value.code == 2
    assert "nonce" in capsys.readouterr().err
