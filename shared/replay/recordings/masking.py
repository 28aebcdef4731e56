"""Placeholders for texts that people wrote: equal texts get equal placeholders, which reveal nothing but the length of a long text.

Only what a tick is known to need is kept: the system's own words, times, small numbers, ids. All other text is replaced,
whether or not it looks like a secret. An id is replaced if it contains a secret or an e-mail address, or is not a plain id. Of
an address, the form, a known forge and numbers are kept.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from shared.domain import branches, canonical, strict_json
from shared.domain.notes import ReviewNotes
from shared.domain.secret_texts import TOKENS
from shared.domain.senders import sent_id
from shared.events.convoys import slug_of
from shared.replay.recordings.vocabulary import known_keys, known_words
from shared.town.town_keys import TownKeys

SECRET: Final = re.compile(
    rf"""
      [\w.+-]+@(?!github\.com[:/]|gitlab\.com[:/])[\w-]+(?:\.[\w-]+)+     # an e-mail address
    | \b(?:gh[a-z]|github_pat|glpat|npm|hf|pypi)[_-][A-Za-z0-9_.-]{{8,}}
    | \bxox[a-z]-[A-Za-z0-9-]{{6,}}
    | \b(?:sk|pk|rk)[-_][A-Za-z0-9_-]{{8,}}
    | \b(?:AKIA|ASIA|AIza)[A-Za-z0-9_-]{{12,}}
    | \beyJ[A-Za-z0-9_-]{{6,}}
    | -----BEGIN
    | {TOKENS}
    | ://(?!git@)[^\s/@]+@                                               # a token as the user of an address
    | ://[^/\s@]*:[^/\s@]*@
    | \b[Bb]earer\s+\S+
    | (?i:password|passwd|secret|token|api_?key|credential)s?["']?\s*[=:]\s*["']?[^\s"',}}\]]+
    | (?<![\w.-])\+\d[\d\s()-]{{7,}}\d                                      # a telephone number
    """,
    re.VERBOSE,
)
"""What looks like a secret. It masks ids and is the final check of a recording; other texts are masked without it."""

_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")
_ID: Final = re.compile(r"[A-Za-z0-9_.:/#+~-]{1,200}")
_IDENTITY: Final = re.compile(r"([A-Za-z0-9-]+)-(polecat|refinery|mayor)-(.+)@([a-z0-9-]+)")
_NUMBERED_NAME: Final = re.compile(r"Polecat-\d+")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_URL: Final = re.compile(r"(https|http|ssh|git)://(?:[^/@]*@)?([^/?#]*)([^?#]*)(.*)", re.DOTALL)
_SCP: Final = re.compile(r"[A-Za-z0-9._-]+@([A-Za-z0-9.-]+):(.+)", re.DOTALL)
_PARTS_OF_A_FORGE: Final = frozenset(("", "pull", "-", "merge_requests"))
_OF_BEAD: Final = re.compile(r"((?:refs/heads/|origin/)?gt)/([a-z0-9-]+)/(.+)")
_OF_CONVOY: Final = re.compile(r"((?:refs/heads/|origin/)?convoy)/([a-z0-9-]+)/([0-9a-f]{8}/head)")
_FORGES: Final = frozenset(("github.com", "gitlab.com"))
_NUMBER_KEPT: Final = 1_000_000
_LENGTH_KEPT: Final = 200
_IDS: Final = frozenset(("id", "claim", "nonce", "generation", "resolved_by"))
_COMMITS: Final = frozenset(
    """
    base commit head head_parents head_sha merge_commit own_update_of refused_head review_passed_head sha submitted_base
    submitted_head
    """.split()  # noqa: SIM905 - a table
)
_BY_ID: Final = frozenset((TownKeys.queued_reviews.name, ReviewNotes.reviewers_asked.name))
"""Objects with ids as keys: of beads and of reviews. Their values are times and heads."""
_BY_TEXT: Final = frozenset((TownKeys.forge_episodes.name,))
"""Objects with keys that are also values elsewhere."""
_REPOSITORIES: Final = frozenset(("rig_repository", "repository", "upstream"))
_URLS: Final = frozenset(("pr_url", "git_url", "url"))
_FILLERS: Final = ("", ".", "·", "…", "𝄞")
"""One character for each width in UTF-8, so that a long text keeps its length in characters and bytes: limits count both."""


# This is a list of what is kept, not of what is removed, because a secret can look like anything. A text is kept only if it is
# a word of the code itself, a time, the id of a row, or has neither letters nor digits. Example: the metadata
# {"branch": "fix-login", "attempt": 3, "state": "open"} becomes {"branch": "masked-1", "attempt": 3, "state": "open"}.
# The same text always gets the same placeholder, so that comparisons in rules still give the same result.


class Masks:
    """The placeholders of one recording. `effects` maps old effect ids to new ones, where the subject is masked."""

    def __init__(self, ids: frozenset[str] = frozenset()) -> None:
        """`ids` are the ids of rows of the town; they are kept wherever they occur."""
        self._ids = ids
        self._made: dict[tuple[str, str], str] = {}
        self._of_beads = frozenset(branches.part_of_bead(each) for each in ids)
        self._slugs: dict[str, str] = {}
        self.effects: dict[str, str] = {}

    @property
    def count(self) -> int:
        """How many different texts were replaced."""
        return len(self._made)

    def document(self, text: str, key: str) -> str:
        """A JSON text with its values masked. A text that is not canonical JSON is masked as a whole."""
        try:
            given = strict_json.stored(text)
            if canonical.dumps(given) == text:
                return canonical.dumps(self.value(given, key))
        except ValueError:
            pass
        return self.free(text)

    def value(self, given: Any, key: str) -> Any:
        """A JSON value that is stored under this key."""
        if isinstance(given, str):
            return self.text(given, key)
        if isinstance(given, list):
            return [self.value(each, key) for each in given]
        if isinstance(given, Mapping):
            if key in _BY_ID:
                return {self.identifier(name): self.value(inner, "head") for name, inner in given.items()}
            named = self.free if key in _BY_TEXT else self.key
            return {named(name): self.value(inner, name) for name, inner in given.items()}
        if key in known_keys() or isinstance(given, bool) or given is None or abs(given) < _NUMBER_KEPT:
            return given
        return self._number(given)

    def text(self, given: str, key: str) -> str:
        """A text that is stored under this key."""
        if key == "identity":
            return self.identity(given)
        if key in _URLS:
            return self.url(given)
        if key in _IDS or key in _COMMITS or key.endswith(("_id", "_ids")):
            return self.identifier(given)
        if key in _REPOSITORIES and "/" in given and "://" not in given:
            return "/".join(self._part(part) for part in given.split("/"))
        made = self.free(given)
        if key == "title":
            self._slugs.setdefault(slug_of(given), slug_of(made))
        return made

    def key(self, given: str) -> str:
        """The name of a field, which is kept if it is known or an id, and masked otherwise."""
        return given if given in known_keys() or self._is_id(given) else self._placeholder("key", given)

    def free(self, given: str) -> str:
        """Any text. Known words, times, ids of rows, and texts without letters or digits are kept."""
        if not any(character.isalnum() for character in given) or given in known_words() or _TIME.fullmatch(given):
            return given
        if self._is_id(given):
            return given
        made = self._own_branch(given) or self._placeholder("masked", given)
        return made if len(given) <= _LENGTH_KEPT else made + _filling(given, len(made))

    def identifier(self, given: str) -> str:
        """An id, which is kept if it is a plain id that does not look like a secret."""
        if _ID.fullmatch(given) is None or SECRET.search(given):
            return given if given in known_words() or not given else self._placeholder("id", given)
        return _HASH.sub(lambda found: self.effects.get(found[0], found[0]), given)

    def event_id(self, given: str) -> str:
        """The id of a stored event, which names its sender behind the id that the sender chose."""
        chosen = sent_id(given)
        behind, at, agent = given[len(chosen) :].partition("@")
        return f"{self.identifier(chosen)}{behind}{at}{self.identifier(agent)}"

    def sender(self, given: Mapping[str, object]) -> dict[str, object]:
        """The sender of an event, without what names its key, token and request."""
        kept = {name: given[name] for name in ("scope", "generation") if name in given}
        return kept if given.get("agent") is None else kept | {"agent": self.identifier(str(given["agent"]))}

    def identity(self, given: str) -> str:
        """The identity of an agent: `<name>-<role>-<rig id>@<town id>`."""
        found = _IDENTITY.fullmatch(given)
        if found is None or SECRET.search(given):
            return self._placeholder("identity", given)
        ours = found[1] in known_words() or _NUMBERED_NAME.fullmatch(found[1]) or self._is_id(found[1])
        name = found[1] if ours else self._placeholder("name", found[1])
        return f"{name}-{found[2]}-{self.identifier(found[3])}@{found[4]}"

    def url(self, given: str) -> str:
        """The address of a repository or a pull request. Its form, a known forge and numbers are kept."""
        if (found := _URL.fullmatch(given)) is not None:
            host = self._host(found[2])
            return f"{found[1]}://{host}" + "/".join(self._part(part) for part in found[3].split("/"))
        if (short := _SCP.fullmatch(given)) is not None:
            return f"git@{self._host(short[1])}:" + "/".join(self._part(part) for part in short[2].split("/"))
        return self.free(given)

    def _own_branch(self, given: str) -> str | None:
        """A branch that the town names itself, as a tick with masked texts names it; None for any other text.

        Such a name is made of an agent's name and the id of a bead, which stay, or of the title of a convoy, which is masked.
        """
        known = self._made.get(("masked", given))
        if known is not None:
            return known
        if (found := _OF_BEAD.fullmatch(given)) is not None:
            name, bead = found[2], found[3]
            plain = bead if bead in self._of_beads else bead.rpartition("_")[0]
            ours = name.capitalize() in known_words() or _NUMBERED_NAME.fullmatch(name.capitalize())
            return given if ours and plain in self._of_beads and SECRET.search(given) is None else None
        if (found := _OF_CONVOY.fullmatch(given)) is not None and found[2] in self._slugs:
            return f"{found[1]}/{self._slugs[found[2]]}/{found[3]}"
        return None

    def _is_id(self, given: str) -> bool:
        return given in self._ids and _ID.fullmatch(given) is not None and SECRET.search(given) is None

    def _host(self, given: str) -> str:
        return given if given in _FORGES else f"{self._placeholder('host', given)}.invalid"

    def _part(self, given: str) -> str:
        name = given.removesuffix(".git")
        if given in _PARTS_OF_A_FORGE or (given.isdigit() and len(given) <= 9):
            return given
        return self._placeholder("part", name.lower()) + given[len(name) :]

    def _number(self, given: float) -> int:
        digits = len(str(abs(int(given)))) if abs(given) < 10**18 else 18
        made = self._placeholder("number", str(given))
        return int(10 ** (digits - 1)) + int(made.rpartition("-")[2])

    def _placeholder(self, kind: str, given: str) -> str:
        known = self._made.get((kind, given))
        if known is None:
            known = self._made[(kind, given)] = f"{kind}-{len(self._made) + 1}"
        return known


def _filling(given: str, used: int) -> str:
    """The characters that make a placeholder of `used` ASCII characters as long as the given text, in characters and bytes."""
    widths = sorted(len(character.encode(errors="replace")) for character in given)
    return "".join(_FILLERS[width] for width in widths[used:])
