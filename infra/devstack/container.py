"""A stand-in for a container: the control server in a separate process, which can be evicted and replaced.

Its disk is a directory. A replacement gets the same directory, as with a persistent volume, or an empty one.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from shared.adapters.clock import wait_for
from shared.adapters.town_containers import FixedAddresses

_UP_SECONDS: Final = 120.0
_ADDRESS: Final = re.compile(r" at (http://\S+), instance ")
_SOURCES: Final = Path(__file__).resolve().parents[2]


@dataclass
class Container:
    """One instance. `said` is its output."""

    town_id: str
    disk: Path
    instance_id: str
    process: "subprocess.Popen[str]"
    said: list[str] = field(default_factory=list)
    address: str = ""

    def evict(self) -> None:
        """Send it SIGTERM, as a platform does before it removes a container."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, *, seconds: float) -> int | None:
        """Its exit code, or None if it does not end within `seconds` real seconds."""
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None

    def close(self, *, seconds: float = _UP_SECONDS) -> None:
        """Evict it, and kill it if its orderly shutdown takes longer than `seconds`."""
        if self.process.poll() is None:
            self.evict()
            if self.wait(seconds=seconds) is None:
                self.process.kill()
                self.process.wait()


class NewestAddresses(FixedAddresses):
    """Where the newest instance of each town's container is."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        """`addresses` may change."""
        super().__init__()
        self._now = addresses

    def address(self, town_id: str) -> str | None:
        """The address of the newest instance."""
        return self._now.get(town_id)


def start(
    town_id: str, disk: Path, *, instance_id: str, key: str, command: str, environment: Mapping[str, str]
) -> Container:
    """Run a control server on a free port of the loopback interface. Raises TimeoutError if it does not start."""
    settings = {
        "PYTHONPATH": str(_SOURCES),
        "PYTHONDONTWRITEBYTECODE": "1",
        "TOWN_ID": town_id,
        "TOWN_AGENT_COMMAND": command,
        "TOWN_CONTROL_ROOT": str(disk),
        "TOWN_CONTROL_PORT": "0",
        "TOWN_CONTROL_KEY": key,
        "TOWN_INSTANCE_ID": instance_id,
        "TOWN_AGENT_CLI": f"{sys.executable} -m infra.agents.town_agent.main",
        **environment,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.agents.control_server"],
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    container = Container(town_id, disk, instance_id, process)
    if process.stdout is None:
        raise TimeoutError(f"the output of the control server of {town_id} cannot be read")
    threading.Thread(target=_listen, args=(container, process.stdout), daemon=True).start()
    wait_for(lambda: bool(container.address) or process.poll() is not None, seconds=_UP_SECONDS)
    if not container.address:
        container.close()
        raise TimeoutError(f"the control server of {town_id} did not start; its last lines: {container.said[-3:]}")
    return container


def _listen(container: Container, output: IO[str]) -> None:
    for line in output:
        container.said.append(line.rstrip())
        found = _ADDRESS.search(line)
        if found is not None:
            container.address = found[1]
    output.close()
