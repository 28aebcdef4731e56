"""One command set: for every command that works over an API, `--api` gives the same `--json` as `--data` on the same town."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from infra.devstack.gateway import serving
from infra.townctl import main, serve
from infra.townctl.commands import COMMANDS, ON_FILES
from infra.townctl.context import Context
from shared.adapters import town_tokens
from shared.adapters.clock import SystemClock
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.town_tokens import LIFE, Claims
from shared.domain.limits import BODY_SIZE
from shared.ports.agent_logs import LogName
from shared.ports.steps import drive
from shared.storage.agent_logs import StoredLogs
from tests.settled import settled

ALPHA: Final = "alpha"
KEY: Final = "k" * 48
RIG: Final = {"rig_id": "rig-1", "name": "work", "git_url": "https://git.example.com/work.git"}
BEAD: Final = {
    "bead": {"bead_id": "b-1/ä#1", "type": "issue", "title": "Do it ☂", "rig_id": "rig-1", "labels": ["gt:held"]}
}


class Both(NamedTuple):
    """The same town, asked in its directory and through the API that serves it."""

    data: Path
    url: str
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *words: str) -> tuple[int, Any]:
        """The exit code and the document, which are the same both ways."""
        stored, served = self.at("--data", str(self.data), *words), self.at("--api", self.url, *words)
        assert (stored[0], settled(stored[1])) == (served[0], settled(served[1])), words
        return served

    def at(self, *words: str) -> tuple[int, Any]:
        """The exit code and the document of one call."""
        self.capsys.readouterr()
        code = main.run(["--json", *words])
        said = self.capsys.readouterr()
        # The API runs in this process, so its log is in front of the error.
        assert code in (0, 1, 2), said.err
        return code, json.loads(said.out or said.err[said.err.index('{\n  "error"') :])


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A town with work, one poisoned event, a duplicate and a conflict, in a directory that an API serves."""
    data = tmp_path_factory.mktemp("data")

    def townctl(*words: str) -> None:
        assert main.run(["--data", str(data), *words]) == 0

    def post(kind: str, payload: Any, event_id: str) -> None:
        townctl("event", "post", ALPHA, "--type", kind, "--payload", json.dumps(payload), "--id", event_id)

    townctl("town", "create", ALPHA)
    post("rig_registered", RIG, "rig-0001")
    post("bead_created", BEAD, "bead-0001")
    townctl("tick", ALPHA, "--force")
    post("escalation_raised", {"title": "The tests need a key", "severity": "high"}, "raised-0001")
    townctl("mayor", "say", ALPHA, "What is the plan?")
    post("bead_created", BEAD, "bead-0001")
    post("bead_created", {"bead": {**BEAD["bead"], "title": "Another"}}, "bead-0002")
    townctl("tick", ALPHA, "--force")
    post("escalation_raised", {"title": "Waits", "severity": "low"}, "waits-0001")
    log = LogName("talker", 1, "log", "container")
    drive(StoredLogs(DirectoryObjects(data)).keep(ALPHA, log, "12 tests passed\n", at=SystemClock().now()))
    context = Context(named_data=data)
    around = context.around(context.store())
    with serving(serve.served_from(context, around, keys=lambda: (KEY,)), port=0) as url:
        yield data, url


@pytest.fixture
def both(town: tuple[Path, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Both:
    token = town_tokens.issue(Claims(ALPHA, "operator"), (KEY,), now=SystemClock().now(), life=LIFE)
    monkeypatch.setenv("TOWNCTL_TOKEN", token)
    return Both(*town, capsys)


def first_time(both: Both) -> str:
    return str(both("ticks", ALPHA)[1]["ticks"][0]["time"])


ASKED: Final[dict[str, list[tuple[str, ...]]]] = {
    "town list": [()],
    "town archived": [()],
    "town status": [(ALPHA,)],
    "town resume": [(ALPHA,)],
    "logs": [("talker", ALPHA), ("talker", ALPHA, "--generation", "1")],
    "watch": [(ALPHA,)],
    "event types": [(), ("bead_created",)],
    "explain rule": [("a8",)],
    "explain setting": [("code_review",)],
    "setting list": [(ALPHA,)],
    "setting show": [(ALPHA, "merge_strategy"), (ALPHA, "upstream")],
    "bead list": [
        (ALPHA,),
        (ALPHA, "--status", "live", "--limit", "1"),
        (ALPHA, "--label", "gt:held", "--rig", "rig-1"),
    ],
    "bead show": [(ALPHA, "b-1/ä#1"), (ALPHA, "b-1")],
    "agent list": [(ALPHA,)],
    "convoy list": [(ALPHA,)],
    "review list": [(ALPHA,), (ALPHA, "--status", "live", "--limit", "1")],
    "rig list": [(ALPHA,)],
    "escalation list": [(ALPHA,), (ALPHA, "--status", "live", "--limit", "1")],
    "mail list": [(ALPHA,), (ALPHA, "--limit", "1")],
    "mayor log": [(ALPHA,), (ALPHA, "--limit", "1")],
    "event show": [(ALPHA, "rig-0001"), (ALPHA, "waits-0001")],
    "event list": [(ALPHA,), (ALPHA, "--pending"), (ALPHA, "--state", "duplicate"), (ALPHA, "--limit", "1")],
    "explain bead": [("b-1/ä#1",), ("b-1", "--town", ALPHA)],
    "explain agent": [("Mayor", ALPHA)],
    "dry-run": [(ALPHA,)],
    "ticks": [
        (ALPHA,),
        (ALPHA, "--limit", "1"),
        (ALPHA, "--after", "0"),
        (ALPHA, "--before", "2"),
        (ALPHA, "--after", str(2**53 - 1)),
    ],
    "points": [(ALPHA,), (ALPHA, "--limit", "1"), (ALPHA, "--before", "2"), (ALPHA, "--before", "rig-0001")],
    "replay": [(ALPHA, "--from", "FIRST", "--to", "LAST")],
}
REFUSED: Final[dict[str, list[tuple[str, ...]]]] = {
    "town create": [(ALPHA,), ("Not A Town",), ("new", "--config", "NO-SUCH-FILE")],
    "start": [("Not A Town",), (), (ALPHA, "--all")],
    "pause": [("Not A Town",), (), (ALPHA, "--all")],
    "event types": [("bead_invented",)],
    "explain rule": [("A99",)],
    "bead create": [(ALPHA, "Title", "--rig", "nowhere"), (ALPHA, "x" * 5000)],
    "bead update": [(ALPHA, "b-1"), ("Not A Town", "b-1", "--release")],
    "bead cancel": [("Not A Town", "b-1")],
    "bead reopen": [("Not A Town", "b-1")],
    "convoy create": [(ALPHA, "Title", "NO-SUCH-FILE")],
    "convoy start": [("Not A Town", "c-1")],
    "convoy close": [("Not A Town", "c-1")],
    "convoy add": [("Not A Town", "c-1", "b-1")],
    "convoy edit": [(ALPHA, "c-1"), (ALPHA, "c-1", "--title", "")],
    "bead delete": [("Not A Town", "b-1")],
    "rig remove": [(ALPHA, "nowhere"), ("Not A Town", "r")],
    "escalation acknowledge": [("Not A Town", "e-1")],
    "convoy remove": [("Not A Town", "c-1", "b-1")],
    "agent reset": [("Not A Town", "mayor")],
    "agent nudge": [("Not A Town", "mayor", "Well?"), (ALPHA, "mayor", "")],
    "town status": [("Not A Town",)],
    "town archive": [("Not A Town", "--yes"), (ALPHA,)],
    "town bring-back": [("Not A Town",)],
    "town delete": [("Not A Town", "--yes"), (ALPHA,), (ALPHA, "--now", "--yes")],
    "logs": [("nobody", ALPHA), ("talker", ALPHA, "--transcript"), ("talker", ALPHA, "--generation", "7")],
    "watch": [("UPPER",), (ALPHA, "--every", "0")],
    "setting list": [("UPPER",)],
    "setting show": [(ALPHA, "no_such_setting")],
    "setting set": [
        (ALPHA, "merge_strategy", "sideways"),
        (ALPHA, "upstream", "a/b"),
        (ALPHA, "hook_limit_hours", "3", "--rig", "rig-1"),
    ],
    "bead list": [
        (ALPHA, "--limit", "0"),
        (ALPHA, "--cursor", "nonsense"),
        (ALPHA, "--cursor", "A" * 1025),
        (ALPHA, "--status", "lost"),
    ],
    "bead show": [(ALPHA, "no-such-bead")],
    "convoy list": [(ALPHA, "--limit", "501"), (ALPHA, "--cursor", "WzFd")],
    "agent list": [("-x",)],
    "review list": [(ALPHA, "--limit", "0"), (ALPHA, "--cursor", "nonsense"), (ALPHA, "--status", "lost")],
    "rig list": [("Not A Town",)],
    "escalation list": [(ALPHA, "--limit", "501"), (ALPHA, "--cursor", "nonsense"), (ALPHA, "--status", "lost")],
    "mail list": [(ALPHA, "--limit", "0"), (ALPHA, "--cursor", "WzFd")],
    "mayor log": [(ALPHA, "--limit", "0"), (ALPHA, "--cursor", "nonsense"), ("Not A Town",)],
    "mayor say": [("Not A Town", "hello"), (ALPHA, ""), (ALPHA, " \n "), (ALPHA, "x" * (BODY_SIZE + 1))],
    "event post": [(ALPHA,), (ALPHA, "--type", "nonsense"), (ALPHA, "--type", "bead_created", "--payload", "{}")],
    "event list": [(ALPHA, "--pending", "--poisoned"), (ALPHA, "--limit", "-1"), (ALPHA, "--state", "gone")],
    "event show": [(ALPHA, "no-such-event"), (ALPHA, ""), (ALPHA, "a\nb")],
    "event redrive": [(ALPHA, "no-such-event"), (ALPHA, ""), (ALPHA, "a\nb")],
    "explain bead": [
        ("no-such-bead",),
        ("b-1", "--town", ""),
        ("a\nb",),
        ("b-1", "--at", "2099-01-01T00:00:00Z"),
        ("b-1", "--at", "yesterday"),
    ],
    "explain agent": [("b-1/ä#1",), ("Nobody",)],
    "dry-run": [(ALPHA, "--now", "2020-01-01T00:00:00Z"), (ALPHA, "--now", "soon")],
    "ticks": [(ALPHA, "--after", "1", "--before", "2"), (ALPHA, "--limit", "0"), (ALPHA, "--after", "-1")],
    "points": [
        (ALPHA, "--limit", "0"),
        (ALPHA, "--limit", "201"),
        (ALPHA, "--before", "waits-0001"),
        (ALPHA, "--before", "0"),
    ],
    "replay": [(ALPHA,), (ALPHA, "--from", "yesterday"), (ALPHA, "--from", "2099-01-01T00:00:00Z")],
    "ui": [("--no-browser", "--port", "-1"), ("--no-browser", "--port", "65536")],
    "secret set": [("Not A Town", "github")],
    "secret list": [],
    "secret remove": [("Not A Town", "github")],
    "secret copy": [("town-reconciler/dev",)],
    "secret control-key": [("Not A Town",)],
    "secret set-platform": [("github", "--host", "not a host")],
    "secret set-app": [("12345", "--serves", "alpha=owner", "--host", "not a host")],
    "secret set-deploy-key": [("Not A Town", "rig-1")],
    "secret remove-deploy-key": [("Not A Town", "rig-1")],
    "secret set-webhook": [("Not A Town",)],
    "secret remove-webhook": [("Not A Town",)],
}


@pytest.mark.parametrize(
    ("command", "words"), [(command, words) for command, calls in ASKED.items() for words in calls], ids=str
)
def test_an_api_gives_the_answer_that_the_directory_gives(command: str, words: tuple[str, ...], both: Both) -> None:
    times = {"FIRST": first_time(both), "LAST": str(both("ticks", ALPHA)[1]["ticks"][-1]["time"])}
    code, _ = both(*command.split(), *(times.get(word, word) for word in words))
    assert code in (0, 1)


@pytest.mark.parametrize(
    ("command", "words"), [(command, words) for command, calls in REFUSED.items() for words in calls], ids=str
)
def test_an_api_refuses_what_the_directory_refuses(
    command: str, words: tuple[str, ...], both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOWNCTL_SECRETS_PREFIX", "/towns")
    code, said = both(*command.split(), *words)
    assert code == 2
    assert said["error"]["hint"]


def test_every_command_that_works_over_an_api_is_compared() -> None:
    assert {*ASKED, *REFUSED} == {command.name for command in COMMANDS} - {*ON_FILES, "token"}


@pytest.mark.parametrize("command", ON_FILES)
def test_a_command_on_files_says_why_it_refuses_an_api_and_what_to_do_instead(command: str, both: Both) -> None:
    needs = {
        "tick": [ALPHA],
        "record": [ALPHA, "f", "--from", "x"],
        "backtest": ["--from", "x"],
        "restore": [ALPHA],
        "flush": [ALPHA],
        "mend": [ALPHA],
        "import": ["f", "x"],
    }
    needs |= {"retention": [ALPHA], "export": [ALPHA, "f"], "litestream import": ["f", "x"]}
    code, said = both.at("--api", both.url, *command.split(), *needs.get(command, []))
    assert code == 2
    assert re.match(f"{command} does not work with --api: it ", said["error"]["message"])
    assert said["error"]["hint"]


def test_a_town_that_is_not_there_is_named_with_the_place_that_was_asked(both: Both) -> None:
    lists = ("agent list", "bead list", "review list", "rig list", "escalation list", "mail list", "mayor log")
    for command in ("town status", "setting list", "dry-run", "ticks", "points", *lists):
        for place, name in (("--data", str(both.data)), ("--api", both.url)):
            code, said = both.at(place, name, *command.split(), "beta")
            assert (code, said["error"]["kind"]) == (2, "UnknownTown")
            assert "beta" in said["error"]["message"]
            assert name in said["error"]["message"] + said["error"]["hint"]


def test_facts_are_stored_the_same_way(both: Both, tmp_path: Path) -> None:
    posted = ("event", "post", ALPHA, "--type", "town_started", "--id", "started-0001")
    assert both(*posted)[1]["accepted"] == ["started-0001"]
    code, said = both.at("--api", both.url, "start", ALPHA)
    [told] = said["towns"]
    assert (code, told["problem"], bool(told["accepted"])) == (0, None, True)


def test_what_a_person_says_is_stored_the_same_way(both: Both) -> None:
    for place, name in (("--data", str(both.data)), ("--api", both.url)):
        code, said = both.at(place, name, "mayor", "say", ALPHA, f"Plan it, says {place}.")
        assert (code, said["townId"], sorted(said)) == (0, ALPHA, ["messageId", "townId"])
    both.at("--data", str(both.data), "tick", ALPHA, "--force")
    code, found = both("mayor", "log", ALPHA)
    assert {letter["text"] for letter in found["messages"]} >= {"Plan it, says --data.", "Plan it, says --api."}
    assert code == 0
