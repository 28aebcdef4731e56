"""What the evil agent has tried: one JSON line for each attempt."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

FILE: Final = "evil.jsonl"
_LONGEST_ANSWER: Final = 200


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attack on a wall (`W1` to `W11`). `got_through` says whether the answer alone shows that the wall did not hold."""

    wall: str
    name: str
    answer: str
    got_through: bool


class Diary:
    """The attempts of one process, in a file that is never rewritten."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def note(self, wall: str, name: str, answer: object, *, got_through: bool) -> None:
        """Add an attempt."""
        attempt = Attempt(wall, name, str(answer)[:_LONGEST_ANSWER], got_through)
        with self._file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(asdict(attempt)) + "\n")


def attempts_in(file: Path) -> list[Attempt]:
    """The attempts that a diary holds; none if the file does not exist. A line that is not complete yet is left out."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    return [Attempt(**json.loads(line)) for line in lines]
