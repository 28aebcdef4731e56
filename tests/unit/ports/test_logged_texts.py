"""What is kept of a log: its end, cut at a line, and never a secret."""

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.ports.logged_texts import MOST_KEPT, last_lines, newest_part
from tests.security.kinds_of_secrets import FORMS, Planted, pieces, secrets


def test_a_short_log_is_kept_as_it_is() -> None:
    assert newest_part("compiled\n12 tests passed\n") == ("compiled\n12 tests passed\n", False)


def test_of_a_long_log_the_newest_lines_are_kept() -> None:
    text = "".join(f"line {number} of a build that says much\n" for number in range(20_000))
    kept, cut = newest_part(text)
    assert cut
    assert MOST_KEPT - 100 < len(kept.encode()) <= MOST_KEPT
    assert kept.startswith("line ")
    assert text.endswith(kept)


def test_the_end_of_a_single_long_line_is_kept() -> None:
    kept, cut = newest_part("word " * 100_000)
    assert cut
    assert len(kept.encode()) == MOST_KEPT


def test_a_run_without_blanks_is_only_counted() -> None:
    assert newest_part("before " + "x" * 5000 + " after") == ("before (5001 characters without a blank) after", False)


def test_a_line_with_a_hidden_secret_does_not_take_the_others_with_it() -> None:
    kept, _ = newest_part("one fine line\n%70assword=hunter2\nanother fine line\n")
    assert kept == "one fine line\n[removed]\nanother fine line\n"


def test_a_private_key_of_any_length_is_removed() -> None:
    body = "\n".join("MIIEpAIBAAKCAQEA7bq5x" * 3 for _ in range(150))
    kept, _ = newest_part(f"cat key\n-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----\ndone\n")
    assert kept == "cat key\n[removed]\ndone\n"


def test_a_private_key_that_does_not_end_is_removed() -> None:
    kept, _ = newest_part("cat key\n-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7bq5x\n")
    assert "MIIE" not in kept


@settings(max_examples=80)
@given(
    planted=secrets(),
    form=st.sampled_from(sorted(FORMS)),
    before=st.sampled_from(("", "a line that says little\n" * 300, "word " * 1000, "x" * 3990 + "\n")),
)
def test_no_secret_is_kept_wherever_it_stands(planted: Planted, form: str, before: str) -> None:
    kept, _ = newest_part(f"{before}{FORMS[form](planted.text)}\nthe last line\n")
    for piece in pieces(planted, form):
        assert piece not in kept, f"{planted.kind} ({form}) is seen"
    assert not planted.core or planted.core not in kept


@settings(max_examples=50)
@given(st.text(max_size=6_000))
def test_any_text_is_kept_within_its_limit(text: str) -> None:
    kept, _ = newest_part(text)
    assert len(kept.encode()) <= MOST_KEPT


def test_the_last_lines_are_those_that_say_something() -> None:
    assert last_lines("a\n\nb\n \nc\n\n", 2) == ("b", "c")


def test_a_secret_and_the_word_that_announces_it_are_not_parted_in_a_long_line() -> None:
    for words in (
        "--token hunter2hunter",
        "-u me:hunter2hunter",
        "password is hunter2hunter",
        "password: hunter2hunter",
    ):
        for length in range(3_950, 4_010, 2):
            kept, _ = newest_part("x " * (length // 2) + words + " z" * 200 + " end")
            assert "hunter2" not in kept, (words, length)
            assert kept.endswith("end")
