"""Ids that agents write into paths of the town's API arrive unchanged, whatever a gateway decodes."""

from collections.abc import Callable
from typing import NoReturn
from urllib.parse import unquote, urlsplit

import pytest

from functions import paths
from infra.agents.credentials import from_api
from infra.agents.reading import ApiReader
from shared.adapters import http_json

ODD = "toast/of rig?#1"


class Sent(Exception):
    """A request to this path was sent."""


def send(_verb: str, url: str, **_: object) -> NoReturn:
    raise Sent(unquote(urlsplit(url).path))


def asks_for_a_credential() -> object:
    return from_api("http://town", town_id="t1", agent_id=ODD, generation=1, token=lambda: "x")()


def asks_for_a_bead() -> object:
    return ApiReader("http://town", "t1", lambda: "x").ask("bead", ODD)


@pytest.mark.parametrize(
    ("ask", "route", "name"),
    [
        (asks_for_a_credential, "/api/towns/{townId}/agents/{agentId}/refresh-token", "agentId"),
        (asks_for_a_bead, "/api/agents/towns/{townId}/beads/{beadId}", "beadId"),
    ],
)
def test_an_odd_id_is_the_same_id_behind_the_gateway(
    monkeypatch: pytest.MonkeyPatch, ask: Callable[[], object], route: str, name: str
) -> None:
    monkeypatch.setattr(http_json, "call", send)
    with pytest.raises(Sent) as sent:
        ask()
    assert paths.found_in({"rawPath": str(sent.value)}, [route]) == (route, {"townId": "t1", name: ODD})
