"""What a driver removes from every text that it shows, keeps or sends: what the program printed may hold the agent's keys.

A secret that is cut in two is not recognised any more, so a text is shortened at a blank: a word stays whole, or goes.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from shared.domain import secret_texts
from shared.domain.quoting import cleaned

_SECRET_NAME: Final = re.compile(r"KEY|TOKEN|SECRET|PASS|PWD|CREDENTIAL|AUTH|COOKIE", re.IGNORECASE)
_SHORTEST_SECRET: Final = 8
_BETWEEN_WORDS: Final = frozenset(" \t\n\r\"',;")


class Scrubber:
    """Removes the given secrets, whatever they look like, and everything that looks like one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: tuple[str, ...] = ()
        self.hide(secrets)

    def hide(self, secrets: Iterable[str]) -> None:
        """From now on, remove these too."""
        known = {*self._secrets, *(cleaned(secret) for secret in secrets)} - {""}
        self._secrets = tuple(sorted(known, key=len, reverse=True))

    def __call__(self, text: str, *, most: int) -> str:
        """A text of at most `most` characters, without secrets. Invisible characters go first: a secret could hide between them."""
        text = shortened(cleaned(text), 4 * most)
        for secret in self._secrets:
            text = text.replace(secret, secret_texts.REMOVED)
        return secret_texts.masked(shortened(text, most))


def shortened(text: str, most: int) -> str:
    """The first `most` characters up to the end of a word: a blank, a quotation mark or a comma."""
    if len(text) <= most:
        return text
    ends = next((at for at in range(most, -1, -1) if text[at] in _BETWEEN_WORDS), -1)
    return text[:ends] if ends > 0 else f"({len(text)} characters without a blank)"


def secrets_in(environment: Mapping[str, str]) -> list[str]:
    """The values of variables whose names say that they are secret. The path of a file is none."""
    found = [value for name, value in environment.items() if _SECRET_NAME.search(name)]
    return [value for value in found if len(value) >= _SHORTEST_SECRET and not _is_path(value)]


def _is_path(value: str) -> bool:
    try:
        return value.startswith(os.sep) and Path(value).exists()
    except (OSError, ValueError):
        return False
