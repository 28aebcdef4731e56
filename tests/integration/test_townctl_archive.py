"""`townctl town archive`, `archived`, `bring-back` and `delete`: the same on a directory and over an API that checks signatures."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from functions.settings import AccessRule
from infra.devstack.gateway import serving
from infra.townctl import main, serve
from infra.townctl.context import Context
from shared.adapters import town_tokens
from shared.adapters.clock import SystemClock
from shared.adapters.town_tokens import LIFE, Claims
from tests.signed import ANN, KEY, signed_api

RULES: Final = (AccessRule(callers=(ANN.arn,), towns=("old*",), verbs=("read", "delete")),)
TOWN: Final = "old"


@dataclass
class Place:
    """A directory with a paused town, and the words with which townctl is told where it works."""

    data: Path
    words: tuple[str, ...]
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> tuple[int, Any]:
        """The exit code and the document of one call where the towns are asked."""
        return self._called(*self.words, *words)

    def here(self, *words: str) -> Any:
        """The document of one call on the directory."""
        code, said = self._called("--data", str(self.data), *words)
        assert code == 0, said
        return said

    def _called(self, *words: str) -> tuple[int, Any]:
        self.capsys.readouterr()
        code = main.run(["--json", *words])
        said = self.capsys.readouterr()
        text = said.out if code < 2 else said.err
        return code, json.loads(text[text.index("{\n") :])  # the audit lines of the API stand before it


@pytest.fixture(params=["a directory", "an API"])
def place(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Place]:
    data = tmp_path / "data"
    made = Place(data, ("--data", str(data)), capsys)
    made.here("town", "create", TOWN, "--paused")
    made.here("tick", TOWN, "--force")
    if request.param == "a directory":
        yield made
        return
    with signed_api(data, monkeypatch, *RULES) as url:
        yield replace(made, words=("--api", url))


def test_a_town_goes_away_and_comes_back_and_says_so_in_its_history(place: Place) -> None:
    code, note = place("town", "archive", TOWN, "--reason", "the project has ended", "--yes")
    assert (code, note["townId"], note["reason"]) == (0, TOWN, "the project has ended")
    assert place("town", "archived") == (0, {"towns": [note]})
    assert place("town", "list")[1]["towns"] == []
    assert place("town", "status", TOWN)[0] == 2
    assert place("town", "bring-back", TOWN) == (0, note)
    place.here("tick", TOWN, "--force")
    [told] = place("event", "list", TOWN, "--type", "town_brought_back")[1]["events"]
    assert (told["outcome"], told["source"], told["sender"]) == ("applied", "operator", None)
    said = json.loads(place("ticks", TOWN)[1]["ticks"][-1]["row"]["inputs"]["new_events"][0]["payload"])
    assert (said["archived_by"], said["archived_at"], said["reason"]) == (note["by"], note["at"], note["reason"])


def test_a_town_is_deleted_in_two_steps_and_for_good_only_when_its_time_is_over_or_with_now(place: Place) -> None:
    assert place("town", "delete", TOWN, "--now", "--yes")[0] == 2
    code, note = place("town", "delete", TOWN, "--yes")
    assert (code, note["reason"]) == (0, "to be deleted for good")
    code, said = place("town", "delete", TOWN, "--yes")
    assert (code, "is kept until" in said["error"]["message"]) == (2, True)
    assert "--now" in said["error"]["hint"]
    code, gone = place("town", "delete", TOWN, "--now", "--yes")
    assert (code, gone["townId"], gone["objects"] > 1, gone["left"]) == (0, TOWN, True, 0)
    assert place("town", "archived") == (0, {"towns": []})
    code, said = place("town", "bring-back", TOWN)
    assert (code, "no town old is archived" in said["error"]["message"]) == (2, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("archive", "older"), "there is no town older"),
        (("archive", TOWN), "nobody can be asked"),
        (("archive", TOWN, "--yes", "--reason", "two\nlines"), "this reason cannot be kept"),
        (("archive", "Not A Town", "--yes"), "not a town id"),
        (("bring-back", TOWN), "is archived"),
        (("bring-back", "Not A Town"), "not a town id"),
        (("delete", "older", "--yes"), "no town older is archived"),
        (("delete", "older", "--yes", "--reason", "why not"), "keeps no reason"),
    ],
    ids=str,
)
def test_what_cannot_be_done_is_refused_with_what_to_do(place: Place, words: tuple[str, ...], says: str) -> None:
    code, said = place("town", *words)
    assert (code, says in said["error"]["message"], bool(said["error"]["hint"])) == (2, True, True), said


def test_a_town_that_runs_is_not_archived(place: Place) -> None:
    place.here("start", TOWN)
    place.here("tick", TOWN, "--force")
    code, said = place("town", "archive", TOWN, "--yes")
    assert (code, "it is not paused" in said["error"]["message"]) == (2, True)
    assert "townctl pause old --stop-agents" in said["error"]["hint"]


def test_no_token_of_a_town_archives_it_where_a_directory_is_served(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    made = Place(data, (), capsys)
    made.here("town", "create", TOWN, "--paused")
    made.here("tick", TOWN, "--force")
    context = Context(named_data=data)
    token = town_tokens.issue(Claims(TOWN, "operator"), (KEY,), now=SystemClock().now(), life=LIFE)
    monkeypatch.setenv("TOWNCTL_TOKEN", token)
    with serving(serve.served_from(context, context.around(context.store()), keys=lambda: (KEY,)), port=0) as url:
        there = replace(made, words=("--api", url))
        for words in (("archive", TOWN, "--yes"), ("bring-back", TOWN), ("delete", TOWN, "--yes")):
            code, said = there("town", *words)
            assert (code, "--data" in said["error"]["hint"]) == (2, True), said
    assert [each["townId"] for each in made.here("town", "list")["towns"]] == [TOWN]
