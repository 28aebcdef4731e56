"""Stand-ins for what people wrote: the same for the same text, and nothing of the text in them.

What a tick is known to need stays: words of our own, times, numbers, ids. All other text is replaced, so that it does not
matter whether anybody would have recognised it as a secret. Ids and addresses are replaced where they hold a secret, an
e-mail address or anything that is no plain id.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from shared.domain import canonical
from shared.replay.recordings.vocabulary import known_keys, known_words

SECRET: Final = re.compile(
    r"""
      [\w.+-]+@(?!github\.com[:/]|gitlab\.com[:/])[\w-]+(?:\.[\w-]+)+     # an e-mail address
    | \b(?:gh[a-z]|github_pat|glpat|npm|hf|pypi)[_-][A-Za-z0-9_-]{8,}
    | \bxox[a-z]-[A-Za-z0-9-]{6,}
    | \b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{8,}
    | \b(?:AKIA|ASIA|AIza)[A-Za-z0-9_-]{12,}
    | \beyJ[A-Za-z0-9_-]{6,}
    | -----BEGIN
    | ://[^/\s@]*:[^/\s@]*@
    | \b[Bb]earer\s+\S+
    | (?i:password|passwd|secret|token|api_?key|credential)s?["']?\s*[=:]\s*["']?[^\s"',}\]]+
    | (?<![\w.-])\+\d[\d\s()-]{7,}\d                                      # a telephone number
    """,
    re.VERBOSE,
)
"""What gives itself away. Not what keeps recordings clean: the last look at one that is."""

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")
_ID: Final = re.compile(r"[A-Za-z0-9_.:/#+~-]{1,200}")
_IDENTITY: Final = re.compile(r"([A-Za-z0-9-]+)-(polecat|refinery|mayor)-(.+)@([a-z0-9-]+)")
_NUMBERED_NAME: Final = re.compile(r"Polecat-\d+")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_URL: Final = re.compile(r"(https|http|ssh|git)://(?:[^/@]*@)?([^/?#]*)([^?#]*)(.*)", re.DOTALL)
_SCP: Final = re.compile(r"[A-Za-z0-9._-]+@([A-Za-z0-9.-]+):(.+)", re.DOTALL)
_PARTS_OF_A_FORGE: Final = frozenset(("", "pull", "-", "merge_requests"))
_FORGES: Final = frozenset(("github.com", "gitlab.com"))
_NUMBER_KEPT: Final = 1_000_000
_LENGTH_KEPT: Final = 200
_IDS: Final = frozenset(("id", "claim", "nonce", "generation", "head_sha", "sha", "merge_commit", "resolved_by"))
_URLS: Final = frozenset(("pr_url", "git_url", "url"))
_FILLERS: Final = ("", ".", "·", "…", "𝄞")
"""One character for every width in UTF-8: a long text keeps its length in characters and in bytes, as limits count them."""


class Masks:
    """The stand-ins of one recording. `effects` are effect ids that have another one because their subject has."""

    def __init__(self, ids: frozenset[str] = frozenset()) -> None:
        """Stand-ins where `ids` are the ids of rows of the town, which may stand anywhere."""
        self._ids = ids
        self._made: dict[tuple[str, str], str] = {}
        self.effects: dict[str, str] = {}

    @property
    def count(self) -> int:
        """How many different texts are replaced."""
        return len(self._made)

    def document(self, text: str, key: str) -> str:
        """A JSON text with all its values masked; what is not JSON in the form that towns store is masked as a whole."""
        try:
            given = json.loads(text)
            if canonical.dumps(given) == text:
                return canonical.dumps(self.value(given, key))
        except ValueError:
            pass
        return self.free(text)

    def value(self, given: Any, key: str) -> Any:
        """A JSON value that stands under this key."""
        if isinstance(given, str):
            return self.text(given, key)
        if isinstance(given, list):
            return [self.value(each, key) for each in given]
        if isinstance(given, Mapping):
            return {self.key(name): self.value(inner, name) for name, inner in given.items()}
        if key in known_keys() or isinstance(given, bool) or given is None or abs(given) < _NUMBER_KEPT:
            return given
        return self._number(given)

    def text(self, given: str, key: str) -> str:
        """A text that stands under this key."""
        if key == "identity":
            return self.identity(given)
        if key in _URLS:
            return self.url(given)
        if key in _IDS or key.endswith(("_id", "_ids")):
            return self.identifier(given)
        return self.free(given)

    def key(self, given: str) -> str:
        """The name of a field: our own, an id, or somebody's words."""
        return given if given in known_keys() or self._is_id(given) else self._stand_in("key", given)

    def free(self, given: str) -> str:
        """What somebody wrote. Words of our own, times, ids of rows and what has no letter or digit stay."""
        if not any(character.isalnum() for character in given) or given in known_words() or _TIME.fullmatch(given):
            return given
        if self._is_id(given):
            return given
        made = self._stand_in("masked", given)
        return made if len(given) <= _LENGTH_KEPT else made + _filling(given, len(made))

    def identifier(self, given: str) -> str:
        """An id: it stays unless it gives itself away."""
        if _ID.fullmatch(given) is None or SECRET.search(given):
            return given if given in known_words() or not given else self._stand_in("id", given)
        return _HASH.sub(lambda found: self.effects.get(found[0], found[0]), given)

    def identity(self, given: str) -> str:
        """`<name>-<role>-<rig id>@<town id>`: who an agent is in its town."""
        found = _IDENTITY.fullmatch(given)
        if found is None or SECRET.search(given):
            return self._stand_in("identity", given)
        ours = found[1] in known_words() or _NUMBERED_NAME.fullmatch(found[1]) or self._is_id(found[1])
        name = found[1] if ours else self._stand_in("name", found[1])
        return f"{name}-{found[2]}-{self.identifier(found[3])}@{found[4]}"

    def url(self, given: str) -> str:
        """The address of a repository or a pull request: its shape, its forge and its number stay."""
        if (found := _URL.fullmatch(given)) is not None:
            host = self._host(found[2])
            return f"{found[1]}://{host}" + "/".join(self._part(part) for part in found[3].split("/"))
        if (short := _SCP.fullmatch(given)) is not None:
            return f"git@{self._host(short[1])}:" + "/".join(self._part(part) for part in short[2].split("/"))
        return self.free(given)

    def _is_id(self, given: str) -> bool:
        return given in self._ids and _ID.fullmatch(given) is not None and SECRET.search(given) is None

    def _host(self, given: str) -> str:
        return given if given in _FORGES else f"{self._stand_in('host', given)}.invalid"

    def _part(self, given: str) -> str:
        name = given.removesuffix(".git")
        if given in _PARTS_OF_A_FORGE or (given.isdigit() and len(given) <= 9):
            return given
        return self._stand_in("part", name.lower()) + given[len(name) :]

    def _number(self, given: float) -> int:
        digits = len(str(abs(int(given)))) if abs(given) < 10**18 else 18
        made = self._stand_in("number", str(given))
        return int(10 ** (digits - 1)) + int(made.rpartition("-")[2])

    def _stand_in(self, kind: str, given: str) -> str:
        known = self._made.get((kind, given))
        if known is None:
            known = self._made[(kind, given)] = f"{kind}-{len(self._made) + 1}"
        return known


def _filling(given: str, used: int) -> str:
    """What makes a text of so many plain characters as long as the given one, in characters and in bytes."""
    widths = sorted(len(character.encode(errors="replace")) for character in given)
    return "".join(_FILLERS[width] for width in widths[used:])
