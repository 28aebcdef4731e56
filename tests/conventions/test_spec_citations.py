"""What the code and the pages cite exists: sections and items of the specification, scenarios, rule codes, files.

A citation is written as `spec/tick.md section 9`, `spec/data-model.md 3.11 to 3.14`, `spec/events.md 1.6` (item 6 of section 1),
`spec/events.md section 1, rules 4 and 5`, `spec/tick.md, 0 to 16` (phases), `scenarios 86 to 98`, `design section 8`. The
folder may be left out. A citation without a number only has to name a page.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from shared.rules import RULES
from tests.conventions.sources import ROOT, files_under, name_of

SPEC: Final = ROOT / "docs" / "spec"
GLOSSARY: Final = ROOT / "docs" / "glossary.md"
CITING: Final = ("docs", "functions", "infra", "shared", "tests")
SUFFIXES: Final = (".md", ".py", ".sql", ".toml", ".yaml", ".yml")
NOT_IN_RULES: Final = {"A0"}  # the scope that A1 to A3 share: it has a code and a name, but is not judged by itself

_NUMBER: Final = r"\d+(?:\.\d+)*(?: ?[a-e]\b(?! \w))?"
_LIST: Final = rf"{_NUMBER}(?:(?: to |, and |, | and ){_NUMBER})*"
_PAGE: Final = re.compile(r"\bspec/(?P<page>[A-Za-z-]+\.md)")
_NUMBERED: Final = re.compile(
    r"(?<![\w./-])(?:(?:docs/)?spec/(?P<cited>[A-Za-z-]+)\.md|(?P<short>actions|data-model|events|rules|tick)\.md|(?P<bare>data-model))"
    rf"(?:[`\])]* sections? (?P<sections>{_LIST})|, (?P<phases>{_LIST})|(?:,? head)?(?: (?P<numbers>{_LIST}))?)"
    rf"(?:, (?:rule|step|item)s? (?P<items>{_LIST}))?"
)
_SCENARIOS: Final = re.compile(rf"\bscenarios? (?P<numbers>{_LIST})", re.IGNORECASE)
_DESIGN: Final = re.compile(rf"\bdesign(?:\.md\)?)? sections? (?P<sections>{_LIST})", re.IGNORECASE)

_HEADING: Final = re.compile(r"#{2,4} (?:(?P<number>\d+(?:\.\d+)*)\.? |(?P<title>\S+))")
_ITEM: Final = re.compile(r" {0,3}(?:- )?(?P<item>\d+|[a-e])\. |\| (?P<row>\d+) \|")
_LINK: Final = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")


class Broken(NamedTuple):
    """A citation that leads nowhere."""

    line: int
    citation: str
    missing: str


# ---- what can be cited


def places_in(text: str) -> frozenset[str]:
    """What a page has: `9` and `3.11` for headings, `1.6` and `4.2a` for the items and table rows of a section."""
    found: set[str] = set()
    section = ""
    for line in text.splitlines():
        if heading := _HEADING.match(line):
            section = heading["number"] or heading["title"]
            found.add(section)
        elif item := _ITEM.match(line):
            name = item["item"] or item["row"]
            found.add(f"{section}{name}" if name.isalpha() else f"{section}.{name}")
    return frozenset(found)


@cache
def _places(page: str) -> frozenset[str]:
    file = ROOT / "docs" / page if page == "design.md" else SPEC / page
    return places_in(file.read_text(encoding="utf-8")) if file.is_file() else frozenset()


@cache
def _scenarios() -> frozenset[str]:
    return frozenset(place.rpartition(".")[2] for place in _places("scenarios.md") if "." in place)


def numbers_of(listed: str | None) -> list[str]:
    """`3.11 to 3.13, 4 and 6b` in full: 3.11, 3.12, 3.13, 4, 6b."""
    found: list[str] = []
    words = re.findall(rf"{_NUMBER}|to", listed or "")
    for place, word in enumerate(words):
        if word != "to":
            found.append(word.replace(" ", ""))
            continue
        before, dot, first = found[-1].rpartition(".")
        last = words[place + 1].rpartition(".")[2]
        found += [f"{before}{dot}{number}" for number in range(int(first) + 1, int(last))]
    return found


# ---- what is cited


def broken_in(text: str) -> Iterator[Broken]:
    """The citations of a text that lead nowhere, with the line where each begins. A citation may go on in the next line."""
    words = [word for word in re.finditer(r"\S+", text) if word[0] not in {"#", "--"}]
    flat = " ".join(word[0] for word in words)
    starts = [0, *accumulate(len(word[0]) + 1 for word in words)]
    for found, missing in _leading_nowhere(flat):
        word = words[bisect_right(starts, found.start()) - 1]
        yield Broken(text.count("\n", 0, word.start()) + 1, found[0], missing)


def _leading_nowhere(flat: str) -> Iterator[tuple[re.Match[str], str]]:
    for found in _PAGE.finditer(flat):
        if not _places(found["page"]):
            yield found, found["page"]
    for found in _NUMBERED.finditer(flat):
        page = f"{found['cited'] or found['short'] or found['bare']}.md"
        yield from ((found, f"{page} {place}") for place in _cited_by(found) if place not in _places(page))
    for found in _SCENARIOS.finditer(flat):
        yield from ((found, f"scenario {number}") for number in numbers_of(found[1]) if number not in _scenarios())
    for found in _DESIGN.finditer(flat):
        places = _places("design.md")
        yield from ((found, f"design.md {number}") for number in numbers_of(found[1]) if number not in places)


def _cited_by(found: re.Match[str]) -> Iterator[str]:
    sections = numbers_of(found["sections"] or found["numbers"])
    yield from sections
    yield from (f"1.{phase}" for phase in numbers_of(found["phases"]))
    yield from (f"{sections[-1]}.{item}" for item in numbers_of(found["items"]))


def _citing_files() -> list[Path]:
    below = [path for suffix in SUFFIXES for path in files_under(*CITING, suffix=suffix)]
    beside = [path for path in ROOT.iterdir() if path.suffix in SUFFIXES or path.name == "Makefile"]
    return [path for path in sorted({*below, *beside}) if path != Path(__file__).resolve()]


def test_every_citation_of_the_specification_leads_somewhere() -> None:
    broken = [
        f"{name_of(path)}:{each.line}: {each.citation!r}: there is no {each.missing}"
        for path in _citing_files()
        for each in broken_in(path.read_text(encoding="utf-8"))
    ]
    assert broken == []


@pytest.mark.parametrize(
    "citation",
    [
        "spec/tick.md",
        "spec/tick.md, head",
        "spec/tick.md section 9",
        "(spec/tick.md, 0 to 16)",
        "spec/tick.md 5.4",
        "spec/tick.md 10, 11",
        "spec/data-model.md 3.11 to 3.14",
        "spec/events.md section 1, rules 4 and 5",
        "spec/events.md 1, scenarios 145 to 147",
        "spec/actions.md sections 3, 4 and 8",
        "spec/events.md 4.2a",
        "data-model 3.13 c)",
        "actions.md section 9",
        "[spec/rules.md](spec/rules.md) section 8",
        "docs/spec/README.md section 3",
        "design section 8",
    ],
)
def test_a_citation_that_leads_somewhere_is_let_pass(citation: str) -> None:
    assert list(broken_in(citation)) == []


@pytest.mark.parametrize(
    ("citation", "missing"),
    [
        ("spec/tack.md", "tack.md"),
        ("spec/tick.md section 99", "tick.md 99"),
        ("(spec/tick.md, 0 to 17)", "tick.md 1.17"),
        ("spec/tick.md 5.9", "tick.md 5.9"),
        ("spec/tick.md 10, 91", "tick.md 91"),
        ("spec/data-model.md 3.11 to 3.21", "data-model.md 3.21"),
        ("spec/events.md section 1, rules 4 and 50", "events.md 1.50"),
        ("spec/events.md 1, scenarios 1 and 9999", "scenario 9999"),
        ("spec/actions.md sections 3, 4 and 80", "actions.md 80"),
        ("spec/events.md 4.2e", "events.md 4.2e"),
        ("data-model 3.99 c)", "data-model.md 3.99c"),
        ("actions.md section 19", "actions.md 19"),
        ("[spec/rules.md](spec/rules.md) section 88", "rules.md 88"),
        ("docs/spec/README.md section 30", "README.md 30"),
        ("design section 80", "design.md 80"),
    ],
)
def test_a_citation_that_leads_nowhere_is_found(citation: str, missing: str) -> None:
    assert [each.missing for each in broken_in(citation)] == [missing]


def test_a_citation_is_found_where_a_line_ends_inside_it() -> None:
    text = "first\n    # as spec/tick.md\n    # section 99 says\n"
    assert list(broken_in(text)) == [Broken(2, "spec/tick.md section 99", "tick.md 99")]


# ---- rule codes


def codes_in_glossary() -> dict[str, str]:
    """Code and name of every row of the glossary's tables of rules."""
    rows = re.findall(r"^\| (\S+) \| ([a-z]+\.\w+) \| .+ \|$", GLOSSARY.read_text(encoding="utf-8"), re.MULTILINE)
    return dict(rows)


def test_the_glossary_has_every_rule_under_its_code_and_name() -> None:
    known = codes_in_glossary()
    assert {code: name for code, name in known.items() if code not in NOT_IN_RULES} == {
        rule.code: rule.name for rule in RULES
    }
    assert set(known) >= NOT_IN_RULES


def test_the_specification_has_every_rule_under_its_code_and_name() -> None:
    text = re.sub(r"\s+", " ", (SPEC / "rules.md").read_text(encoding="utf-8"))
    wanted = {**codes_in_glossary(), **{rule.code: rule.name for rule in RULES}}
    assert [code for code, name in wanted.items() if not _stands_in(text, code, name)] == []


def test_a_rule_that_the_specification_lacks_is_found() -> None:
    assert not _stands_in("| A1 | agents.other | working |", "A1", "agents.heartbeat_never_seen")
    assert not _stands_in("| A11 | agents.heartbeat_never_seen |", "A1", "agents.heartbeat_never_seen")


def _stands_in(text: str, code: str, name: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(code)}\W{{1,4}}{re.escape(name)}\b", text) is not None


# ---- links


def dead_links(text: str, folder: Path) -> list[str]:
    """Targets of relative links that are no file or folder; what stands in a fenced block is no link."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    targets = [found["target"] for found in _LINK.finditer(prose)]
    relative = [target for target in targets if not re.match(r"[a-z]+:|#", target)]
    return [target for target in relative if not (folder / target.partition("#")[0]).exists()]


def test_every_relative_link_leads_to_a_file() -> None:
    pages = [ROOT / "README.md", *files_under("docs", suffix=".md")]
    dead = {name_of(page): dead_links(page.read_text(encoding="utf-8"), page.parent) for page in pages}
    assert {page: targets for page, targets in dead.items() if targets} == {}


def test_a_link_to_a_file_that_is_gone_is_found() -> None:
    text = "[a](gone.md) [b](glossary.md#x) [c](https://example.com/x)\n```\n[d](also-gone.md)\n```\n"
    assert dead_links(text, ROOT / "docs") == ["gone.md"]
