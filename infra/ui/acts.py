"""What buttons and forms of the page do: a what-if, which changes nothing, and with --write what its button has asked about."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from infra.townctl.stored_towns import StoredTowns
from infra.ui import words
from infra.ui.address import Address
from infra.ui.views import what_if_form
from shared.domain.errors import TownError
from shared.domain.secret_texts import masked

if TYPE_CHECKING:
    from infra.townctl.context import Context
    from infra.townctl.place import Place
    from infra.ui.site import Site

SECONDS: Final = 60
WHAT_IF: Final = "what-if-said"
GO_TO: Final = "go-to-said"
_READ_ONLY: Final = "Read-only: townctl ui --write lets buttons act."


@dataclass(frozen=True, slots=True)
class Said:
    """What was done, in a few words, and where the page goes.

    The text stands in the element `beside` if that is named, and stays there; else it is a short notice. `reveal` is what must be
    in sight then. A page that is gone to `pushes` an entry of its own into the browser's history.
    """

    text: str = ""
    to: Address | None = None
    beside: str = ""
    reveal: str = ""
    pushes: bool = False


class Acts:
    """The acts of one site. `options` are those of townctl that name the place of the towns."""

    def __init__(self, site: Site, options: Sequence[str]) -> None:
        self._site = site
        self._options = tuple(options)

    def done(self, address: Address, asked: Mapping[str, Any]) -> Said:
        """Do what is asked for."""
        if asked.get("what") == "what_if" and isinstance(asked.get("fields"), dict):
            return _what_if(address, asked["fields"])
        if asked.get("what") == "go_to":
            return self._go_to(address, str(asked.get("value", "")))
        if asked.get("what") == "run":
            return self._run(str(asked.get("value", "")))
        return Said("The page asked for something that is not known here: load it again.")

    def _go_to(self, address: Address, typed: str) -> Said:
        """The page at the time that was typed; without a time, the present. Where there is nothing to show it stays as it is."""
        try:
            at = self._site.time_typed(address, typed) if typed.strip() else None
        except TownError as error:
            return Said(
                " ".join(filter(None, (words.sentence(masked(error.message)), masked(error.hint or "")))), beside=GO_TO
            )
        return Said("", address.at_time(at), beside=GO_TO, pushes=True)

    def _run(self, key: str) -> Said:
        """Run a command that the page has offered, as a command of its own."""
        if not self._site.writes:
            return Said(_READ_ONLY)
        arguments = self._site.offers.arguments(key)
        if arguments is None:
            return Said("This button is from an older page: load it again.")
        command = [sys.executable, "-m", "infra.townctl.main", *arguments, *self._options]
        try:
            ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return Said(f"{' '.join(arguments[:2])} did not end in {SECONDS} s.")
        if ran.returncode > 1:
            return Said(" ".join(ran.stderr.split()).removeprefix("townctl: ")[:300] or "It was refused.")
        first = next((line for line in ran.stdout.splitlines() if line.strip()), "done")
        return Said(f"Accepted: {first.strip()[:200]}", None)


def _what_if(address: Address, fields: Mapping[str, Any]) -> Said:
    try:
        overrides = what_if_form.overrides_of(fields, address.at or "")
    except ValueError as error:
        return Said(f"Nothing was run: {error}", beside=WHAT_IF)
    return Said(
        "",
        address.with_(what=json.dumps(overrides, separators=(",", ":"))),
        beside=WHAT_IF,
        reveal="result",
    )


def place_options(context: Context, place: Place) -> list[str]:
    """The options of townctl that name this place."""
    if not isinstance(place, StoredTowns):
        return ["--api", place.name]
    bucket = context.bucket
    if bucket is None:
        return ["--data", str(context.data)]
    found = ["--bucket", bucket.name]
    found += [] if bucket.endpoint_url is None else ["--endpoint", bucket.endpoint_url]
    return found + ([] if bucket.region is None else ["--region", bucket.region])
