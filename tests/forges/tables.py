"""The tables of docs/forges.md, made from the scenarios and from what polls cost. Run as a module, it writes them."""

from pathlib import Path
from typing import Final

from tests.forges.calls import COUNTED, WAITING, cost
from tests.forges.scenarios import AREAS, SCENARIOS

PAGE: Final = Path(__file__).parents[2] / "docs" / "forges.md"
_MARK: Final = "<!-- {name}: made by `python -m tests.forges.tables` -->"


def offers() -> str:
    """What each forge offers for each scenario."""
    lines: list[str] = []
    for area in AREAS:
        lines += [f"### {area}", "", "| what happens | GitHub | GitLab | plain git |", "|---|---|---|---|"]
        lines += [
            f"| {each.text} | {each.github} | {each.gitlab} | {each.git} |" for each in SCENARIOS if each.area == area
        ]
        lines.append("")
    return "\n".join(lines).rstrip()


def calls() -> str:
    """The requests about one waiting pull request."""
    named = [f"{name}: {span}" for name in COUNTED for span in ("first hour", "later hour", "day")]
    lines = [f"| it waits | because | {' | '.join(named)} |", "|---|---|" + "---:|" * len(named)]
    for waiting in WAITING:
        costs = [cost(waiting, name) for name in COUNTED]
        numbers = " | ".join(f"{each.first_hour} | {each.later_hour} | {each.day}" for each in costs)
        lines.append(f"| {waiting.reason} | {waiting.text} | {numbers} |")
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """The page with its two tables made anew."""
    for name, table in (("offers", offers()), ("calls", calls())):
        begin, end = _MARK.format(name=name), _MARK.format(name=f"end of {name}")
        before, rest = page.split(begin)
        page = f"{before}{begin}\n\n{table}\n\n{end}{rest.split(end)[1]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
