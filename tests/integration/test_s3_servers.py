"""The S3 servers of tests and demo end with whoever started them, even if that one is killed."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.adapters.clock import wait_for
from tests.patience import PATIENCE_SECONDS

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["seaweedfs", "moto_server"])
def test_a_server_does_not_outlive_a_starter_that_is_killed(name: str, tmp_path: Path) -> None:
    program = (
        "import sys, time, pathlib\n"
        "from infra.devstack import s3_servers\n"
        f"with s3_servers.{name}(pathlib.Path(sys.argv[1])) as server:\n"
        "    print(server.endpoint_url, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout is not None
        port = starter.stdout.readline().strip().rpartition(":")[2]
        assert port
        assert _who_runs(tmp_path)
        starter.send_signal(signal.SIGKILL)
    assert wait_for(lambda: not _who_runs(tmp_path), seconds=PATIENCE_SECONDS)


def _who_runs(home: Path) -> list[int]:
    """The processes that work below this directory."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and str((process / "cwd").readlink()).startswith(str(home)):
                found.append(int(process.name))
        except OSError:
            continue
    return found
