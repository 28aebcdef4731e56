"""A person's login that is lent to agents: where it lies, who may read it, what is given back, and what never happens to it."""

import json
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import pytest

from infra.agents.drivers.contract import Driver
from infra.agents.drivers.known import ALL
from infra.agents.drivers.login import LentLogin
from infra.agents.drivers.scrubbing import Scrubber
from infra.agents.drivers.transcript import TRANSCRIPT, Transcript
from infra.townctl import agent_checks, agent_programs
from infra.townctl.agent_programs import AgentProgram
from shared.adapters.clock import SystemClock
from shared.domain.errors import Refused

OLD, NEW, THEIRS = ("canary-of-a-login-" + name for name in ("old", "new", "theirs"))


def login(token: str) -> str:
    return json.dumps({"tokens": {"access": token}, "account": "me"})


@dataclass
class Lent:
    """A person's file, its copy, and what was hidden from transcripts."""

    root: Path
    hidden: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.original.parent.mkdir()
        self.original.write_text(login(OLD))

    @property
    def original(self) -> Path:
        return self.root / "home" / "auth.json"

    @property
    def copy(self) -> Path:
        return self.root / "program" / "data" / "auth.json"

    def lend(self) -> LentLogin:
        files = {"auth.json": "data/auth.json"}
        return LentLogin.of(str(self.root / "home"), files, self.root / "program", self._hide)

    def _hide(self, secrets: Sequence[str]) -> None:
        self.hidden |= set(secrets)


@pytest.fixture
def lent(tmp_path: Path) -> Lent:
    return Lent(tmp_path)


def test_the_copy_is_for_its_user_alone_and_is_gone_at_the_end(lent: Lent) -> None:
    with lent.lend():
        assert lent.copy.read_text() == login(OLD)
        assert stat.S_IMODE(lent.copy.stat().st_mode) == 0o600
        assert stat.S_IMODE(lent.copy.parent.stat().st_mode) == 0o700
    assert not lent.copy.exists()
    assert lent.original.read_text() == login(OLD)


def test_a_renewed_login_is_given_back_and_one_that_others_renewed_is_taken(lent: Lent) -> None:
    with lent.lend() as lending:
        lent.copy.write_text(login(NEW))
        lending.look()
        assert lent.original.read_text() == login(NEW)
        assert stat.S_IMODE(lent.original.stat().st_mode) == 0o600
        lent.original.write_text(login(THEIRS))
        lending.look()
        assert lent.copy.read_text() == login(THEIRS)
    assert lent.original.read_text() == login(THEIRS)
    assert {OLD, NEW, THEIRS} <= lent.hidden


@pytest.mark.parametrize(
    "spoilt", ["", "{}", "not a login", '{"tokens": 1}', '{"account": "me", "tokens": {}, "more": 1}']
)
def test_a_spoilt_copy_is_not_given_back(lent: Lent, spoilt: str) -> None:
    with lent.lend():
        lent.copy.write_text(spoilt)
    assert lent.original.read_text() == login(OLD)


def test_a_login_that_both_sides_changed_stays_as_it_is(lent: Lent) -> None:
    with lent.lend():
        lent.copy.write_text(login(NEW))
        lent.original.write_text(login(THEIRS))
    assert lent.original.read_text() == login(THEIRS)


def test_a_link_in_the_place_of_the_copy_gives_nothing_away(lent: Lent, tmp_path: Path) -> None:
    """An agent could otherwise have any file of its user's written into the login, or the login into any file."""
    other = tmp_path / "other"
    other.write_text(login(NEW))
    with lent.lend() as lending:
        lent.copy.unlink()
        lent.copy.symlink_to(other)
        lent.original.write_text(login(THEIRS))
        lending.look()
        assert other.read_text() == login(NEW)
    assert lent.original.read_text() == login(THEIRS)


def test_a_login_that_is_kept_as_a_link_stays_one(lent: Lent, tmp_path: Path) -> None:
    kept = tmp_path / "kept.json"
    lent.original.rename(kept)
    lent.original.symlink_to(kept)
    with lent.lend():
        lent.copy.write_text(login(NEW))
    assert lent.original.is_symlink()
    assert kept.read_text() == login(NEW)


def test_no_transcript_shows_a_login(lent: Lent, tmp_path: Path) -> None:
    out = StringIO()
    scrub = Scrubber()
    transcript = Transcript(tmp_path, SystemClock(), scrub, out=out)
    files = {"auth.json": "auth.json"}
    with LentLogin.of(str(tmp_path / "home"), files, tmp_path / "program", scrub.hide):
        transcript.output(f"the file says {OLD}", failed=False)
    written = out.getvalue() + (tmp_path / TRANSCRIPT).read_text()
    assert "the file says" in written
    assert OLD not in written


@dataclass(frozen=True)
class NoKey:
    """A session that has nothing but the directory of its program."""

    place: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    model_url: str | None = None


@pytest.mark.parametrize("driver", ALL, ids=lambda driver: driver.name)
def test_each_program_needs_no_key_as_long_as_a_login_is_lent(tmp_path: Path, driver: Driver) -> None:
    for below in driver.logins:
        (tmp_path / below).parent.mkdir(parents=True)
        (tmp_path / below).write_text(login(OLD))
    session = NoKey(tmp_path / "program")
    assert driver.missing_key(session) is not None
    with LentLogin.of(str(tmp_path), driver.logins, session.place, lambda _: None):
        assert driver.missing_key(session) is None
    assert driver.missing_key(session) is not None


@pytest.fixture
def with_codex(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person who has codex, and a login of it. Returns the data directory."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "codex"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "auth.json").write_text(login(OLD))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / "data"


def test_a_login_is_remembered_by_its_name_alone(with_codex: Path) -> None:
    agent_programs.program(with_codex, None, agent="codex", login="codex")
    later = agent_programs.program(with_codex, None)
    assert later.login == "codex"
    assert agent_programs.local_runtime(with_codex, later, SystemClock())._environment["TOWN_AGENT_LOGIN"]
    assert OLD.encode() not in b"".join(path.read_bytes() for path in with_codex.rglob("*") if path.is_file())
    assert agent_programs.program(with_codex, None, agent="codex").login is None


def test_a_login_that_does_not_exist_or_fits_no_program_is_refused_in_words(with_codex: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="agents do not run claude"):
        agent_programs.program(with_codex, None, agent="codex", login="claude")
    (tmp_path / ".codex" / "auth.json").unlink()
    with pytest.raises(Refused, match="there is no login at"):
        agent_programs.program(with_codex, None, agent="codex", login="codex")


def test_what_keeps_agents_from_working_is_said_with_what_to_do(with_codex: Path, tmp_path: Path) -> None:
    def found(runs: AgentProgram, **environment: str) -> list[tuple[str, str]]:
        around = {"HOME": str(tmp_path), **environment}
        return [(each.check, each.subject) for each in agent_checks.problems(runs, around)]

    codex = AgentProgram.of_agent("codex")
    assert found(AgentProgram()) == [("agent program", "agents")]
    assert found(AgentProgram(("/no/such/agent",))) == [("agent program", "/no/such/agent")]
    assert found(codex) == [("agent key", "codex")]
    assert found(codex.with_login("codex")) == []
    keyed = AgentProgram(codex.command, named=frozenset({"OPENAI_API_KEY"}))
    assert found(keyed, OPENAI_API_KEY="k") == []
    assert found(keyed) == [("agent environment", "OPENAI_API_KEY"), ("agent key", "codex")]
    (tmp_path / ".codex" / "auth.json").unlink()
    assert found(AgentProgram(codex.command, login="codex")) == [("agent login", str(tmp_path / ".codex/auth.json"))]
    (tmp_path / "bin" / "codex").unlink()
    assert found(codex)[0] == ("agent program", "codex")
