"""What agents print, from the program to `townctl logs`: on this machine from its files, behind a container by its reports."""

import threading
from pathlib import Path

import pytest

from infra.agents.control_server.log_reports import LogReports
from infra.agents.control_server.requests import StartAgentRequest
from infra.agents.log_keeping import ApiKeeper, StoreKeeper, keeper_from
from infra.agents.posting import NotPosted
from infra.townctl import logs as command
from shared.adapters import local_supervisor as supervisor
from shared.adapters.clock import SystemClock, wait_for
from shared.adapters.directory_objects import DirectoryObjects
from shared.adapters.local_logs import TRANSCRIPT, LocalLogs
from shared.adapters.local_processes import LocalProcessRuntime
from shared.adapters.local_state import RuntimeDirectory
from shared.domain.orders import StartOrder
from shared.domain.states import Role
from shared.ports.agent_logs import LogName
from shared.ports.runtime import Started
from shared.ports.steps import drive
from shared.storage.agent_logs import StoredLogs
from tests.control_servers import START, a_control_server
from tests.integration.townctl_calls import Townctl
from tests.patience import PATIENCE_SECONDS

ORDER = StartOrder(town_id="alpha", agent_id="toast", generation=1, role=Role.POLECAT)
PRINTS = (
    "printf",
    "compiles\\n\\033[31mfails\\t1\\033[0m\\ntoken ghp_0123456789abcdefghijKLMNOPQRSTUVWXYZ end\\nlast line\\n",
)
TALKER = ("sh", "-c", "echo hello; echo '{}' > ${TOWN_AGENT_CONTEXT%/*}/transcript.jsonl")


class Kept:
    """A keeper that remembers, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.logs: dict[LogName, str] = {}
        self.failures = 0
        self.said = threading.Event()

    def keep(self, name: LogName, text: str) -> None:
        self.said.set()
        if self.failures:
            self.failures -= 1
            raise NotPosted("no answer")
        self.logs[name] = text


@pytest.fixture
def townctl(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Townctl:
    return Townctl(tmp_path / "data", capsys)


def ran(townctl: Townctl, order: StartOrder = ORDER, program: tuple[str, ...] = PRINTS) -> LocalProcessRuntime:
    """A local agent that has printed something and has ended."""
    runtime = LocalProcessRuntime(townctl.data / ".agents", command=program)
    assert isinstance(runtime.start(order, effect_id=f"e{order.generation}"), Started)
    ended = lambda: runtime.status("alpha", order.agent_id).status == "exited"  # noqa: E731
    assert wait_for(ended, seconds=PATIENCE_SECONDS)
    return runtime


def test_the_log_of_a_local_agent_is_shown_without_secrets_and_control_characters(townctl: Townctl) -> None:
    townctl.document("town", "create", "alpha")
    ran(townctl)
    called = townctl("logs", "toast", "alpha")
    assert called.code == 0, called.err
    assert "log of toast, generation 1" in called.out
    assert "compiles\n" in called.out
    assert "last line" in called.out
    assert "ghp_0123" not in called.out
    assert "\x1b" not in called.out
    assert townctl.document("logs", "toast", "alpha")["by"] == "machine"


def test_another_start_is_shown_on_request(townctl: Townctl) -> None:
    townctl.document("town", "create", "alpha")
    ran(townctl)
    ran(townctl, StartOrder(town_id="alpha", agent_id="toast", generation=2, role=Role.POLECAT), ("echo", "the second"))
    assert "the second" in townctl("logs", "toast").out
    assert "compiles" in townctl("logs", "toast", "--generation", "1").out
    missing = townctl("logs", "toast", "--generation", "7", "--json")
    assert (missing.code, missing.error["path"]) == (2, "generation")


@pytest.mark.parametrize(
    ("words", "path"),
    [(("nobody", "alpha"), "log"), (("toast", "alpha", "--generation", "0"), "generation"), (("toast", "beta"), "")],
)
def test_wrong_input_is_refused(townctl: Townctl, words: tuple[str, ...], path: str) -> None:
    townctl.document("town", "create", "alpha")
    called = townctl("logs", *words, "--json")
    assert called.code == 2
    assert called.error.get("path", "") == path or not path


def test_a_transcript_is_the_agents_own_file_and_no_link_to_another(townctl: Townctl, tmp_path: Path) -> None:
    townctl.document("town", "create", "alpha")
    secret = tmp_path / "secret"
    secret.write_text("another's file")
    runtime = ran(townctl)
    files = runtime.newest("alpha", "toast")
    assert files is not None
    (files.desk / TRANSCRIPT).symlink_to(secret)
    assert townctl("logs", "toast", "--transcript").code == 2
    (files.desk / TRANSCRIPT).unlink()
    (files.desk / TRANSCRIPT).write_text('{"said": "hello"}\n')
    assert '{"said": "hello"}' in townctl("logs", "toast", "--transcript").out


def test_what_a_log_has_more_than_before_is_what_following_prints() -> None:
    assert command._added("one\ntwo\n", "one\n") == "two\n"
    beginning = "".join(f"line {number}\n" for number in range(2000))
    assert command._added(beginning[500:] + "new\n", beginning) == "new\n"
    assert command._added("another log\n", "one\n") == "another log\n"
    assert command._added("one\n", "one\n") == ""


def test_a_container_reports_what_its_agents_print(tmp_path: Path) -> None:
    kept = Kept()
    with a_control_server(tmp_path, command=TALKER, keeper=kept) as server:
        status, _ = server.running.sessions.start(StartAgentRequest.model_validate(START), effect_id="e1")
        assert status in (200, 202)
        assert wait_for(lambda: len(kept.logs) == 2, seconds=PATIENCE_SECONDS)
    assert kept.logs == {
        LogName("a1", 1, "log", "container"): "hello\n",
        LogName("a1", 1, "transcript", "container"): "{}\n",
    }


def test_a_report_that_fails_is_made_again_with_the_next(tmp_path: Path) -> None:
    kept = Kept()
    kept.failures = 1
    files = RuntimeDirectory(tmp_path).agent("t1", "a1").generation(1)
    files.announce()
    (files.directory / supervisor.LOG).write_text("one\n")
    reports = LogReports(kept, every_seconds=3600)
    reports.start()
    reports.runs("a1", files)
    assert kept.said.wait(PATIENCE_SECONDS)
    reports.runs("a1", files)  # too early
    reports.ended("a1", files)
    assert reports.finish(seconds=PATIENCE_SECONDS)
    assert kept.logs == {LogName("a1", 1, "log", "container"): "one\n"}


def test_an_unchanged_log_is_not_reported_again(tmp_path: Path) -> None:
    kept = Kept()
    files = RuntimeDirectory(tmp_path).agent("t1", "a1").generation(1)
    files.announce()
    (files.directory / supervisor.LOG).write_text("one\n")
    reports = LogReports(kept)
    reports.start()
    reports.ended("a1", files)
    assert wait_for(lambda: bool(kept.logs), seconds=PATIENCE_SECONDS)
    kept.logs.clear()
    reports.ended("a1", files)
    assert reports.finish(seconds=PATIENCE_SECONDS)
    assert kept.logs == {}


def test_logs_are_kept_where_the_town_is(tmp_path: Path) -> None:
    clock = SystemClock()
    assert isinstance(keeper_from({"TOWN_API": "https://api.example.com"}, town_id="t1", clock=clock), ApiKeeper)
    assert keeper_from({"TOWN_AGENT_POST": '["true"]'}, town_id="t1", clock=clock) is None
    keeper = keeper_from({"TOWN_AGENT_DATA": str(tmp_path)}, town_id="t1", clock=clock)
    assert isinstance(keeper, StoreKeeper)
    name = LogName("a1", 1, "log", "container")
    keeper.keep(name, "hello\n")
    found = drive(StoredLogs(DirectoryObjects(tmp_path)).read("t1", name))
    assert found is not None
    assert found.text == "hello\n"
    assert drive(LocalLogs(tmp_path).kept("t1", "a1")) == ()


def test_the_last_lines_of_an_agent_that_failed_are_in_its_explanation(townctl: Townctl) -> None:
    townctl.with_work()
    townctl.document("start", "alpha")
    for _ in range(3):
        townctl("tick", "alpha", "--force")
    agents = townctl.document("agent", "list", "alpha")["agents"]
    [worker] = [each for each in agents if each["role"] == "polecat"]
    order = StartOrder(town_id="alpha", agent_id=worker["agentId"], generation=worker["generation"], role=Role.POLECAT)
    ran(townctl, order, ("sh", "-c", "echo compiles; echo 'no compiler found' >&2; exit 3"))
    townctl.post("agent_completed", {"status": "failed", "reason": "no compiler"}, agent=worker["agentId"])
    townctl("tick", "alpha", "--force")
    explained = townctl.document("explain", "agent", worker["agentId"], "alpha")
    assert explained["lastLines"]["lines"] == ["compiles", "no compiler found"]
    assert "no compiler found" in townctl("explain", "agent", worker["agentId"], "alpha").out
    assert "no compiler found" in townctl("logs", worker["agentId"], "alpha").out


def test_the_log_of_a_bead_is_that_of_its_agent(townctl: Townctl) -> None:
    """The whole id of a bead was taken for an agent's."""
    townctl.with_work()
    townctl.document("start", "alpha")
    for _ in range(2):
        townctl("tick", "alpha", "--force", "--agent-command", "echo compiles")
    assert wait_for(lambda: "compiles" in townctl("logs", "b1", "alpha").out, seconds=PATIENCE_SECONDS)
