"""An operator with AWS credentials and no town token: events are posted with a signature, to every town that the rules allow."""

import json
from pathlib import Path

import pytest

from functions.settings import AccessRule
from infra.townctl import main
from tests.signed import ANN, signed_api

RULES = (
    AccessRule(callers=(ANN.arn,), towns=("*",), verbs=("read",)),
    AccessRule(callers=(ANN.arn,), towns=("alpha", "beta"), verbs=("write",)),
)


def test_one_command_pauses_every_town_that_the_caller_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for town in ("alpha", "beta", "others"):
        assert main.run(["--data", str(data), "town", "create", town]) == 0
    with signed_api(data, monkeypatch, *RULES) as url:
        capsys.readouterr()
        code = main.run(["--json", "--api", url, "pause", "--all", "--by", "ann"])
    out = capsys.readouterr().out
    told = {each["townId"]: each for each in json.loads(out[out.index("{\n") :])["towns"]}
    assert code == 1
    assert [bool(told[town]["accepted"]) for town in ("alpha", "beta", "others")] == [True, True, False]
    assert "you may not write this town" in told["others"]["problem"]
    for town, paused in (("alpha", True), ("others", False)):
        assert main.run(["--data", str(data), "tick", town, "--force"]) == 0
        capsys.readouterr()
        assert main.run(["--json", "--data", str(data), "town", "status", town]) in (0, 1)
        status = json.loads(capsys.readouterr().out)
        assert (status["paused"], (status["brake"] or {}).get("by")) == (paused, "ann" if paused else None)
