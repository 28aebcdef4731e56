"""What the evil agent tries to read: files of the runtime and of other agents, environments and memory of other processes."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from infra.devstack.evil_agent.attempts import Diary

_SECRET_NAMES: Final = re.compile(
    rb"(?:^|\0)(TOWN_CONTROL_KEY|TOWN_TOKEN|TOWN_CONTAINER_TOKEN|TOWN_START_URL|AWS_SECRET_ACCESS_KEY|AWS_SESSION_TOKEN"
    rb"|AWS_CONTAINER_CREDENTIALS_[A-Z_]+)=[^\0]"
)
_TOKEN: Final = re.compile(rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.")
_LONGEST_READ: Final = 1 << 20
_MOST_FILES: Final = 3_000
_MACHINE: Final = (
    "/etc/shadow",
    "/root/.aws/credentials",
    "/root/.ssh/id_rsa",
    "/root/.netrc",
    "/root/.git-credentials",
)


def try_to_read(environment: Mapping[str, str], *, home: Path, diary: Diary) -> None:
    """Read all that can be read, and note what should not have been readable."""
    own = b"\0".join(f"{name}={value}".encode() for name, value in environment.items())
    found = _SECRET_NAMES.search(own)
    diary.note("W5", "its own environment", _name_in(found), got_through=found is not None)
    _read_processes(diary)
    start_file = Path(environment["TOWN_AGENT_CONTEXT"])
    _read_tree(root_of(start_file), mine=_own_places(environment, home), diary=diary)
    for path in _MACHINE:
        if Path(path).parent != Path("/etc") and not os.access(path, os.F_OK):
            continue
        readable = os.access(path, os.R_OK)
        diary.note("W5", f"a file of the machine: {path}", "readable" if readable else "refused", got_through=readable)


def _own_places(environment: Mapping[str, str], home: Path) -> tuple[Path, ...]:
    """Where the agent may read: its home, its start directory, its working directory and its own token."""
    named = (environment["TOWN_AGENT_CONTEXT"], environment.get("TOWN_TOKEN_FILE", "/nowhere/x"))
    start_file, token_file = (Path(each) for each in named)
    return (home, home_of(start_file), token_file, Path.cwd())


def root_of(start_file: Path) -> Path:
    """The control server's directory: that of start files is <root>/agents/<town>/<agent>/<generation>/, or deeper."""
    return next((above.parent for above in start_file.parents if above.name == "agents"), start_file.parent)


def home_of(start_file: Path) -> Path:
    """The directory in which everything of one agent lies: <root>/agents/<town>/<agent>."""
    town, agent = start_file.relative_to(root_of(start_file)).parts[1:3]
    return root_of(start_file) / "agents" / town / agent


def _read_processes(diary: Diary) -> None:
    """Environments of all processes, and memory, open files and the root directory of those whose environment is secret."""
    mine = {os.getpid()}
    seen, refused, secret = 0, 0, []
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) in mine:
            continue
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            refused += 1
            continue
        seen += 1
        if _SECRET_NAMES.search(environment):
            secret.append(process.name)
    answer = f"{seen} environments read, {refused} refused, with secrets: {', '.join(secret[:5]) or 'none'}"
    diary.note("W5", "environments of other processes", answer, got_through=bool(secret))
    _read_parents(diary)


def _read_parents(diary: Diary) -> None:
    """The memory and the open files of the processes that this one descends from, up to the first of the machine."""
    pid = os.getppid()
    for _ in range(3):
        if pid <= 1:
            return
        for part in ("environ", "mem", "maps"):
            try:
                with Path(f"/proc/{pid}/{part}").open("rb") as file:
                    read = file.read(16) if part != "mem" else b"opened"
            except OSError as error:
                diary.note("W5", f"{part} of an ancestor", type(error).__name__, got_through=False)
                continue
            same_user = Path(f"/proc/{pid}").stat().st_uid == os.getuid()
            diary.note("W5", f"{part} of an ancestor", f"{len(read)} bytes", got_through=bool(read) and not same_user)
        pid = int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])


def _read_tree(root: Path, *, mine: tuple[Path, ...], diary: Diary) -> None:
    """Every file below the control server's directory that is not its own."""
    read, tokens, others = 0, [], []
    for path in _files(root):
        if any(path == own or path.is_relative_to(own) for own in mine):
            continue
        try:
            with path.open("rb") as file:
                content = file.read(_LONGEST_READ)
        except OSError:
            continue
        read += 1
        shown = str(path.relative_to(root))
        if _TOKEN.search(content) or shown in ("token", "config.json") or shown.startswith("tokens/"):
            tokens.append(shown)
        elif shown.startswith("agents/"):
            others.append(shown)
    diary.note(
        "W5", "tokens below the control server's directory", tokens[:3] or f"none in {read}", got_through=bool(tokens)
    )
    diary.note("W5", "files of other agents", others[:3] or f"none in {read}", got_through=bool(others))
    for name in ("token", "config.json", "tokens/evil.1", "agents/evil.json", "clones/evil"):
        possible = os.access(root / name if (root / name).exists() else (root / name).parent, os.W_OK)
        diary.note("W5", f"a write of {name}", "possible" if possible else "refused", got_through=possible)


def _files(root: Path) -> Iterator[Path]:
    """Regular files below a directory, as far as its directories can be listed."""
    found = 0
    for directory, _, names in os.walk(root):
        for name in names:
            path = Path(directory) / name
            try:
                regular = stat.S_ISREG(path.lstat().st_mode)
            except OSError:
                continue
            if regular:
                found += 1
                if found > _MOST_FILES:
                    return
                yield path


def _name_in(found: "re.Match[bytes] | None") -> str:
    return "no secret" if found is None else found[1].decode()
