"""Links with which a person acknowledges an escalation: what opens, and that nothing else does."""

import string
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.adapters import escalation_links, town_tokens
from shared.adapters.escalation_links import LIFE, EscalationLink, LinkMaker, opened, sealed
from shared.adapters.town_tokens import Claims
from shared.domain.errors import Refused, Terminal
from shared.domain.notice_orders import NoticeOrder
from tests.fakes import FakeClock
from tests.towns import MS, T

KEYS = ("k" * 48, "p" * 48)
LINK = EscalationLink("t1", "e1", "mail", T + LIFE)
SEALED = sealed(LINK, KEYS)
SPELLING = string.ascii_letters + string.digits + "-_."


def refusal(text: str, keys: tuple[str, ...] = KEYS) -> int:
    """The status with which a text is refused."""
    with pytest.raises(Refused) as refused:
        opened(text, keys, now=T)
    return refused.value.status


@pytest.mark.parametrize("bead", ["e1", "a/b?c#d", "\u00e4\u6f22\U0001f525", "x" * 64, "~e", "."])
def test_a_link_opens_as_what_it_was_made_for(bead: str) -> None:
    link = EscalationLink("t1", bead, "webhook", T + LIFE)
    read = opened(sealed(link, KEYS), KEYS, now=T)
    assert (read.link, read.key) == (link, town_tokens.key_id(KEYS[0]))


def test_a_link_survives_one_rotation_of_the_key_and_no_second_one() -> None:
    assert opened(SEALED, ("n" * 48, KEYS[0]), now=T).link == LINK
    assert refusal(SEALED, ("m" * 48, "n" * 48)) == 401


@pytest.mark.parametrize(("before", "ended"), [(MS, False), (timedelta(0), True), (-MS, True)])
def test_a_link_ends_exactly_at_its_end(before: timedelta, ended: bool) -> None:
    now = LINK.ends_at - before
    if not ended:
        assert opened(SEALED, KEYS, now=now).link == LINK
        return
    with pytest.raises(Refused) as refused:
        opened(SEALED, KEYS, now=now)
    assert refused.value.status == 410


@given(st.integers(0, len(SEALED) - 1), st.characters(codec="utf-8"))
def test_no_link_with_a_changed_character_is_accepted(place: int, other: str) -> None:
    changed = SEALED[:place] + other + SEALED[place + 1 :]
    if changed != SEALED:
        assert refusal(changed) == 401


def test_no_link_with_any_one_character_of_its_alphabet_changed_is_accepted() -> None:
    """Also the spare bits at the end of the base64 text, which a lenient decoder would pass over."""
    for place, right in enumerate(SEALED):
        for other in SPELLING.replace(right, ""):
            assert refusal(SEALED[:place] + other + SEALED[place + 1 :]) == 401


@given(st.integers(0, len(SEALED)), st.text(max_size=6), st.integers(0, 6))
def test_no_link_with_a_piece_put_in_or_taken_out_is_accepted(place: int, put_in: str, taken_out: int) -> None:
    changed = SEALED[:place] + put_in + SEALED[place + taken_out :]
    if changed != SEALED:
        assert refusal(changed) == 401


@given(st.text())
def test_no_other_text_is_accepted_and_none_is_more_than_refused(text: str) -> None:
    assert refusal(text) == 401


def test_the_parts_of_two_links_do_not_make_a_third() -> None:
    other = sealed(EscalationLink("t1", "e2", "mail", T + LIFE), KEYS)
    (content, _), (_, signature) = SEALED.split("."), other.split(".")
    assert refusal(f"{content}.{signature}") == 401


def test_neither_is_a_link_a_token_nor_a_token_a_link() -> None:
    """They are signed with one key."""
    token = town_tokens.issue(Claims("t1", "operator"), KEYS, now=T)
    head, body, signature = token.split(".")
    for text in (token, f"{head}.{body}", f"{body}.{signature}"):
        assert refusal(text) == 401
    with pytest.raises(Refused):
        town_tokens.read(SEALED, KEYS, now=T)
    with pytest.raises(Refused):
        town_tokens.read(f"{head}.{SEALED}", KEYS, now=T)


def test_a_short_key_signs_nothing_and_opens_nothing() -> None:
    with pytest.raises(Terminal):
        sealed(LINK, ("short",))
    with pytest.raises(Terminal):
        opened(SEALED, ("",), now=T)


def an_order(bead_id: str | None = "e1") -> NoticeOrder:
    return NoticeOrder(
        town_id="t1", channel="mail", notice="escalation", severity="high", title="Trouble", at="now", bead_id=bead_id
    )


def test_a_notice_about_an_escalation_gets_a_link_that_lasts_a_week() -> None:
    address = LinkMaker("https://api.example.com/", lambda: KEYS, FakeClock(T))(an_order())
    assert address is not None
    start, _, text = address.rpartition("/")
    assert start == "https://api.example.com/acknowledge"
    assert opened(text, KEYS, now=T).link == EscalationLink("t1", "e1", "mail", T + LIFE)
    assert len(text) < 200


def test_a_notice_about_nothing_that_can_be_acknowledged_gets_none() -> None:
    assert LinkMaker("https://api.example.com", lambda: KEYS, FakeClock(T))(an_order(None)) is None


def test_a_notice_leaves_without_a_link_if_there_is_no_key() -> None:
    assert LinkMaker("https://api.example.com", tuple, FakeClock(T))(an_order()) is None


def test_the_name_of_a_link_does_not_open_it() -> None:
    name = escalation_links.name_of(SEALED)
    assert name not in SEALED
    assert refusal(name) == 401
