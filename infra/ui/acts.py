"""What buttons and forms of the page do: a what-if, which changes nothing, and with --write what its button has asked about."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from infra.townctl.stored_towns import StoredTowns
from infra.ui.address import Address
from infra.ui.views import what_if_form

if TYPE_CHECKING:
    from infra.townctl.context import Context
    from infra.townctl.place import Place
    from infra.ui.site import Site

SECONDS: Final = 60
_READ_ONLY: Final = "Read-only: townctl ui --write lets buttons act."


@dataclass(frozen=True, slots=True)
class Said:
    """What was done, in a few words, and where the page goes."""

    text: str = ""
    to: Address | None = None


class Acts:
    """The acts of one site. `options` are those of townctl that name the place of the towns."""

    def __init__(self, site: Site, options: Sequence[str]) -> None:
        self._site = site
        self._options = tuple(options)

    def done(self, address: Address, asked: Mapping[str, Any]) -> Said:
        """Do what is asked for."""
        if asked.get("what") == "what_if" and isinstance(asked.get("fields"), dict):
            return _what_if(address, asked["fields"])
        if asked.get("what") == "run":
            return self._run(str(asked.get("value", "")))
        return Said("The page asked for something that is not known here: load it again.")

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
        return Said(str(error))
    if not overrides:
        return Said("Change something first.", address.with_(what=None))
    return Said("", address.with_(what=json.dumps(overrides, separators=(",", ":"))))


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
