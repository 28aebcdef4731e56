"""What each generation may show to the forge of its rig: the server asks the town before it clones, and keeps the answer in memory.

A credential reaches a git of this server in the variables of that one process, which only processes of git's own user can read. A
deploy key lies in a file that only git's user can read, because ssh reads files: as long as its generation runs for the agent, and
only during a fetch for the keeper of the caches.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.agents import git_settings
from infra.agents.control_server.log import say
from infra.agents.control_server.secret_files import write_secret
from infra.agents.control_server.settings import ControlServerSettings
from infra.agents.credentials import NOTHING, Issued, Kept, NotIssued, Source, source_from
from infra.agents.posting import TOKEN_FILE_VARIABLE
from shared.adapters.local_processes import Launch, NotPrepared
from shared.adapters.local_state import segment
from shared.domain.orders import StartOrder
from shared.domain.repositories import transport_of

_TRIES: Final = 3
_PAUSE_SECONDS: Final = 2.0
_KNOWN_HOSTS: Final = "known_hosts"


@dataclass(frozen=True, slots=True)
class Access:
    """The access of one generation. `key` is where its deploy key lies, if it has one."""

    kept: Kept
    key: Path | None = None

    def of_git(self, environment: Mapping[str, str]) -> dict[str, str]:
        """The variables of one git that reaches the network over https. Raises NotPrepared."""
        forge = self._issued().forge
        return {} if forge is None else git_settings.of_server(forge, environment)

    def of_agent(self, environment: Mapping[str, str], work: Path) -> dict[str, str]:
        """The variables of the agent's process. They contain no secret."""
        issued = self._issued()
        found = {} if issued.forge is None else git_settings.of_agent(issued.forge, environment)
        return found | ({} if self.key is None else self._with_key(self.key, work / _KNOWN_HOSTS))

    def of_agents_ssh(self, work: Path) -> dict[str, str]:
        """The variables of one git that reaches the network as the agent over ssh."""
        return {} if self.key is None else self._with_key(self.key, work / _KNOWN_HOSTS)

    @contextmanager
    def of_keepers_ssh(self, home: Path, keeper: int | None) -> Iterator[dict[str, str]]:
        """The same as the keeper of the caches, for whom the key lies there only meanwhile. `home` is the keeper's."""
        key = self._issued().ssh_key
        if key is None or self.key is None:
            yield {}
            return
        place = self.key.with_name(f"keeper.{self.key.name}")
        write_secret(place, _with_newline(key.reveal()), reader=keeper)
        try:
            yield self._with_key(place, home / _KNOWN_HOSTS)
        finally:
            place.unlink(missing_ok=True)

    def renew(self) -> bool:
        """Forget the credential, because the forge refused it. Returns whether there was one."""
        forge = self._issued().forge
        if forge is not None:
            self.kept.forget(forge.token.reveal())
        return forge is not None

    def _with_key(self, key: Path, known_hosts: Path) -> dict[str, str]:
        given = key.with_name(f"{key.name}.hosts")
        return git_settings.with_key(key, given if given.exists() else known_hosts, is_given=given.exists())

    def _issued(self) -> Issued:
        try:
            return self.kept.current()
        except NotIssued as error:
            if error.final:
                return NOTHING
            raise NotPrepared(str(error)) from None


class ForgeAccess:
    """The access of every generation that this server has started. Thread-safe."""

    def __init__(self, settings: ControlServerSettings, *, token_file: Callable[[str, int], Path], keys: Path) -> None:
        self._settings = settings
        self._token_file = token_file
        self._keys = keys
        self._known: dict[tuple[str, int], Access] = {}
        self._guard = threading.Lock()

    def opened(self, launch: Launch, *, user: int | None, cancelled: Callable[[], bool]) -> Access:
        """Ask the town for the access of a generation that is about to start, and lay out its key. Raises NotPrepared."""
        order = launch.order
        self._forget_older(order)
        kept = Kept(self._source(order, launch.environment))
        url = "" if order.rig is None or order.lightweight else order.rig.git_url
        issued = self._asked(order, kept, cancelled) if url else NOTHING  # the mayor and triage work in no repository
        if issued is NOTHING:
            kept = Kept(lambda: NOTHING)
        key = None
        if issued.ssh_key is not None and transport_of(url) == "ssh":
            key = self._key(order.agent_id, order.generation)
            write_secret(key, _with_newline(issued.ssh_key.reveal()), reader=user)
            if issued.known_hosts:
                write_secret(key.with_name(f"{key.name}.hosts"), _with_newline(issued.known_hosts), reader=user)
        access = Access(kept, key)
        with self._guard:
            self._known[order.agent_id, order.generation] = access
        return access

    def of(self, order: StartOrder) -> Access:
        """The access of a generation that was started; that of an earlier server's is asked for again."""
        with self._guard:
            known = self._known.get((order.agent_id, order.generation))
        key = self._key(order.agent_id, order.generation)
        return known or Access(Kept(self._source(order, {})), key if key.exists() else None)

    def close(self, agent_id: str, generation: int) -> None:
        """Remove the key of a generation that ends."""
        key = self._key(agent_id, generation)
        for path in (key, key.with_name(f"{key.name}.hosts")):
            path.unlink(missing_ok=True)

    def _asked(self, order: StartOrder, kept: Kept, cancelled: Callable[[], bool]) -> Issued:
        """The town's answer. A town that refuses to answer, such as one of an older version, issues nothing."""
        for left in reversed(range(_TRIES)):
            try:
                return kept.current()
            except NotIssued as error:
                if error.final:
                    say(
                        f"{order.agent_id} generation {order.generation} works without a credential for its forge: {error}"
                    )
                    break
                if not left or cancelled():
                    raise NotPrepared(f"there is no credential for the forge: {error}") from None
                self._settings.clock.sleep(_PAUSE_SECONDS)
        return NOTHING

    def _source(self, order: StartOrder, environment: Mapping[str, str]) -> Source:
        """Asks with the token of the generation, or with the container's where the generation has none yet or no more."""
        own = self._token_file(order.agent_id, order.generation)

        def ask() -> Issued:
            file = own if own.exists() else self._settings.root / "token"
            around = {**self._settings.environment, **environment, TOKEN_FILE_VARIABLE: str(file)}
            town_id, agent_id, generation = order.town_id, order.agent_id, order.generation
            return source_from(around, town_id=town_id, agent_id=agent_id, generation=generation)()

        return ask

    def _forget_older(self, order: StartOrder) -> None:
        with self._guard:
            older = [key for key in self._known if key[0] == order.agent_id and key[1] < order.generation]
            for each in older:
                del self._known[each]
        for _, generation in older:
            self.close(order.agent_id, generation)

    def _key(self, agent_id: str, generation: int) -> Path:
        return self._keys / f"{segment(agent_id)}.{generation}"


def _with_newline(text: str) -> str:
    """The text with an end of its last line: without one, ssh refuses a key."""
    return text if text.endswith("\n") else f"{text}\n"
