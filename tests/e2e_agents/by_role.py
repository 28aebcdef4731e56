"""An agent that is another program for each role: `python -m tests.e2e_agents.by_role polecat=claude refinery=codex`."""

import json
import os
import sys
from pathlib import Path

from infra.agents.drivers.known import driver_of
from infra.agents.drivers.process import run

if __name__ == "__main__":
    programs = dict(word.split("=") for word in sys.argv[1:])
    role = json.loads(Path(os.environ["TOWN_AGENT_CONTEXT"]).read_text(encoding="utf-8"))["role"]
    sys.exit(run(driver_of(programs[role]), dict(os.environ)))
