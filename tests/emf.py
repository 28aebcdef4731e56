"""What a line of the embedded metric format says, checked against the format before it is believed."""

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator

from tests.conventions.sources import ROOT

_SCHEMA: Final = ROOT / "tests/contracts/emf.schema.json"
_DIMENSIONS: Final = {"service", "stage", "actionType"}


def metrics_of(line: dict[str, Any]) -> dict[str, float]:
    """The metrics of one line, by name. Fails for a line that CloudWatch would not take, or that would cost a fortune."""
    _validator().validate(line)
    assert len(json.dumps(line)) < 256 * 1024
    found: dict[str, float] = {}
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for dimensions in directive["Dimensions"]:
            assert set(dimensions) <= _DIMENSIONS, f"a series for each value of {dimensions}"
            for name in dimensions:
                assert isinstance(line[name], str), name
        for metric in directive["Metrics"]:
            values = line[metric["Name"]]
            assert isinstance(values, list)
            assert len(values) == 1
            found[metric["Name"]] = values[0]
    return found


def dimensions_of(line: dict[str, Any]) -> dict[str, str]:
    """The dimensions of one line."""
    [directive] = line["_aws"]["CloudWatchMetrics"]
    [names] = directive["Dimensions"]
    return {name: line[name] for name in names}


@cache
def _validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(Path(_SCHEMA).read_text(encoding="utf-8")))
