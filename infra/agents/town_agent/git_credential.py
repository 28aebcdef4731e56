"""`town-agent git-credential get|store|erase`: git's questions for a credential, answered with the one that the town issued.

git writes what it needs to our standard input and reads the answer from our standard output. We answer for the agent's own
repository only. For everything else, and without a credential, the answer is empty, and git goes on as if we did not exist.
Standard error, which people and agents see, never gets anything of the credential.
"""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

from infra.agents.credentials import FILE, Issued, Kept, NotIssued, source_from
from infra.agents.git_settings import addresses
from infra.agents.town_agent.order import Caller, NoOrder, caller
from shared.domain.quoting import cleaned

TOLD: Final = "no-credential-told"
"""The file that says that the agent knows why it has no credential."""

_LARGEST: Final = 64 << 10
_USAGE: Final = (
    "town-agent git-credential: git calls it with get, store or erase, and writes its question to standard input"
)


def run(words: Sequence[str], environment: Mapping[str, str], *, asked: TextIO | None = None) -> int:
    """Answer one question. Returns the exit code, which git does not look at."""
    if len(words) != 1 or words[0] not in ("get", "store", "erase"):
        return _complain(_USAGE)
    question = _question(sys.stdin if asked is None else asked)
    if words[0] == "store":
        return 0
    try:
        us = caller(environment)
    except NoOrder as error:
        return _complain(f"town-agent: {error}")
    kept = kept_of(us, environment)
    if words[0] == "erase":
        kept.forget(question.get("password", ""))
        return 0
    return _get(us, kept, question, environment)


def kept_of(us: Caller, environment: Mapping[str, str]) -> Kept:
    """The credential of this generation, kept on its desk."""
    source = source_from(environment, town_id=us.town_id, agent_id=us.agent_id, generation=us.generation)
    return Kept(source, us.place / FILE)


def _get(us: Caller, kept: Kept, question: Mapping[str, str], environment: Mapping[str, str]) -> int:
    try:
        issued = kept.current()
    except NotIssued as error:
        return _complain(f"town-agent: git gets no credential: {cleaned(str(error))}")
    if issued.forge is None:
        _tell_once(us.place, issued)
        return 0
    if any(address.is_asked_for(question) for address in addresses(issued.forge, environment)):
        print(f"username={issued.forge.username}\npassword={issued.forge.token.reveal()}", flush=True)
    return 0


def _question(asked: TextIO) -> dict[str, str]:
    """What git asks for, up to an empty line. Of an attribute that comes several times, the last one counts."""
    found: dict[str, str] = {}
    for line in asked.read(_LARGEST).split("\n"):
        name, equals, value = line.partition("=")
        if not equals:
            break
        found[name] = value
    return found


def _tell_once(place: Path, issued: Issued) -> None:
    """Say why there is no credential: once for each generation, because git asks often."""
    with suppress(OSError):
        (place / TOLD).touch(exist_ok=False)
        _complain(f"town-agent: the town gives git no credential: {cleaned(issued.reason or 'it does not say why')}")


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return 2
