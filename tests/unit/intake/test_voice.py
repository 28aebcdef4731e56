"""What a person says to the mayor becomes a message bead."""

import pytest

from shared.domain import limits
from shared.domain.errors import Refused
from shared.intake.voice import require_words, said_to_the_mayor


def test_the_first_line_with_words_is_the_title() -> None:
    said = said_to_the_mayor("\n  \n  Build a parser. \nIt reads JSON.", by="ann", message_id="m1")
    assert (said["event_id"], said["event_type"]) == ("say-m1", "bead_created")
    assert said["payload"]["bead"]["title"] == "Build a parser."  # type: ignore[index]


@pytest.mark.parametrize("letter", ["x", "é"])
def test_the_longest_text_is_said_and_one_byte_more_is_refused(letter: str) -> None:
    text = letter * (limits.BODY_SIZE // len(letter.encode()))
    require_words(text)
    with pytest.raises(Refused) as refused:
        require_words(f"{text}x")
    assert (refused.value.status, refused.value.path) == (413, "text")


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_nothing_is_not_said(text: str) -> None:
    with pytest.raises(Refused, match="nothing to say"):
        said_to_the_mayor(text, by="ann", message_id="m1")
