"""`townctl doctor --stack` where AWS itself is in the way; a deployment that answers is examined in tests/e2e."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from infra.townctl.stack_doctor import Stack, deployed, examine, outputs_of
from shared.adapters.memory_objects import MemoryObjects
from shared.domain.errors import Refused

TICK = "arn:tick"


@dataclass
class Account:
    """What the doctor asks of AWS: its schedules, two a page, and what it may not ask."""

    schedules: list[str] = field(default_factory=lambda: [TICK])
    denied: bool = False

    def client(self, _: str) -> "Account":
        return self

    def get_account_settings(self) -> dict[str, Any]:
        if self.denied:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "x"}}, "GetAccountSettings")
        return {"AccountLimit": {"UnreservedConcurrentExecutions": 1000}}

    def list_schedules(self, NextToken: str = "0") -> dict[str, Any]:  # noqa: N803 - the SDK's name
        begin = int(NextToken)
        page = [{"Target": {"Arn": arn}, "State": "ENABLED"} for arn in self.schedules[begin : begin + 2]]
        more = {"NextToken": str(begin + 2)} if begin + 2 < len(self.schedules) else {}
        return {"Schedules": page} | more


class NoApi:
    """An API that lets nobody in."""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        raise Refused("nobody", status=403)

    report = ask


class Keys:
    """Two good keys."""

    def values(self) -> tuple[str, ...]:
        return ("k" * 48, "l" * 48)


def checks(account: Account) -> dict[str, str]:
    stack = Stack({"TickFunctionArn": TICK}, account.client, MemoryObjects(), Keys(), NoApi())  # type: ignore[arg-type]
    return {symptom["check"]: symptom["problem"] for symptom in examine(stack).document["symptoms"]}


def test_a_schedule_on_a_later_page_is_found() -> None:
    """An account with a hundred schedules of others was told that nothing calls the dispatcher."""
    assert "schedule" not in checks(Account(["arn:a", "arn:b", "arn:c", "arn:d", TICK]))
    assert "schedule" in checks(Account(["arn:a", "arn:b", "arn:c"]))


def test_what_aws_forbids_to_ask_is_a_finding_and_the_other_checks_go_on() -> None:
    """A refusal of the SDK ended the doctor with a traceback and without what it had found."""
    found = checks(Account(["arn:another"], denied=True))
    assert found["quota"] == "AWS does not answer: AccessDeniedException"
    assert {"schedule", "whole_way"} <= set(found)


class Formation:
    """CloudFormation with one stack in it, or an answer that is none."""

    def __init__(self, outputs: dict[str, str], fails: Exception | None = None) -> None:
        self._outputs = outputs
        self._fails = fails

    def describe_stacks(self, *, StackName: str) -> dict[str, Any]:  # noqa: N803 - the SDK's name
        if self._fails is not None:
            raise self._fails
        outputs = [{"OutputKey": key, "OutputValue": value} for key, value in self._outputs.items()]
        return {"Stacks": [{"StackName": StackName, "Outputs": outputs}]}


@pytest.mark.parametrize(
    ("formation", "says"),
    [
        (Formation({}), "is no town reconciler: it lacks ApiUrl"),
        (Formation({}, ClientError({"Error": {"Code": "ValidationError"}}, "DescribeStacks")), "ValidationError"),
        (Formation({}, NoCredentialsError()), "NoCredentialsError"),
    ],
    ids=["another stack", "no stack", "nobody"],
)
def test_a_stack_that_cannot_be_looked_at_is_refused_with_the_reason(formation: Formation, says: str) -> None:
    with pytest.raises(Refused, match=says):
        outputs_of(formation, "mine")


def test_without_a_region_no_stack_is_looked_for(as_owner: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    with pytest.raises(Refused, match="no region is set"):
        deployed("mine")
