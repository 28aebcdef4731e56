"""Makes the golden recordings anew and says what changed: `make recordings-accept`. Accepting is a deliberate act.

    python -m tests.recordings.make                  # all of them
    python -m tests.recordings.make drain breaker    # these
    python -m tests.recordings.make --look           # only say what would change; exit code 1 if anything would

A recording that still comes out as it was recorded, of a story that is still the same, stays as it is.
"""

import sys

from shared.domain.errors import TownError
from shared.replay.recordings import file_format, verifying
from tests.recordings import golden


def main(words: list[str]) -> int:
    """Make what is asked for; the exit code."""
    names = [word for word in words if not word.startswith("-")] or list(golden.NAMES)
    look = "--look" in words
    changed = 0
    for name in names:
        made = golden.made(name)
        what = _what_changed(name, made)
        changed += what is not None
        if what is None:
            print(f"{name}: unchanged")
            continue
        print(what)
        if not look:
            body = file_format.to_bytes(made)
            golden.path_of(name).write_bytes(body)
            print(f"{name}: written, {len(made.ticks)} ticks, {len(body)} bytes")
    return 1 if look and changed else 0


def _what_changed(name: str, made: file_format.Recording) -> str | None:
    if not golden.path_of(name).exists():
        return f"{name}: new"
    try:
        old = golden.read(name)
    except TownError as error:
        return f"{name}: the old one cannot be read: {error.message}"
    verified = verifying.verify(old)
    if not verified.exact and name != golden.TAMPERED:
        return golden.complaint(name, verified)
    if name == golden.TAMPERED and [tick.image_digest for tick in old.ticks] != [
        tick.image_digest for tick in made.ticks
    ]:
        return f"{name}: what it was made of comes out otherwise"
    return None if golden.same_story(old, made) else f"{name}: comes out as recorded, but the story is another one"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
