"""The commands of docs/runbook/adopt-a-bucket.md, against a CloudFormation that judges an import as AWS documents it."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

from tests.contracts.deployments import deployed, refused
from tests.contracts.transformed import template
from tests.conventions.sources import ROOT

PAGE = (ROOT / "docs/runbook/adopt-a-bucket.md").read_text(encoding="utf-8")
NESTED = re.compile(r"(\w+)=(\{[^}]*\}|[^,]*)")


def commands() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return [shlex.split(line) for block in blocks for line in block.replace("\\\n", "").splitlines()]


def options(words: list[str]) -> dict[str, str]:
    return dict(zip(words[::2], words[1::2], strict=True))


def structure(text: str) -> dict[str, Any]:
    """A value in the short form of the AWS CLI: `A=b,C={D=e}`."""
    found = NESTED.findall(text)
    return {name: structure(value[1:-1]) if value.startswith("{") else value for name, value in found}


def imported() -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """The template, the one resource and the parameter of the import."""
    [given] = [options(words[3:]) for words in commands() if words[1:3] == ["cloudformation", "create-change-set"]]
    assert given["--change-set-type"] == "IMPORT"
    body = Path(ROOT, given["--template-body"].removeprefix("file://")).read_text(encoding="utf-8")
    return json.loads(body), structure(given["--resources-to-import"]), structure(given["--parameters"])


def test_the_import_brings_only_resources_that_are_imported_each_with_a_deletion_policy() -> None:
    """What CloudFormation requires of an import: no other changes, no outputs, and nothing that could be deleted by accident."""
    brought, resource, parameter = imported()
    assert set(brought) == {"AWSTemplateFormatVersion", "Description", "Parameters", "Resources"}
    assert set(brought["Resources"]) == {resource["LogicalResourceId"]}
    [bucket] = brought["Resources"].values()
    assert bucket["Type"] == resource["ResourceType"]
    assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"
    assert set(brought["Parameters"]) == {parameter["ParameterKey"]}
    assert parameter["ParameterValue"] == resource["ResourceIdentifier"]["BucketName"]


def test_the_deployment_after_it_keeps_the_bucket_because_nothing_that_would_replace_it_changes() -> None:
    """CloudFormation replaces a bucket if its logical id, its type or its name changes."""
    brought, resource, parameter = imported()
    [block] = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    given = dict(each.split("=", 1) for each in tomllib.loads(block)["parameter_overrides"])
    name = given[parameter["ParameterKey"]]
    assert name == resource["ResourceIdentifier"]["BucketName"]
    given[parameter["ParameterKey"]] = "stack-towns-1a2b3c"
    assert refused(**given) == []
    towns = deployed(**given)[resource["LogicalResourceId"]]
    [bucket] = brought["Resources"].values()
    assert towns["Type"] == bucket["Type"]
    assert bucket["Properties"] == {"BucketName": {"Ref": parameter["ParameterKey"]}}
    assert towns["Properties"]["BucketName"] == "stack-towns-1a2b3c"
    assert set(brought["Parameters"]) <= set(template()["Parameters"])


def test_every_step_waits_for_the_one_before_in_the_same_stack() -> None:
    steps = [
        (words[2:], options(words[3:]))
        for words in commands()
        if words[:2] == ["aws", "cloudformation"] and words[2] != "wait"
    ]
    waits = [(words[3], options(words[4:])) for words in commands() if words[1:3] == ["cloudformation", "wait"]]
    assert [words[0] for words, _ in steps] == ["create-change-set", "execute-change-set"]
    assert [name for name, _ in waits] == ["change-set-create-complete", "stack-import-complete"]
    named = [each["--stack-name"] for _, each in (*steps, *waits)]
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    assert set(named) == {config["default"]["deploy"]["parameters"]["stack_name"]}
