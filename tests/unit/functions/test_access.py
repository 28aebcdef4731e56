"""Who may do what: a rule means exactly what it says."""

import json

import pytest

from functions.access import Access, SignedRequest
from functions.settings import AccessRule
from shared.domain.errors import Refused

OPERATOR = "arn:aws:sts::1:assumed-role/Operator/ann"


def status(rule: AccessRule, caller: str, town: str) -> int:
    try:
        Access((rule,), lambda _: None).require(SignedRequest(caller, "GET /x", "1"), "read", town)
    except Refused as refusal:
        return refusal.status
    return 200


@pytest.mark.parametrize(
    ("towns", "town", "answer"),
    [
        ("demo", "demo", 200),
        ("demo", "demo-2", 404),
        ("demo", "my-demo", 404),
        ("demo*", "demo-2", 200),
        ("*", "demo", 200),
        ("*-demo", "my-demo", 200),
        ("*-demo", "my-demo-2", 404),
        ("d.mo", "demo", 404),
        ("[a-z]*", "demo", 404),
    ],
)
def test_a_pattern_is_the_whole_town_id_and_only_the_star_stands_for_anything(
    towns: str, town: str, answer: int
) -> None:
    assert status(AccessRule(callers=("*",), towns=(towns,), verbs=("read",)), OPERATOR, town) == answer


@pytest.mark.parametrize(
    ("callers", "answer"),
    [
        (OPERATOR, 200),
        (OPERATOR[:-1], 404),
        (OPERATOR[1:], 404),
        ("arn:aws:sts::1:assumed-role/Operator/*", 200),
        ("arn:aws:sts::1:assumed-role/Oper/*", 404),
    ],
)
def test_a_pattern_is_the_whole_arn_of_the_caller(callers: str, answer: int) -> None:
    assert status(AccessRule(callers=(callers,), towns=("*",), verbs=("read",)), OPERATOR, "demo") == answer


def test_a_list_of_towns_leaves_a_line_with_the_caller_too() -> None:
    lines: list[str] = []
    access = Access((AccessRule(callers=("*",), towns=("demo*",), verbs=("read",)),), lines.append)
    assert access.list_towns(SignedRequest(OPERATOR, "GET /api/towns", "1")) == ("demo",)
    [line] = map(json.loads, lines)
    assert (line["event"], line["caller"], line["route"]) == ("access.granted", OPERATOR, "GET /api/towns")


@pytest.mark.parametrize(
    ("towns", "looked_at"),
    [
        (("demo*", "other"), ("demo", "other")),
        (("demo*", "demo-2", "demo"), ("demo",)),
        (("a-*", "a*"), ("a",)),
        (("*-demo", "x"), ("",)),
    ],
)
def test_only_towns_that_begin_as_a_pattern_does_are_looked_at(
    towns: tuple[str, ...], looked_at: tuple[str, ...]
) -> None:
    mine = AccessRule(callers=(OPERATOR,), towns=towns, verbs=("read",))
    others = AccessRule(callers=("arn:other",), towns=("secret*",), verbs=("read",))
    written = AccessRule(callers=("*",), towns=("written*",), verbs=("write",))
    access = Access((mine, others, written), lambda _: None)
    assert access.list_towns(SignedRequest(OPERATOR, "GET /api/towns", "1")) == looked_at


@pytest.mark.parametrize("town", ["", "ONE", "a/b", "x" * 65, "\x00", "-a"])
def test_what_is_no_town_id_is_refused_like_an_unknown_town_and_leaves_a_line(town: str) -> None:
    """A request for it left none, so nobody saw who tried such ids."""
    lines: list[str] = []
    access = Access((AccessRule(callers=("*",), towns=("*",), verbs=("read", "write")),), lines.append)
    asked = SignedRequest(OPERATOR, "GET /x", "1")
    with pytest.raises(Refused) as unknown:
        access.require(asked, "read", town)
    with pytest.raises(Refused) as impossible:
        access.require_new(asked, town)
    assert (unknown.value.status, impossible.value.status) == (404, 422)
    assert [(json.loads(line)["event"], json.loads(line)["town_id"]) for line in lines] == [
        ("access.refused", town)
    ] * 2


def test_a_request_about_no_town_leaves_a_line() -> None:
    lines: list[str] = []
    Access((), lines.append).admit(SignedRequest(OPERATOR, "GET /openapi.json", "1"))
    assert json.loads(lines[0]) == {
        "event": "access.granted",
        "caller": OPERATOR,
        "verb": "read",
        "route": "GET /openapi.json",
        "request_id": "1",
        "town_id": None,
    }
