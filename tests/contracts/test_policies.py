"""The policy for buckets that Litestream reads lets every role of the template write what it writes, and no other."""

import json
from fnmatch import fnmatchcase
from typing import Any

from tests.contracts.transformed import resources, statements
from tests.conventions.sources import ROOT

READERS: dict[str, Any] = json.loads((ROOT / "infra/ops/policies/litestream_readers.json").read_text(encoding="utf-8"))
FUNCTIONS = sorted(resources("AWS::Lambda::Function"))
OPERATOR = "${OperatorRoleArn}"


def below_the_bucket(arns: Any) -> list[str]:
    """The patterns of keys in a statement's resources."""
    found = [arn["Fn::Sub"] if isinstance(arn, dict) and "Fn::Sub" in arn else arn for arn in arns]
    return [arn.partition("/")[2] for arn in found if isinstance(arn, str) and "Towns" in arn]


def writes_what_is_denied(function: str) -> bool:
    """Whether a role may do something that the policy denies to strangers."""
    denied = [pattern.partition("/")[2] for pattern in READERS["Resource"]]
    for statement in statements(function):
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        resource = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
        if set(actions) & set(READERS["Action"]) and any(
            fnmatchcase(one.replace("*", "x"), other) or fnmatchcase(other.replace("*", "x"), one)
            for one in below_the_bucket(resource)
            for other in denied
        ):
            return True
    return False


def test_no_role_of_the_template_that_writes_towns_is_locked_out_and_no_other_is_let_in() -> None:
    """It named dispatcher and worker only: no town could be created, and retention deleted nothing."""
    allowed = READERS["Condition"]["ArnNotLike"]["aws:PrincipalArn"]
    writers = [function for function in FUNCTIONS if writes_what_is_denied(function)]
    assert writers == ["ArchiveFunction", "EventsFunction", "RetentionFunction", "TickFunction", "WorkerFunction"]
    roles = [f"arn:aws:iam::${{AccountId}}:role/${{StackName}}-{function}Role-*" for function in writers]
    assert allowed == [*roles, OPERATOR]


def test_it_denies_nothing_that_readers_need() -> None:
    assert READERS["Effect"] == "Deny"
    assert READERS["Action"] == ["s3:PutObject", "s3:DeleteObject", "s3:DeleteObjectVersion"]
