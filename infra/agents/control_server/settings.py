"""What a control server is told by its environment.

TOWN_ID                 the town whose agents it runs
TOWN_AGENT_COMMAND      the agent CLI: a command line, or a JSON list of words
TOWN_CONTROL_ROOT       directory for clones, worktrees, start files and logs (default ./control-data)
TOWN_CONTROL_HOST/PORT  where it listens (default 127.0.0.1:8080; port 0 takes a free one)
TOWN_CONTROL_KEY        the secret that callers must show as a bearer token; empty: none (loopback and tests only)
TOWN_INSTANCE_ID        what tells this container from the one that it replaces (default: made up at the start)
TOWN_CLOCK              the town's clock, where it is not the wall's
TOWN_API, TOWN_AGENT_DATA, TOWN_AGENT_POST or TOWNCTL_BUCKET     the way to the town: `infra.agents.posting`
"""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shared.adapters import clock as clocks
from shared.adapters import ids
from shared.ports.clock import Clock

PASSED_ON: Final = (
    "TOWN_API",
    "TOWN_AGENT_DATA",
    "TOWN_AGENT_POST",
    "TOWN_AGENT_PACE",
    "TOWN_AGENT_CLI",
    "TOWNCTL_DATA",
    "TOWNCTL_BUCKET",
    "TOWNCTL_ENDPOINT",
    "TOWNCTL_REGION",
    "TOWN_CLOCK",
    "PYTHONPATH",
    "PYTHONDONTWRITEBYTECODE",
)
"""What agents find in their environment besides what any program needs; and every GIT_ variable."""


@dataclass(frozen=True, slots=True)
class Settings:
    """One control server. `answer_within` is how many real seconds a start is waited for before it is answered with
    `starting`; `eviction_seconds` how many agents have to save their work.
    """

    town_id: str
    command: tuple[str, ...]
    root: Path
    instance_id: str
    host: str = "127.0.0.1"
    port: int = 8080
    key: str | None = None
    clock: Clock = field(default_factory=clocks.SystemClock)
    environment: Mapping[str, str] = field(default_factory=dict)
    answer_within: float = 5.0
    eviction_seconds: float = 10.0
    look_every: float = 0.5

    @property
    def instance_key(self) -> str:
        """The instance as a part of event ids, which take neither every character of a platform's names nor their length."""
        return hashlib.sha256(self.instance_id.encode()).hexdigest()[:16]

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """The settings; raises ValueError with what is missing."""
        command = _words(environment.get("TOWN_AGENT_COMMAND", ""))
        town_id = environment.get("TOWN_ID", "")
        if not town_id or not command:
            raise ValueError("TOWN_ID and TOWN_AGENT_COMMAND must be set: the town, and the program that an agent is")
        key = environment.get("TOWN_CONTROL_KEY") or None
        host = environment.get("TOWN_CONTROL_HOST") or "127.0.0.1"
        if key is None and host not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError(
                "TOWN_CONTROL_KEY must be set where others than this machine can call: make up a long secret"
            )
        passed = {name: environment[name] for name in PASSED_ON if environment.get(name)}
        passed |= {name: value for name, value in environment.items() if name.startswith("GIT_")}
        return cls(
            town_id=town_id,
            command=command,
            root=Path(environment.get("TOWN_CONTROL_ROOT") or "control-data").resolve(),
            instance_id=environment.get("TOWN_INSTANCE_ID") or ids.batch_id(),
            host=host,
            port=int(environment.get("TOWN_CONTROL_PORT") or 8080),
            key=key,
            clock=clocks.from_text(environment.get(clocks.CLOCK_VARIABLE, "")),
            environment=passed,
            eviction_seconds=float(environment.get("TOWN_EVICTION_SECONDS") or 10),
        )


def _words(text: str) -> tuple[str, ...]:
    if text.lstrip().startswith("["):
        words = json.loads(text)
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError("TOWN_AGENT_COMMAND as JSON must be a list of words")
        return tuple(words)
    return tuple(shlex.split(text))
