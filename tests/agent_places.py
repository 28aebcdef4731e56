"""An agent of a town, as `town-agent` finds it: a start file, a way to the town, and the town itself in a directory."""

import json
import time
from pathlib import Path
from typing import Any

from infra.agents.town_agent.main import run
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.local_state import GenerationFiles
from tests.towns import T, TownBuilder, a_town
from tests.worlds import World, a_world


class Place:
    """A town in a directory and an agent of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.world: World = a_world(objects=DirectoryObjects(root / "towns"))
        self.generation = GenerationFiles(root / "agent", 4)
        self.environment = {
            "TOWN_AGENT_CONTEXT": str(root / "agent" / "context.json"),
            "TOWNCTL_DATA": str(root / "towns"),
            "TOWN_CLOCK": f"scaled {T.isoformat()} {wall()!r} 0.000001",
        }

    def with_town(self, town: TownBuilder, **order: Any) -> "Place":
        self.world.put_in(town)
        (self.root / "agent").mkdir()
        given = {
            "town_id": "t1",
            "agent_id": "a1",
            "generation": 4,
            "role": "polecat",
            "bead": {"id": "b1"},
            "branch": None,
            "rig": {"id": "rig-1"},
        }
        (self.root / "agent" / "context.json").write_text(json.dumps({**given, **order}))
        return self

    def says(self, *words: str, **environment: str) -> int:
        return run(words, self.environment | environment)

    def ticks(self) -> TownBuilder:
        self.world.clock.move(seconds=5)
        self.world.run()
        return self.world.town()


def wall() -> float:
    """The seconds of the system clock."""
    return time.time()


def a_working_town(role: str = "polecat") -> TownBuilder:
    town = a_town().bead("b1", status="in_progress", assignee_agent_bead_id="a1")
    return town.agent("a1", role, "working", hook="b1", generation=4)
