"""Markup: what others wrote stays text."""

from infra.ui.markup import Html, between, joined, tag


def test_a_text_of_others_cannot_make_markup() -> None:
    assert tag("p", "<script>alert(1)</script>") == "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>"


def test_an_attribute_of_others_cannot_end_its_quotes() -> None:
    assert tag("a", title='"><b>') == '<a title="&quot;&gt;&lt;b&gt;"></a>'


def test_markup_in_markup_is_not_escaped_twice() -> None:
    assert tag("p", tag("b", "a & b")) == "<p><b>a &amp; b</b></p>"


def test_an_attribute_without_a_value_is_left_out_or_stands_alone() -> None:
    assert (
        tag("input", hidden=True, checked=False, value=None, class_="x", data_due=3)
        == '<input hidden class="x" data-due="3">'
    )


def test_children_may_be_nested_and_none() -> None:
    assert joined("a", None, ["b", [Html("<i>"), 3]]) == "ab<i>3"
    assert between(", ", ["a", "b"]) == "a, b"
