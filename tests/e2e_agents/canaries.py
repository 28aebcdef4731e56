"""Tokens and keys of a town at a forge, and where they may not be: whatever is kept, shown, sent to others or seen by others."""

import base64
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from infra.devstack.model_server.server import KEY
from infra.townctl import serve
from infra.townctl.context import Context
from tests.command_lines import command_lines
from tests.e2e_agents.forge_towns import CONTROL_KEY, ForgeTown
from tests.key_pairs import key_pair

_EVERY_SECONDS: Final = 0.2
_OWN: Final = frozenset({"token", "forge-credential.json"})
_OWN_PLACES: Final = frozenset({"tokens", "program"})
"""Files of the container, and of one generation, which alone can read its own: tests/security tests those walls."""


@dataclass
class Watch:
    """What was seen while a town ran: each finding names the secret and the place."""

    town: ForgeTown
    found: set[str] = field(default_factory=set)

    def secrets(self) -> dict[str, str]:
        """Every secret by its name, as it stands now."""
        [key, *_] = serve.keys_of(Context(named_data=self.town.data))()
        named = {"model key": KEY, "control key": CONTROL_KEY, "signing key": key}
        named["App key"] = key_pair()[0].split("\n")[1]
        named |= {f"town token {at}": token.rpartition(".")[2] for at, token in enumerate(self.town.minted)}
        for at, token in enumerate(tuple(self.town.github.apps.grants)):
            named[f"forge token {at}"] = token
            named[f"forge token {at} for HTTP"] = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        return named

    def processes(self) -> None:
        """Look at all command lines, and at the variables of agents, which know their model's key and nothing more."""
        named = self.secrets()
        for line in command_lines():
            self._look("a command line", line, named)
        beyond = {name: secret for name, secret in named.items() if name != "model key"}
        for process in Path("/proc").glob("[0-9]*/environ"):
            try:
                variables = process.read_bytes()
            except OSError:  # it has ended
                continue
            if b"TOWN_AGENT_CONTEXT=" in variables and str(self.town.container.disk).encode() in variables:
                self._look("the variables of an agent", variables, beyond)

    def everything(self, *, but: str) -> None:
        """Look at all that is kept, shown and sent, but not at what the model heard in the script `but`."""
        named = self.secrets()
        for path in self.town.data.rglob("*"):
            if path.is_file() and ".secrets" not in path.relative_to(self.town.data).parts:
                self._look(f"the store: {path.relative_to(self.town.data)}", path.read_bytes(), named)
        disk = self.town.container.disk
        for path in disk.rglob("*"):
            is_own = path.name in _OWN or not _OWN_PLACES.isdisjoint(path.relative_to(disk).parts)
            if path.is_file() and not is_own:
                self._look(f"the disk: {path.relative_to(disk)}", path.read_bytes(), named)
        for asked in self.town.model.asked:
            if asked.script != but:
                self._look(f"a prompt of {asked.script}", asked.text.encode(), named)
        for request in self.town.github.requests:
            self._look("a request to the forge", repr((request.path, request.query, request.body)).encode(), named)
        self._look("the forge", repr(self.town.github.site.pulls).encode(), named)
        objects = ["git", "cat-file", "--batch-all-objects", "--batch"]
        written = subprocess.run(objects, check=True, cwd=self.town.repository, capture_output=True).stdout
        self._look("the repository", written, named)
        self._look("the container's log", "\n".join(self.town.container.said).encode(), named)
        self._look("the worker's log", "\n".join(self.town.watcher.lines).encode(), named)

    def _look(self, place: str, content: bytes, named: dict[str, str]) -> None:
        self.found |= {f"{name} in {place}" for name, secret in named.items() if secret.encode() in content}


@contextmanager
def watched(town: ForgeTown) -> Iterator[Watch]:
    """Look at processes again and again, as long as the block runs."""
    watch, ended = Watch(town), threading.Event()

    def look() -> None:
        while not ended.wait(_EVERY_SECONDS):
            watch.processes()

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield watch
    finally:
        ended.set()
        looking.join()
