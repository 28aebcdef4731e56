"""The drivers that this version has."""

from typing import Final

from infra.agents.drivers.claude import Claude
from infra.agents.drivers.codex import Codex
from infra.agents.drivers.contract import Driver
from infra.agents.drivers.opencode import Opencode

ALL: Final[tuple[Driver, ...]] = (Opencode(), Claude(), Codex())


def names() -> str:
    """The names of all drivers, for messages."""
    return ", ".join(driver.name for driver in ALL)


def driver_of(name: str) -> Driver:
    """The driver of this name. Raises ValueError, which lists the names."""
    for driver in ALL:
        if driver.name == name:
            return driver
    raise ValueError(f"there is no agent {name!r}; choose one of {names()}")
