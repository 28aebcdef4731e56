"""Scenario 182: the same history gives the same bytes, whatever the hash seed, the place, and the looks taken before."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conventions.sources import ROOT
from tests.patience import PATIENCE_SECONDS
from tests.scenarios.table import scenario

SEEDS = ("0", "1", "4294967295")


def a_history(*arguments: str, seed: str) -> "subprocess.Popen[str]":
    """The lines of tests.histories, as a process of its own tells them."""
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.histories", *arguments]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


@scenario(182)
@pytest.mark.slow
def test_one_history_has_one_digest_under_three_hash_seeds_in_memory_and_in_files(tmp_path: Path) -> None:
    """A dry run stands before every tick of all but the last; the looks leave no trace either."""
    processes = [a_history("memory", seed=seed) for seed in SEEDS]
    processes.append(a_history(str(tmp_path / "town"), seed="2"))
    processes.append(a_history("memory", "--no-dry-runs", seed="3"))

    told = [process.communicate(timeout=5 * PATIENCE_SECONDS)[0] for process in processes]

    assert [process.returncode for process in processes] == [0] * 5
    assert len(set(told)) == 1
    ticks = told[0].splitlines()[:-1]
    assert len(ticks) == 120
    assert sum(" committed " in tick for tick in ticks) > 100
    assert len({tick.rpartition(" ")[2] for tick in ticks}) > 100
