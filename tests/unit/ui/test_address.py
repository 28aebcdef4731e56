"""Addresses: every view at every time has one, and it leads back to the same view."""

import pytest

from infra.ui.address import Address, address_of


@pytest.mark.parametrize(
    "address",
    [
        Address(),
        Address(query={"sort": "name", "q": "a b&c"}),
        Address("town", "demo"),
        Address("timeline", "demo", at="2026-01-10T12:00:00.000Z", query={"tick": "74"}),
        Address("bead", "demo", "a/b ?c"),
        Address("agent", "demo", "täter"),
        Address("machine", "demo", query={"what": '{"config":{"a":1}}'}),
    ],
)
def test_an_address_leads_back_to_itself(address: Address) -> None:
    assert address_of(address.href) == address


@pytest.mark.parametrize("href", ["", "/", "/nothing", "/t", "//evil.example/x", "/t/"])
def test_anything_else_is_the_fleet(href: str) -> None:
    assert address_of(href).view == "fleet"


@pytest.mark.parametrize("path", ["/t/demo/nothing", "/t/demo/bead", "/t/demo/timeline/tick"])
def test_an_unknown_view_keeps_its_address_and_does_not_exist(path: str) -> None:
    assert not address_of(path).exists
    assert address_of(path).href == path


def test_a_time_that_is_none_is_kept_as_text_and_is_no_time() -> None:
    assert address_of("/t/demo?at=yesterday").time is None


def test_another_view_keeps_the_time() -> None:
    assert address_of("/t/demo?at=2026-01-10T12:00:00Z").to("beads").href == "/t/demo/beads?at=2026-01-10T12%3A00%3A00Z"
