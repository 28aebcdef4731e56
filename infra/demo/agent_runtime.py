"""A local runtime whose agents are demo agents: what `townctl demo` and the tests configure."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from infra.demo.agent import PACE_VARIABLE
from shared.adapters.clock import CLOCK_VARIABLE, ScaledClock, SystemClock
from shared.adapters.local_processes import LocalProcessRuntime

AGENT_COMMAND: Final = (sys.executable, "-m", "infra.demo.agent")
_SOURCES: Final = Path(__file__).resolve().parents[2]


def demo_runtime(
    root: Path, *, clock: ScaledClock | SystemClock, pace: float, environment: Mapping[str, str]
) -> LocalProcessRuntime:
    """Demo agents that live in the time of `clock` and think `pace` of its seconds at each step.

    `environment` holds the way to the town (TOWN_AGENT_DATA or TOWN_AGENT_POST) and what `git_seed.redirect` gives.
    """
    settings = {"PYTHONPATH": str(_SOURCES), "PYTHONDONTWRITEBYTECODE": "1", PACE_VARIABLE: str(pace)}
    settings[CLOCK_VARIABLE] = clock.to_text()
    return LocalProcessRuntime(root, command=AGENT_COMMAND, environment={**settings, **environment})
