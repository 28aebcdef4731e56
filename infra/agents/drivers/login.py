"""A person's login, lent to the program of one generation (`--agent-login`).

The program works with a copy of each login file. While it runs, copy and original are compared every few seconds. A program that
renews its login often makes the old one invalid for everybody, so a renewed copy is given back to the person, and what the person
or another agent has renewed comes into the copy. If both have changed, neither is touched.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from infra.agents.control_server.secret_files import write_secret
from shared.adapters import outside_files
from shared.domain import strict_json

_LARGEST: Final = 64 << 10
_LOOK_SECONDS: Final = 5.0
_SHORTEST_SECRET: Final = 16


class LentLogin:
    """The login files of one program: `files` are pairs of the person's file and its copy. `hide` gets every text of a login that
    may be a secret. Use it as a context: at the end the copies are removed.
    """

    def __init__(self, files: Sequence[tuple[Path, Path]], hide: Callable[[Sequence[str]], None]) -> None:
        self._files = [_LentFile(original, copy) for original, copy in files]
        self._hide = hide
        self._guard = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="login", daemon=True)

    @classmethod
    def of(
        cls, home: str | None, logins: Mapping[str, str], place: Path, hide: Callable[[Sequence[str]], None]
    ) -> "LentLogin":
        """The login that lies below a person's home; nothing is lent if no home is given."""
        pairs = [(Path(home) / theirs, place / ours) for theirs, ours in logins.items()] if home else []
        return cls(pairs, hide)

    def __enter__(self) -> Self:
        self.look()
        if self._files:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._files:
            self._thread.join()
        self.look()
        for file in self._files:
            file.copy.unlink(missing_ok=True)

    def look(self) -> None:
        """Bring copies and originals together, and hide what they hold. What cannot be written now is tried again later."""
        with self._guard:
            for file in self._files:
                with contextlib.suppress(OSError):
                    file.look()
                self._hide(list(_secrets(file.shared)))

    def _go_on(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            self.look()


class _LentFile:
    """One file. `shared` is the content that both sides had last."""

    def __init__(self, original: Path, copy: Path) -> None:
        self.original = original.resolve()  # people keep such files as links, which a replacement would remove
        self.copy = copy
        self.shared = ""

    def look(self) -> None:
        theirs, ours = _content(self.original), _content(self.copy)
        if theirs is not None and theirs != self.shared and ours in (None, self.shared):
            self.copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_secret(self.copy, theirs)
            self.shared = theirs
        elif ours is not None and ours != self.shared and theirs == self.shared and _is_renewed(self.shared, ours):
            write_secret(self.original, ours)
            self.shared = ours


def _content(path: Path) -> str | None:
    """The content of a login file of our own; None if there is none, or if it is no such file."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        found = outside_files.start_of(path, _LARGEST + 1, owner=os.geteuid())
        return found.decode() if len(found) <= _LARGEST else None
    return None


def _is_renewed(before: str, after: str) -> bool:
    """Whether the login after is the one before with other values. One that was logged out or half written is not given back."""
    return (parts := _fields(before)) is not None and parts == _fields(after)


def _fields(text: str) -> frozenset[str] | None:
    """The names of the fields of a login; None if it is not one JSON object."""
    with contextlib.suppress(ValueError):
        found = strict_json.foreign(text, limit=_LARGEST)
        if isinstance(found, dict) and found:
            return frozenset(found)
    return None


def _secrets(text: str) -> Iterator[str]:
    """Every text of a login that is long enough to be a secret."""
    with contextlib.suppress(ValueError):
        yield from _long_texts(strict_json.foreign(text, limit=_LARGEST))


def _long_texts(value: object) -> Iterator[str]:
    if isinstance(value, str) and len(value) >= _SHORTEST_SECRET:
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _long_texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from _long_texts(each)
