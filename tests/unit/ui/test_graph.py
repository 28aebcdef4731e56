"""The graph of a convoy: layers by the longest path, the critical chain on one row."""

from hypothesis import given
from hypothesis import strategies as st

from infra.ui.graph import graph_of


def test_a_bead_stands_right_of_everything_that_it_waits_for() -> None:
    drawn = graph_of(["a", "b", "c"], [("b", "a"), ("c", "b"), ("c", "a")], done=frozenset())
    assert [drawn.places[each].layer for each in "abc"] == [0, 1, 2]


def test_the_critical_chain_is_the_longest_path_of_what_is_not_done() -> None:
    drawn = graph_of(list("abcd"), [("b", "a"), ("c", "b"), ("d", "a")], done=frozenset("a"))
    assert drawn.chain == ("b", "c")


def test_the_critical_chain_stands_on_one_row() -> None:
    drawn = graph_of(list("abcdef"), [("c", "a"), ("d", "c"), ("e", "d"), ("c", "b"), ("f", "a")], done=frozenset())
    assert len({drawn.places[each].row for each in drawn.chain}) == 1


def test_one_bead_alone_is_no_chain() -> None:
    assert graph_of(["a", "b"], [], done=frozenset()).chain == ()


def test_a_bead_outside_of_the_convoy_is_not_drawn() -> None:
    assert graph_of(["a"], [("a", "elsewhere")], done=frozenset()).edges == ()


@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), max_size=40))
def test_no_two_beads_stand_on_each_other(pairs: list[tuple[int, int]]) -> None:
    nodes = [str(number) for number in range(15)]
    waits = [(str(max(pair)), str(min(pair))) for pair in pairs if pair[0] != pair[1]]
    drawn = graph_of(nodes, waits, done=frozenset())
    assert len({(place.layer, place.row) for place in drawn.places.values()}) == len(nodes)
    assert all(drawn.places[before].layer < drawn.places[after].layer for before, after in drawn.edges)
