"""Producers: they post events all the time, and each until it is accepted. What was accepted is what must be applied."""

import subprocess
import threading
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from infra.agents.posting import ApiPoster, NotPosted, Poster
from tests.soak.places import FAST, GIT_URL, REPOSITORY, Place

RIG: Final = {"rig_id": "rig-1", "name": "work", "git_url": GIT_URL, "default_branch": "main"}
CONFIG: Final = {"merge_strategy": "direct", "staged_convoys_default": False, "agent_runtime": {"kind": "local"}}
_SWITCHES: Final = ("", "", "", "demo: crash-once", "demo: changes-once", "demo: lie", "demo: review-crash-once")
_PAUSE_SECONDS: Final = {FAST: (1.0, 6.0), "real": (3.0, 12.0)}
_AGAIN_AFTER_SECONDS: Final = 1.0
_ISSUES: Final = 0.4
_CONVOYS: Final = 0.08
_REPEATED: Final = 0.2


@dataclass
class Producer:
    """Posts to one town in a thread of its own, alternately into the store and through the API (only the town on real time)."""

    place: Place
    town: str
    seed: int
    with_work: bool = True
    accepted: list[str] = field(default_factory=list)
    issues: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    tries: int = 0
    repeated: int = 0
    _enough: threading.Event = field(default_factory=threading.Event)
    _given_up: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _token: str = ""

    def start(self) -> None:
        """Post until `stop`."""
        self._thread = threading.Thread(target=self._produce, name=f"{self.place.name}-{self.town}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin no further event; the one that is not accepted yet is still tried."""
        self._enough.set()

    @property
    def is_done(self) -> bool:
        """Whether the last event is accepted."""
        return self._thread is None or not self._thread.is_alive()

    def give_up(self) -> None:
        """Try no further; the event that is not accepted yet may have been."""
        self._given_up.set()

    def _produce(self) -> None:
        chance = Random(f"{self.seed}-{self.place.name}-{self.town}")
        number = 0
        self._post([_event(f"{self.town}-rig", "rig_registered", RIG)], through_api=False)
        while not self._enough.wait(chance.uniform(*_PAUSE_SECONDS[self.town])):
            number += 1
            events = self._drawn(chance, number)
            self._post(events, through_api=self.town != FAST and number % 2 == 0)
            if chance.random() < _REPEATED:
                self.repeated += 1
                self._post(events, through_api=False)

    def _drawn(self, chance: Random, number: int) -> list[dict[str, Any]]:
        draw = chance.random()
        name = f"{self.town}-{number}"
        if self.with_work and draw < _CONVOYS:
            tasks = [{"title": f"First of {name}", "depends_on": []}, {"title": f"Second of {name}", "depends_on": [0]}]
            convoy = {"convoy_id": _bead_id(chance), "title": f"Convoy {name}", "rig_id": "rig-1", "tasks": tasks}
            return [_event(f"{name}-convoy", "convoy_created", convoy)]
        if self.with_work and draw < _CONVOYS + _ISSUES:
            bead = {"bead_id": _bead_id(chance), "type": "issue", "title": f"Issue {name}", "rig_id": "rig-1"}
            bead["body"] = chance.choice(_SWITCHES)
            self.issues.append(bead["bead_id"])
            return [_event(f"{name}-bead", "bead_created", {"bead": bead})]
        return [
            _event(f"{name}-{part}", "town_configured", {"config": {"max_polecats_per_rig": 2 + (number + part) % 3}})
            for part in range(chance.randint(1, 3))
        ]

    def _post(self, events: list[dict[str, Any]], *, through_api: bool) -> None:
        while not self._given_up.is_set():
            self.tries += 1
            try:
                self._poster(through_api=through_api).post(events)
            except NotPosted as error:
                if error.final:
                    self.refused.append(f"{events[0]['event_id']}: {error}")
                    return
                time.sleep(_AGAIN_AFTER_SECONDS)
                continue
            self.accepted += [event["event_id"] for event in events]
            return

    def _poster(self, *, through_api: bool) -> Poster:
        if through_api:
            return ApiPoster(f"http://127.0.0.1:{self.place.port}", self.town, self._api_token)
        return self.place.poster(self.town)

    def _api_token(self) -> str:
        """The token of an operator. Raises NotPosted while townctl cannot make one."""
        if not self._token:
            words = self.place.townctl("token", self.town, "--scope", "operator")
            environment = self.place.environment(self.town)
            made = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
            if made.returncode:
                raise NotPosted(f"townctl token ended with {made.returncode}: {made.stderr.strip()}")
            self._token = made.stdout.split()[0]
        return self._token


def _event(event_id: str, event_type: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {"event_id": f"soak:{event_id}", "event_type": event_type, "payload": payload}


def _bead_id(chance: Random) -> str:
    part = f"{chance.getrandbits(128):032x}"
    return f"{part[:8]}-{part[8:12]}-4{part[13:16]}-8{part[17:20]}-{part[20:]}"
