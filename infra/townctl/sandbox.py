"""What separates local agents from their user and from one another: nothing, or bubblewrap if the user asks for it.

Local agents report by writing into the data directory, so they run as the user of townctl. With `TOWN_AGENT_SANDBOX=bwrap`, each
runs in namespaces that bubblewrap makes: it sees no other process, and cannot read the secrets of the data directory and the
files of other agents; the rest of the machine is read-only. It may still write the data of the towns. The arguments are tested, but
bubblewrap was not installed where they were written.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from shared.adapters.local_processes import Wrap
from shared.adapters.local_state import GenerationFiles
from shared.domain.errors import Refused

SANDBOX_VARIABLE: Final = "TOWN_AGENT_SANDBOX"
_PROGRAM: Final = "bwrap"
_TOLD: Final = "told-about-users"


def sandbox_of(environment: Mapping[str, str], *, data: Path, agents: Path) -> Wrap | None:
    """The sandbox that an environment asks for; None if it asks for none. Raises Refused if it is not to be had."""
    wanted = environment.get(SANDBOX_VARIABLE) or None
    if wanted is None:
        return None
    if wanted != _PROGRAM:
        hint = f"set it to {_PROGRAM}, or to nothing"
        raise Refused(
            f"{SANDBOX_VARIABLE}: there is no sandbox {wanted[:50]!r}", status=400, path=SANDBOX_VARIABLE, hint=hint
        )
    program = shutil.which(_PROGRAM)
    if program is None:
        hint = f"install bubblewrap, or set {SANDBOX_VARIABLE} to nothing to run agents without it"
        raise Refused(f"{SANDBOX_VARIABLE}: {_PROGRAM} is not installed", status=400, path=SANDBOX_VARIABLE, hint=hint)

    def wrap(files: GenerationFiles, command: Sequence[str]) -> Sequence[str]:
        return in_bubblewrap(program, files, command, data=data, agents=agents)

    return wrap


def in_bubblewrap(
    program: str, files: GenerationFiles, command: Sequence[str], *, data: Path, agents: Path
) -> tuple[str, ...]:
    """The command inside bubblewrap. A later argument covers an earlier one: first everything, then what is hidden, then the
    agent's own.
    """
    own = (files.directory.parent / "work", files.desk)
    return (
        program,
        *("--unshare-pid", "--unshare-ipc", "--unshare-uts", "--new-session"),
        *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp"),  # noqa: S108 - the agent's own
        *("--bind", str(data), str(data), "--tmpfs", str(data / ".secrets"), "--tmpfs", str(agents)),
        *(word for place in own for word in ("--bind", str(place), str(place))),
        *("--chdir", str(own[0]), "--", *command),
    )


def tell_once(agents: Path, environment: Mapping[str, str], talk: Callable[[str], None]) -> None:
    """Tell the user, once for each data directory, that local agents run as that user, and what helps."""
    mark = agents / _TOLD
    if environment.get(SANDBOX_VARIABLE) or mark.exists():
        return
    helps = "a control server run as root gives each its own user"
    if shutil.which(_PROGRAM) is not None:
        helps = f"{SANDBOX_VARIABLE}={_PROGRAM} runs each in a sandbox"
    talk(f"agents run as your user, so they can read what you can read; {helps}")
    agents.mkdir(mode=0o700, parents=True, exist_ok=True)
    mark.touch()
