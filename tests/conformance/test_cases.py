"""Every committed case passes, and the runner tells a failing case from a passing one."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.cases import judge, read_cases, superseded

HERE = Path(__file__).parent
FILES = ("reconcile.jsonl.gz", "events.jsonl.gz")


@pytest.mark.parametrize("name", FILES)
def test_every_committed_case_passes(name: str) -> None:
    not_run = superseded()
    cases = list(read_cases(HERE / name))
    assert len(cases) >= 300
    verdicts = [judge(case) for case in cases if case["id"] not in not_run]
    assert [verdict for verdict in verdicts if verdict.difference] == []


def test_every_superseded_case_exists_names_its_decision_and_really_differs() -> None:
    listed = superseded()
    cases = {case["id"]: case for name in FILES for case in read_cases(HERE / name)}
    assert [case_id for case_id in listed if case_id not in cases] == []
    assert [why for why in listed.values() if not re.fullmatch(r"T\d+ .{20,}", why)] == []
    assert [case_id for case_id in listed if not judge(cases[case_id]).difference] == []


def test_a_missing_and_a_surplus_action_both_fail_a_case() -> None:
    case = next(case for case in read_cases(HERE / "reconcile.jsonl.gz") if case["expected_actions"])
    assert "surplus" in judge({**case, "expected_actions": []}).difference
    stranger = {"type": "stop_agent", "agent_id": "nobody"}
    assert "missing" in judge({**case, "expected_actions": [*case["expected_actions"], stranger]}).difference


def test_a_change_that_is_not_expected_fails_an_event_case() -> None:
    case = next(case for case in read_cases(HERE / "events.jsonl.gz") if case["expected_changes"].get("beads"))
    assert judge({**case, "expected_changes": {}}).difference


def test_a_case_that_cannot_be_loaded_fails() -> None:
    case = next(read_cases(HERE / "reconcile.jsonl.gz"))
    assert judge({**case, "tables": {"beads": [{"no_such_column": 1}]}}).difference
    assert judge({"id": "x"}).difference


def test_the_runner_prints_failing_cases_and_the_totals_and_exits_1(tmp_path: Path) -> None:
    case = next(case for case in read_cases(HERE / "reconcile.jsonl.gz") if case["expected_actions"])
    file = tmp_path / "other.jsonl"
    file.write_text(
        "\n".join([json.dumps(case), json.dumps({**case, "id": "bad", "expected_actions": []}), "{"]) + "\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "tests.conformance", str(file)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stdout.splitlines()[0].startswith("bad: surplus")
    assert run.stdout.splitlines()[-1] == "1 passed, 2 failed"
