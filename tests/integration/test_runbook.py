"""Every command of docs/runbook/local-debugging.md, in its order, in one shell."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.devstack.s3_servers import free_ports
from infra.townctl import agent_programs
from shared.adapters.local_processes import LocalProcessRuntime

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/runbook/local-debugging.md"
PORT = "18231"
"""The port that the guide names, which may be taken."""
STATUS = re.compile(r"(?m)^townctl town status \w+$")
"""It exits with 1 where something needs attention."""
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
SQLITE3 = """\
import sqlite3, sys
for row in sqlite3.connect(sys.argv[1]).execute(sys.argv[2]):
    print("|".join("" if value is None else str(value) for value in row))
"""
CURL = """\
import sys, urllib.request
*options, url = sys.argv[1:]
headers = dict(value.split(": ", 1) for name, value in zip(options, options[1:]) if name == "--header")
print(urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=120).read().decode())
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory for the town; no agent outlives the test."""
    yield tmp_path
    runtime = LocalProcessRuntime(agent_programs.agents_root(tmp_path / "town-data"), command=())
    assert runtime.stop_all() == ()


def environment(place: Path) -> dict[str, str]:
    """A PATH with our `townctl`, and with stand-ins for sqlite3 and curl, which a machine may not have."""
    bin_ = place / "bin"
    bin_.mkdir()
    for name, words in (
        ("townctl", ["-m", "infra.townctl.main"]),
        ("sqlite3", ["-c", SQLITE3]),
        ("curl", ["-c", CURL]),
        ("python", []),
        ("python3", []),
    ):
        quoted = " ".join(f"'{word}'" for word in [sys.executable, *words])
        (bin_ / name).write_text(f'#!/bin/sh\nexec {quoted} "$@"\n')
        (bin_ / name).chmod(0o755)
    ours = {"PATH": f"{bin_}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    return {**os.environ, **ours, "TMPDIR": str(place)}


@pytest.mark.long
def test_every_command_of_the_guide_does_what_the_guide_says(place: Path) -> None:
    blocks = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    assert len(blocks) >= 12
    # what runs in the background when a command fails would hold the output open
    script = ["set -eu", "trap 'kill $(jobs -p) 2>/dev/null || true' EXIT"]
    [port] = free_ports(1)
    for number, block in enumerate(blocks):
        script += [f"echo '=== {number}'", STATUS.sub(r"\g<0> || [ $? -eq 1 ]", block.replace(PORT, str(port)))]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        check=False,
        cwd=place,
        env=environment(place),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1800,  # a guard against a hang, not a limit on the time that the guide takes
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    said = done.stdout
    for expected in (
        "Fix the door",
        "nothing is wrong",
        '"prompt_kind": "work"',
        "draining: nothing is dispatched until the container is replaced",
        "the container is replaced (draining)",
        "PASS (nonce)",
        '"status": "ok"',
        "notify_mayor",
        "evicted",
    ):
        assert expected in said, expected
    after_the_drain = said.split("PASS (nonce)")[0].rsplit("=== ", 2)[1]
    assert "draining" not in after_the_drain
    assert "Paint it" in after_the_drain
