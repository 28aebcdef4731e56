"""`townctl backtest` and `townctl shadow`, with the code of another working tree in processes of their own."""

import signal
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from shared.adapters.clock import wait_for
from tests.integration.other_trees import a_tree
from tests.integration.townctl_calls import REPOSITORY, TOWNCTL, Townctl
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.slow

ALPHA = "alpha"
EARLY = ("--from", "2020-01-01T00:00:00Z")


@pytest.fixture
def townctl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Townctl:
    """A town whose second tick dispatches a bead."""
    call = Townctl(tmp_path / "data", capsys).with_work()
    for _ in range(2):
        assert call("tick", ALPHA, "--force").code in (0, 1)
    return call


@pytest.fixture(scope="module")
def other_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this tree in which rule B1 never acts."""
    return a_tree(tmp_path_factory.mktemp("other") / "tree", "")


def test_the_same_code_does_the_same(townctl: Townctl) -> None:
    done = townctl("backtest", *EARLY)
    assert (done.code, done.err) == (0, "")
    assert "every tick does the same" in done.out
    assert townctl("shadow", "--once").code == 0


def test_other_code_is_run_and_its_differences_are_named(townctl: Townctl, other_tree: Path, tmp_path: Path) -> None:
    report = tmp_path / "backtest.xml"
    asked = ("backtest", *EARLY, "--code", str(other_tree), "--jobs", "1")
    done = townctl(*asked, "--junit", str(report), "--json")
    assert done.code == 1
    (line,) = (each for each in done.document["changes"] if each["name"] == "dispatch_agent")
    assert (line["gained"], line["lost"], line["towns"]) == (0, 1, [ALPHA])
    first = line["first"][0]
    assert first["link"] == f"/t/{ALPHA}/timeline?span=all&tick={first['tick']}"
    assert done.document["code"] != list(done.document["recordedCode"])
    suite = ET.parse(report).getroot()
    assert (suite.attrib["tests"], suite.attrib["failures"]) == ("1", "1")
    assert "lost B1 dispatch_agent" in "".join(suite.itertext())
    shown = townctl(*asked, "--accept")
    assert (shown.code, "accepted: the differences are meant" in shown.out) == (0, True)
    assert townctl(*asked, "--junit", str(report)).code == 2, "a file that exists is not replaced"


def test_the_shadow_says_and_counts_what_the_other_code_would_do(townctl: Townctl, other_tree: Path) -> None:
    done = townctl("shadow", "--once", "--emf", "--code", str(other_tree))
    assert done.code == 1
    assert "lost B1 dispatch_agent" in done.out
    assert '"shadowDifferences":[1.0]' in done.err
    assert townctl("town", "status", ALPHA).code in (0, 1)


def test_code_that_ends_its_process_is_said_of_its_town(townctl: Townctl, tmp_path: Path) -> None:
    dies = a_tree(tmp_path / "dies", '    Rule("B1", lambda *_: __import__("os")._exit(9)),\n')
    done = townctl("shadow", "--once", "--code", str(dies))
    assert done.code == 1
    assert (
        f"ended while it ran tick 1 of town {ALPHA} (exit code 9); its error is above; ticks 1 to 2 left out"
        in done.out
    )
    tested = townctl("backtest", *EARLY, "--code", str(dies))
    assert f"ended while it ran town {ALPHA} (exit code 9)" in tested.out


def test_what_the_other_code_prints_is_no_answer(townctl: Townctl, tmp_path: Path) -> None:
    prints = a_tree(tmp_path / "prints", '    Rule("B1", lambda *_: print("here") or ()),\n')
    done = townctl("shadow", "--once", "--code", str(prints))
    assert (done.code, "lost B1 dispatch_agent" in done.out) == (1, True)


@pytest.mark.parametrize(("command", "code"), [(("shadow", "--once"), 0), (("backtest", *EARLY), 130)], ids=str)
def test_a_command_whose_code_hangs_ends_at_the_first_signal(
    command: tuple[str, ...], code: int, townctl: Townctl, tmp_path: Path
) -> None:
    """It waited for its child, which never answered, and of a shadow a second signal did not help."""
    mark = tmp_path / "began"
    hangs = f'    Rule("B1", lambda *_: (open({str(mark)!r}, "w"), __import__("time").sleep(10_000))),\n'
    words = ("--data", str(townctl.data), *command, "--code", str(a_tree(tmp_path / "hangs", hangs)))
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # who runs the tests may ignore it, and a child inherits that
    try:
        process = subprocess.Popen([*TOWNCTL, *words], cwd=REPOSITORY)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        assert wait_for(mark.exists, seconds=PATIENCE_SECONDS, every=0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_SECONDS) == code
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("backtest", *EARLY, "--code", "NOWHERE"), "has no infra/townctl/other_code.py"),
        (("backtest", *EARLY, "--jobs", "0"), "--jobs must be 1 to 64"),
        (("backtest", *EARLY, "--towns", "nobody"), "there is no town nobody"),
        (("backtest", "--from", "2099-01-01T00:00:00Z"), "from is in the future"),
        (("shadow", "--share", "0"), "--share must be above 0"),
        (("shadow", "--every", "0"), "--every must be 1 to 3600"),
        (("shadow", "--limit", "0"), "--limit must be 1 to 86400"),
        (("backtest", *EARLY, "--limit", "86401"), "--limit must be 1 to 86400"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused_with_what_to_do(
    words: tuple[str, ...], said: str, townctl: Townctl, tmp_path: Path
) -> None:
    done = townctl(*(str(tmp_path) if word == "NOWHERE" else word for word in words))
    assert done.code == 2
    assert said in done.err
    assert "hint:" in done.err
