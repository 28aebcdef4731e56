"""Town tokens: what is signed is believed, for eight hours, under two keys; nothing else is."""

import base64
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest

from shared.adapters import town_tokens
from shared.adapters.town_tokens import LIFE, Claims, issue, read
from shared.domain.errors import Refused, Terminal
from tests.towns import T

NEW = "n" * 64
OLD = "o" * 40
OTHER = "x" * 40
AGENT = Claims("one", "agent", "toast", 3)


def body(**changed: Any) -> dict[str, Any]:
    now = int(T.timestamp())
    given = {
        "iss": town_tokens.ISSUER,
        "aud": town_tokens.AUDIENCE,
        "iat": now,
        "exp": now + 3600,
        "town": "one",
        "scope": "container",
    }
    return {name: value for name, value in (given | changed).items() if value is not None}


def signed(content: dict[str, Any], algorithm: str = "HS256") -> str:
    return jwt.encode(content, NEW, algorithm=algorithm, headers={"kid": town_tokens.key_id(NEW)})


def test_what_was_issued_is_read_back_with_the_ids_of_the_key_and_of_the_token() -> None:
    token = issue(AGENT, [NEW], now=T)
    found = read(token, [NEW], now=T)
    assert found == Claims("one", "agent", "toast", 3, T + LIFE, town_tokens.key_id(NEW), found.token)
    assert found.token == jwt.decode(token, options={"verify_signature": False})["jti"]


def test_no_two_tokens_have_the_same_id() -> None:
    assert len({read(issue(AGENT, [NEW], now=T), [NEW], now=T).token for _ in range(20)}) == 20


def test_a_token_of_the_previous_key_is_valid_until_the_next_rotation() -> None:
    token = issue(AGENT, [OLD], now=T)
    assert read(token, [NEW, OLD], now=T).town == "one"
    with pytest.raises(Refused):
        read(token, [OTHER, NEW], now=T)


def test_the_first_key_signs() -> None:
    token = issue(AGENT, [NEW, OLD], now=T)
    assert jwt.get_unverified_header(token)["kid"] == town_tokens.key_id(NEW)
    assert NEW not in token


def test_it_is_valid_up_to_its_end_and_not_at_it() -> None:
    token = issue(AGENT, [NEW], now=T)
    assert read(token, [NEW], now=T + LIFE - timedelta(seconds=1)).agent == "toast"
    with pytest.raises(Refused, match="expired"):
        read(token, [NEW], now=T + LIFE)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": "somebody"},
        {"aud": "something"},
        {"exp": None},
        {"iat": None},
        {"town": None},
        {"town": 1},
        {"scope": None},
        {"scope": "everything"},
        {"scope": "agent"},
        {"agent": "toast"},
        {"generation": "3"},
        {"generation": True},
        {"exp": 10**18},
        {"exp": "soon"},
        {"exp": int(T.timestamp()) + 9 * 3600},
        {"iat": int(T.timestamp()) + 3600, "exp": int(T.timestamp()) + 7200},
    ],
    ids=str,
)
def test_claims_that_are_wrong_are_refused_however_well_signed(changed: dict[str, Any]) -> None:
    with pytest.raises(Refused) as refusal:
        read(signed(body(**changed)), [NEW], now=T)
    assert refusal.value.status == 401


def test_the_well_formed_ones_differ_from_those_only_there() -> None:
    assert read(signed(body()), [NEW], now=T).scope == "container"


def unsigned() -> str:
    parts = [json.dumps(part).encode() for part in ({"alg": "none", "typ": "JWT"}, body())]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts) + "."


@pytest.mark.parametrize(
    "token",
    ["", "x", "a.b.c", "é", unsigned(), "x" * 5000, signed(body(), "HS512")],
    ids=["empty", "word", "dots", "not ASCII", "unsigned", "long", "another algorithm"],
)
def test_what_is_no_token_of_ours_is_refused(token: str) -> None:
    with pytest.raises(Refused) as refusal:
        read(token, [NEW], now=T)
    assert refusal.value.status == 401
    assert token == "" or token not in refusal.value.message


def test_a_changed_claim_breaks_the_signature() -> None:
    head, _, signature = issue(AGENT, [NEW], now=T).split(".")
    forged = base64.urlsafe_b64encode(json.dumps(body(town="two")).encode()).rstrip(b"=").decode()
    with pytest.raises(Refused):
        read(f"{head}.{forged}.{signature}", [NEW], now=T)


@pytest.mark.parametrize("keys", [[], ["short"], [""]])
def test_no_key_or_a_guessable_one_is_worse_than_no_answer(keys: list[str]) -> None:
    with pytest.raises(Terminal):
        issue(AGENT, keys, now=T)
    with pytest.raises(Terminal):
        read("a.b.c", keys, now=T)


@pytest.mark.parametrize(
    "claims",
    [
        Claims("one", "agent"),
        Claims("one", "coordinator"),
        Claims("one", "container", "toast"),
        Claims("one", "operator", "x"),
        Claims("one", "operator", None, 3),
        Claims("one", "agent", "toast", 0),
        Claims("one", "agent", "toast", -1),
        Claims("one", "agent", ""),
        Claims("one", "agent", "to\nast"),
        Claims("one", "agent", "t" * 65),
        Claims("One", "operator"),
        Claims("../two", "operator"),
    ],
)
def test_no_token_is_issued_that_would_not_be_read(claims: Claims) -> None:
    with pytest.raises(Refused):
        issue(claims, [NEW], now=T)


@pytest.mark.parametrize("life", [timedelta(0), -LIFE, LIFE + timedelta(seconds=1)])
def test_no_token_lives_longer_than_eight_hours(life: timedelta) -> None:
    with pytest.raises(Refused):
        issue(AGENT, [NEW], now=T, life=life)


def test_a_token_that_is_known_is_judged_again_by_time_and_keys() -> None:
    tokens, token = town_tokens.SignedTokens(), issue(AGENT, [NEW], now=T)
    assert tokens.read(token, (NEW,), now=T) == read(token, [NEW], now=T)
    with pytest.raises(Refused, match="expired"):
        tokens.read(token, (NEW,), now=T + LIFE)
    with pytest.raises(Refused, match="unknown key"):
        tokens.read(token, (OTHER,), now=T)
    assert tokens.read(token, (OTHER, NEW), now=T).agent == "toast"
