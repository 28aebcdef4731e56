"""The wall of town tokens: a token has one spelling, and every claim that it has is checked, however well it is signed.

Whoever can sign is the town. These attacks are those of somebody who found a token, or who got the town to sign more than it
should, and of a signer that is not ours but has our key: nothing that is only *sometimes* checked may let them in.
"""

import base64
import hmac
import json
import string
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.adapters import town_tokens
from shared.adapters.town_tokens import Claims, claimed_ids, issue, key_id, read
from shared.domain.errors import Refused
from tests.towns import T

KEY, PREVIOUS = "k" * 48, "p" * 48
_OF_A_HINT = 20
"""A shorter text may stand in a hint by chance."""
NOW = int(T.timestamp())
GOOD: dict[str, Any] = {
    "iss": town_tokens.ISSUER,
    "aud": town_tokens.AUDIENCE,
    "iat": NOW,
    "exp": NOW + 3600,
    "town": "one",
    "scope": "agent",
    "agent": "toast",
    "generation": 3,
}
HEADER: dict[str, Any] = {"alg": "HS256", "typ": "JWT", "kid": key_id(KEY)}


def part(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def signed(body: Mapping[str, Any] | str = GOOD, header: Mapping[str, Any] | str = HEADER, key: str = KEY) -> str:
    """A token with exactly this header and body, signed rightly, whatever a library would refuse to sign."""
    texts = (text if isinstance(text, str) else json.dumps(text) for text in (header, body))
    content = ".".join(part(text.encode()) for text in texts)
    return f"{content}.{part(hmac.digest(key.encode(), content.encode(), 'sha256'))}"


def is_refused(token: str, keys: tuple[str, ...] = (KEY, PREVIOUS)) -> bool:
    try:
        read(token, keys, now=T)
    except Refused as refusal:
        is_quoted = len(token) > _OF_A_HINT and token in f"{refusal.message} {refusal.hint}"
        return refusal.status == 401 and not is_quoted
    return False


def test_the_token_that_all_attacks_start_from_is_valid() -> None:
    assert read(signed(), [KEY], now=T).agent == "toast"
    assert read(signed(GOOD | {"jti": "a-token-id", "nbf": NOW}), [KEY], now=T).token == "a-token-id"


@pytest.mark.parametrize(
    "changed",
    [
        {"nbf": NOW + 61},
        {"nbf": NOW + 10**9},
        {"nbf": str(NOW)},
        {"nbf": float(NOW)},
        {"nbf": True},
        {"nbf": None},
        {"nbf": 10**30},
        {"iat": True},
        {"iat": float(NOW)},
        {"iat": -(10**30)},
        {"iat": NOW + 61},
        {"iat": NOW - 8 * 3600, "exp": NOW + 1},
        {"exp": True},
        {"exp": NOW},
        {"exp": NOW + 30, "iat": NOW + 30},
        {"exp": NOW + 30, "iat": NOW + 60},
        {"exp": [NOW + 60]},
        {"aud": [town_tokens.AUDIENCE]},
        {"aud": [town_tokens.AUDIENCE, "another"]},
        {"aud": None},
        {"iss": [town_tokens.ISSUER]},
        {"iss": None},
        {"jti": ""},
        {"jti": None},
        {"jti": 7},
        {"jti": "short"},
        {"jti": "x" * 65},
        {"jti": "line\nbreak"},
        {"jti": '"}{"event":"x'},
        {"generation": 0},
        {"generation": -1},
        {"generation": True},
        {"generation": 3.0},
        {"generation": "3"},
        {"generation": None},
        {"generation": 2**53 + 1},
        {"generation": 10**40},
        {"agent": ""},
        {"agent": None},
        {"agent": "t" * 65},
        {"agent": "to\nast"},
        {"agent": "\ud800"},
        {"agent": ["toast"]},
        {"agent": 1},
        {"town": ""},
        {"town": "One"},
        {"town": "-one"},
        {"town": "../two"},
        {"town": "one/two"},
        {"town": "o" * 65},
        {"town": ["one"]},
        {"scope": "operator"},
        {"scope": "container"},
        {"scope": ["agent"]},
        {"scope": "Agent"},
        {"scope": None},
    ],
    ids=str,
)
def test_a_claim_counts_wherever_it_stands_and_never_by_halves(changed: dict[str, Any]) -> None:
    assert is_refused(signed(GOOD | changed))


@pytest.mark.parametrize("scope", ["operator", "container"])
def test_a_generation_without_an_agent_is_refused(scope: str) -> None:
    without = {name: value for name, value in GOOD.items() if name != "agent"}
    assert is_refused(signed(without | {"scope": scope}))


@pytest.mark.parametrize("body", ["[]", "1", "null", '"x"', "", "{", "{}"])
def test_a_body_that_is_no_claims_is_refused(body: str) -> None:
    assert is_refused(signed(body))


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "HS256", "typ": "JWT"},
        {**HEADER, "kid": key_id(PREVIOUS)},
        {**HEADER, "kid": key_id("x" * 48)},
        {**HEADER, "kid": None},
        {**HEADER, "kid": ""},
        {**HEADER, "kid": [key_id(KEY)]},
        {**HEADER, "kid": "../../dev/null"},
        {**HEADER, "typ": "jwt"},
        {**HEADER, "typ": "at+jwt"},
        {**HEADER, "typ": None},
        {"alg": "HS256", "kid": key_id(KEY)},
        {**HEADER, "crit": ["b64"], "b64": True},
        {**HEADER, "crit": []},
        {**HEADER, "crit": ["exp"]},
        {**HEADER, "b64": False, "crit": ["b64"]},
        {**HEADER, "jku": "https://keys.example/keys"},
        {**HEADER, "jwk": {"kty": "oct", "k": part(KEY.encode())}},
        {**HEADER, "x5u": "https://keys.example/keys"},
        {**HEADER, "cty": "JWT"},
        {**HEADER, "zip": "DEF"},
        {**HEADER, "alg": "none"},
        {**HEADER, "alg": "None"},
        {**HEADER, "alg": "hs256"},
        {**HEADER, "alg": "HS384"},
        {**HEADER, "alg": "RS256"},
        {**HEADER, "alg": ["HS256"]},
        "[]",
        "null",
        "",
    ],
    ids=str,
)
def test_a_header_is_exactly_ours(header: Mapping[str, Any] | str) -> None:
    assert is_refused(signed(header=header))


def test_the_key_that_a_token_names_is_the_one_that_verifies_it() -> None:
    """Otherwise the audit line would name the key that the sender chose."""
    token = signed(header={**HEADER, "kid": key_id(PREVIOUS)}, key=PREVIOUS)
    assert read(token, [KEY, PREVIOUS], now=T).key == key_id(PREVIOUS)
    assert is_refused(signed(header={**HEADER, "kid": key_id(KEY)}, key=PREVIOUS))


def test_a_token_without_a_signature_or_with_a_shorter_one_is_refused() -> None:
    content, _, signature = signed().rpartition(".")
    assert is_refused(f"{content}.")
    assert is_refused(content)
    assert is_refused(f"{content}.{signature[:-1]}")
    assert is_refused(f"{content}.{signature}.{signature}")


def spellings(token: str) -> set[str]:
    """Texts that a careless decoder reads as the same token: padding, other alphabets, skipped characters, spare bits."""
    content, _, signature = token.rpartition(".")
    alphabet = string.ascii_letters + string.digits + "-_"
    others = {f"{content}.{signature[:-1]}{last}" for last in alphabet}
    others |= {f"{content}.{signature}{more}" for more in ("=", "==", "!", "\n", " ", "A")}
    others |= {f"{content}.{signature[:20]}{more}{signature[20:]}" for more in ("!", ".", "\n", "=", " ", "\x00", "~")}
    others |= {f"{content}.{signature.replace('-', '+').replace('_', '/')}", f" {token}", f"{token} ", f"{token}\n"}
    return others - {token}


def test_a_token_has_one_spelling() -> None:
    """Seen: four spellings of each signature were valid, and any number with characters that base64 skips."""
    for generation in range(1, 30):
        token = signed(GOOD | {"generation": generation})
        assert not is_refused(token)
        assert [text for text in spellings(token) if not is_refused(text)] == []


def test_a_token_of_the_release_before_has_an_id_all_the_same() -> None:
    found = read(signed(), [KEY], now=T)
    assert found.token == town_tokens.digest_of(signed())
    assert found.token is not None
    assert found.token not in signed()


def test_a_token_is_not_valid_before_its_time_except_for_the_skew_of_clocks() -> None:
    token = signed(GOOD | {"nbf": NOW + 60})
    assert read(token, [KEY], now=T).agent == "toast"
    assert is_refused(signed(GOOD | {"nbf": NOW + 61}))
    assert read(signed(GOOD | {"nbf": NOW + 61}), [KEY], now=T + timedelta(seconds=1)).agent == "toast"


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "é.é.é", "." * 5000, "x" * 5000, "\ud800", "a..b", f"{signed()}="])
def test_a_text_that_is_no_token_has_no_ids(text: str) -> None:
    assert claimed_ids(text) == (None, None)


def test_what_a_refused_token_says_of_itself_is_ids_and_nothing_else() -> None:
    assert claimed_ids(signed(GOOD | {"jti": "a-token-id"}, key="z" * 48)) == (key_id(KEY), "a-token-id")
    for odd in ('"}\n{"event": "x"}', "x" * 200, 7, None, ["a-token-id"]):
        token = signed(GOOD | {"jti": odd}, {**HEADER, "kid": odd})
        assert claimed_ids(token) == (None, town_tokens.digest_of(token))
    assert claimed_ids(signed("[]", "[]"))[0] is None


ISSUED = issue(Claims("one", "agent", "toast", 3), [KEY], now=T)


@settings(max_examples=300, deadline=None)
@given(at=st.integers(0, len(ISSUED) - 1), cut=st.integers(0, 3), added=st.text(max_size=3))
def test_no_token_that_was_changed_anywhere_is_accepted(at: int, cut: int, added: str) -> None:
    changed = ISSUED[:at] + added + ISSUED[at + cut :]
    assert changed == ISSUED or is_refused(changed)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(name=st.sampled_from([*GOOD, "nbf", "jti", "sub", "crit"]), value=_JSON)
def test_whatever_stands_in_a_claim_it_is_refused_or_it_is_what_the_claims_say(name: str, value: Any) -> None:
    """A signed body with one claim replaced by anything: never a crash, and never other claims than those of the body."""
    token = signed(GOOD | {name: value})
    if len(token) > 4096 or is_refused(token):
        return
    found, said = read(token, [KEY], now=T), GOOD | {name: value}
    assert (found.town, found.scope, found.agent) == (said["town"], said["scope"], said["agent"])
    assert (found.generation, type(found.generation)) == (said["generation"], int)
    assert NOW < said["exp"] <= said["iat"] + 8 * 3600
    assert said.get("nbf", NOW) <= NOW + 60


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60).map(part))
def test_no_text_makes_the_reader_fail_otherwise(text: str) -> None:
    for token in (text, f"{text}.{text}.{text}", f"{ISSUED}{text}", signed(text), signed(header=text)):
        assert token == ISSUED or is_refused(token)
