"""The town-past port: committed images and recorded inputs that are still retained, for replay. It is read-only."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic needs this one below Python 3.12

from shared.ports.steps import Steps
from shared.ports.town_archive import TownArchive


@with_config(ConfigDict())  # else an answer that contains a row would rename its columns
class JournalRow(TypedDict):
    """A tick as the journal keeps it. The content of `inputs` and `outputs` depends on the code that ran it (`code_version`)."""

    tick_no: int
    tick_id: str
    now: str
    code_version: str
    sqlite_version: str
    config_digest: str
    prev_image_digest: str
    inputs: dict[str, Any]
    outputs: dict[str, Any]


def journal_row(columns: Mapping[str, Any]) -> JournalRow:
    """The row with these columns, whose `inputs` and `outputs` are already decoded. Raises KeyError if a column is missing."""
    return {
        "tick_no": columns["tick_no"],
        "tick_id": columns["tick_id"],
        "now": columns["now"],
        "code_version": columns["code_version"],
        "sqlite_version": columns["sqlite_version"],
        "config_digest": columns["config_digest"],
        "prev_image_digest": columns["prev_image_digest"],
        "inputs": columns["inputs"],
        "outputs": columns["outputs"],
    }


@dataclass(frozen=True, slots=True)
class PastImage:
    """An image as it was committed. `tick_no` is the last tick in it (0: none), `tick_at` is that tick's `now`.

    `commit_id` is None if only files of the commit are kept, which do not record it.
    """

    town_id: str
    image: bytes
    txid: int
    tick_no: int
    tick_at: datetime | None
    committed_at: datetime
    commit_id: str | None = None


class TownPast(TownArchive, Protocol):
    """The retained past of towns. An instance may cache its listings, so it serves only one request.

    Every method yields its store calls as steps and may raise UnknownTown, DamagedImage (names the object), Refused (404) if
    a chain of files has a gap, and what the object store raises.
    """

    @property
    def left_out(self) -> tuple[str, ...]:
        """What `around_damage` left out: the message of each damaged journal object that was met."""
        ...

    @property
    def passed_over(self) -> tuple[str, ...]:
        """What is wrong with each past head that could not be read, so that an older one was taken."""
        ...

    def around_damage(self) -> "TownPast":
        """The same past, which leaves out journal objects that are damaged, as if their rows were not retained."""
        ...

    def newest(self, town_id: str) -> Steps[PastImage]:
        """The image that is committed now."""
        ...

    def oldest(self, town_id: str) -> Steps[PastImage]:
        """The oldest image that is still retained."""
        ...

    def before(self, town_id: str, at: datetime) -> Steps[PastImage | None]:
        """The newest retained image whose commit is earlier than `at`; None if there is none."""
        ...

    def up_to_tick(self, town_id: str, tick_no: int) -> Steps[PastImage | None]:
        """The newest retained image whose last tick is this one or an earlier one; None if there is none."""
        ...

    def after_tick(self, town_id: str, tick_no: int) -> Steps[tuple[PastImage, ...]]:
        """Every retained commit whose last tick is this one, in order. The first one is the tick's own.

        More follow if somebody committed without a tick: earlier releases did so in a restore in place.
        """
        ...

    def from_tick(self, town_id: str, tick_no: int) -> Steps[PastImage]:
        """The oldest retained image whose last tick is this one or a later one; the newest image if all are older."""
        ...

    def rows_after(self, town_id: str, tick_no: int) -> Steps[tuple[JournalRow, ...]]:
        """The next journal rows after a tick, in order and without repetition, as many as one object holds.

        Empty if there are none. The first row may be later than `tick_no` + 1 if older rows are no longer retained.
        """
        ...

    def rows_before(self, town_id: str, tick_no: int) -> Steps[tuple[JournalRow, ...]]:
        """The journal rows before a tick, in order, as many as one object holds; the last one is the newest before the tick.

        Empty if there are none.
        """
        ...
