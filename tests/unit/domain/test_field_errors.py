"""What pydantic found wrong is reported in one way: place, kind and sentence, and never the value."""

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from shared.domain.field_errors import FieldError, all_errors, first_error


class Inner(BaseModel):
    model_config = ConfigDict(strict=True)

    name: str = ""


class Outer(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    inner: Inner = Inner()
    many: list[Inner] = []
    pair: tuple[int, ...] = ()
    settings: dict[str, int] = {}


def refused(value: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    return caught.value


def test_the_first_error_has_a_place_with_dots() -> None:
    found = first_error(refused({"many": [{}, {"name": 7}], "other": 1}))
    assert found == FieldError(("many", 1, "name"), "string_type", "Input should be a valid string")
    assert found.place == "many.1.name"


def test_all_errors_come_in_pydantics_order() -> None:
    found = all_errors(refused({"inner": {"name": 1}, "other": 1}))
    assert [(each.place, each.kind) for each in found] == [("inner.name", "string_type"), ("other", "extra_forbidden")]


@pytest.mark.parametrize(
    ("value", "place", "message"),
    [
        ([], "", "Input should be an object"),
        ({"inner": 7}, "inner", "Input should be an object"),
        ({"settings": []}, "settings", "Input should be an object"),
        ({"many": {}}, "many", "Input should be a valid array"),
        ({"pair": "12"}, "pair", "Input should be a valid array"),
    ],
)
def test_whoever_sent_json_is_not_told_of_pythons_types_or_our_classes(value: Any, place: str, message: str) -> None:
    found = first_error(refused(value))
    assert (found.place, found.message) == (place, message)


def test_an_error_never_repeats_the_value() -> None:
    assert "the secret" not in str(all_errors(refused({"inner": {"name": ["the secret"]}, "pair": ["the secret"]})))
