"""The shapes of the debug API's answers that no other package defines. OpenAPI is generated from them."""

from typing_extensions import TypedDict

from shared.ports.town_past import JournalRow


class HealthDocument(TypedDict):
    """Which deployment answers."""

    stage: str
    release: str
    codeVersion: str


class TicksDocument(TypedDict):
    """Journal rows, oldest first. `next` is the `after` for the next page, null on the last one."""

    townId: str
    ticks: list[JournalRow]
    next: int | None
