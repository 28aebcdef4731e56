"""What keeps the program of local agents from working: none set, not installed, no key, no login.

`run` and `serve` say it when they begin, `doctor` finds it, and the runtime rejects starts for the first kind.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.agents.drivers.contract import Driver
from infra.agents.drivers.known import driver_of
from infra.agents.variables import MODEL_URL_VARIABLE, values_of
from infra.townctl.agent_programs import AgentProgram


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that keeps agents from working, and what to do about it. `subject` is a program, a variable or a file."""

    check: str
    subject: str
    said: str
    hint: str


@dataclass(frozen=True, slots=True)
class _Here:
    """The environment of townctl, as a driver wants to know it."""

    environment: Mapping[str, str]
    place: Path
    model_url: str | None


def problems(runs: AgentProgram, environment: Mapping[str, str] = os.environ) -> Iterator[Problem]:
    """Everything that is wrong with the program of agents, the gravest first. `environment` is that of townctl."""
    missing = runs.missing()
    if missing is not None:
        yield Problem("agent program", runs.program or "agents", *missing)
    for name in sorted(runs.named - environment.keys()):
        hint = f"export {name} before `townctl run`, or name other variables with --agent-env"
        yield Problem("agent environment", name, f"agents should get {name}, and this environment has none", hint)
    if runs.agent is not None:
        yield from _of_key(driver_of(runs.agent), runs, environment)


def _of_key(driver: Driver, runs: AgentProgram, environment: Mapping[str, str]) -> Iterator[Problem]:
    """A driver without a login and without a key among the variables that agents get."""
    if runs.login is not None:
        for path in missing_logins(driver, environment):
            yield Problem(
                "agent login", str(path), f"there is no login of {driver.name} at {path}", how_to_log_in(driver)
            )
        return
    got = {**runs.environment, **values_of(runs.named, environment)}
    here = _Here(got, Path(os.devnull), environment.get(MODEL_URL_VARIABLE) or runs.environment.get(MODEL_URL_VARIABLE))
    key = driver.missing_key(here)
    if key is not None:
        yield Problem("agent key", driver.name, f"agents have no key for the model of {driver.name}", key)


def missing_logins(driver: Driver, environment: Mapping[str, str]) -> Iterator[Path]:
    """The login files of a program that the person of this environment does not have."""
    home = Path(environment.get("HOME") or Path.home())
    for below in driver.logins:
        if not (home / below).is_file():
            yield home / below


def how_to_log_in(driver: Driver) -> str:
    """What a person does to have a login of this program in a file."""
    return f"start {driver.program} yourself and log in; where it keeps logins in a keychain, hand on a key with --agent-env"


def tell(runs: AgentProgram, talk: Callable[[str], None]) -> None:
    """Tell the user, one line each, what keeps local agents from working; the town goes on ticking."""
    for problem in problems(runs):
        talk(f"{problem.said}; {problem.hint}")
    if runs.login is not None:
        talk(f"agents use your login of {runs.login}; each of them can read it")
