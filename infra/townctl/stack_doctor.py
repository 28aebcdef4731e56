"""`townctl doctor --stack NAME`: whether a deployment can work, and does: one synthetic town goes the whole way.

Looks at the account's concurrency, the dispatcher's schedule, the secret, the task of agents on ECS and the bucket
(conditions, what its policy refuses), and posts one event to the town `townctl-doctor`, which it creates the first time,
until a tick has applied it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from infra.townctl.answers import FOUND, OK, Answer, table
from shared.adapters import ids
from shared.adapters.clock import SystemClock, wait_for
from shared.adapters.rotated_secret import RotatedSecret
from shared.adapters.s3_objects import S3Objects
from shared.adapters.town_tokens import Claims, issue
from shared.domain.errors import AccessDenied, Refused, TownError
from shared.ports.steps import drive
from shared.storage import keys
from shared.storage.probe import prove_conditional_writes

TOWN: Final = "townctl-doctor"
_OUTPUTS: Final = {"ApiUrl", "TickFunctionArn", "TownTokenKeyArn", "TownsBucket"}
LEAST_CONCURRENCY: Final = 20
LEAST_STOP_SECONDS: Final = 30
CONTROL_KEY: Final = "TOWN_CONTROL_KEY"
_TASK_HINT: Final = "register a new revision of it, as docs/runbook/deploy.md says: agents on ECS"
SECONDS: Final = 150.0
"""Two scheduled minutes and a little: so long may the synthetic event take if the queue is asleep."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """One thing that is wrong with a deployment, and what to do about it."""

    check: str
    problem: str
    hint: str


class Api(Protocol):
    """The deployment's API, asked as an operator and as a producer."""

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """The document of an answer. Raises Refused, Retryable."""
        ...

    def report(self, path: str, body: bytes, token: str) -> Any:
        """The document of an answer to facts. Raises Refused, Retryable."""
        ...


@dataclass(frozen=True, slots=True)
class Stack:
    """A deployment: its outputs, the SDK's clients by name, its bucket, its keys and its API."""

    outputs: Mapping[str, str]
    client: Callable[[str], Any]
    objects: S3Objects
    keys: RotatedSecret
    api: Api
    wait: Callable[[Callable[[], bool]], bool] = lambda done: wait_for(done, seconds=SECONDS, every=2)


def examine(stack: Stack) -> Answer:
    """Make every check; exit code 1 if something is wrong, or cannot be looked at."""
    from botocore.exceptions import BotoCoreError, ClientError

    symptoms: list[Symptom] = []
    for check in (_quota, _schedule, _secret, _agents, _bucket, _whole_way):
        name = check.__name__.strip("_")
        try:
            symptoms += check(stack)
        except TownError as error:
            symptoms.append(Symptom(name, error.message, error.hint))
        except (BotoCoreError, ClientError) as error:
            hint = "sign in as somebody who may ask AWS that, in the stack's account and region"
            symptoms.append(Symptom(name, f"AWS does not answer: {_said(error)}", hint))
    document = {"outputs": dict(stack.outputs), "symptoms": [vars_of(each) for each in symptoms]}
    rows = [(each.check, each.problem, each.hint) for each in symptoms]
    shown = table("check", "problem", "what to do", rows=rows) if rows else "the deployment is well"
    return Answer(document, (shown,), FOUND if symptoms else OK)


def vars_of(symptom: Symptom) -> dict[str, str]:
    """A symptom as JSON."""
    return {"check": symptom.check, "problem": symptom.problem, "hint": symptom.hint}


def deployed(name: str) -> Stack:
    """A stack in the account and region that the SDK finds. Raises Refused."""
    import boto3

    from infra.townctl.over_api import Api as Signed

    session = boto3.session.Session()
    if session.region_name is None:
        raise Refused("no region is set", status=400, path="region", hint="AWS_REGION, or AWS_PROFILE with a region")
    outputs = outputs_of(session.client("cloudformation"), name)
    return Stack(
        outputs=outputs,
        client=session.client,
        objects=S3Objects(outputs["TownsBucket"]),
        keys=RotatedSecret(outputs["TownTokenKeyArn"], SystemClock()),
        api=Signed(outputs["ApiUrl"]),
    )


def outputs_of(client: Any, stack: str) -> dict[str, str]:
    """The outputs of a CloudFormation stack that is one of ours. Raises Refused."""
    from botocore.exceptions import BotoCoreError, ClientError

    hint = "see `sam list stack-outputs`, and that account and region are the right ones"
    try:
        [found] = client.describe_stacks(StackName=stack)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        problem = f"the stack {stack} cannot be looked at: {_said(error)}"
        raise Refused(problem, status=404, path="stack", hint=hint) from error
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}
    if lacking := sorted(_OUTPUTS - set(outputs)):
        problem = f"the stack {stack} is no town reconciler: it lacks {', '.join(lacking)}"
        raise Refused(problem, status=404, path="stack", hint=hint)
    return outputs


def _said(error: Any) -> str:
    """What an error of the SDK is, without what it holds of the request."""
    code = getattr(error, "response", {}).get("Error", {}).get("Code")
    return str(code or type(error).__name__)


def _quota(stack: Stack) -> Iterator[Symptom]:
    limits = stack.client("lambda").get_account_settings()["AccountLimit"]
    free = int(limits["UnreservedConcurrentExecutions"])
    if free < LEAST_CONCURRENCY:
        problem = f"the account may run {free} functions at once beside what is reserved"
        yield Symptom("quota", problem, "ask for a higher quota of concurrent executions; keep TickConcurrency at 0")


def _schedule(stack: Stack) -> Iterator[Symptom]:
    wanted = stack.outputs["TickFunctionArn"]
    for each in _schedules(stack.client("scheduler")):
        if each["Target"]["Arn"] == wanted:
            if each["State"] != "ENABLED":
                yield Symptom(
                    "schedule", "the schedule of the dispatcher is switched off", "enable it in EventBridge Scheduler"
                )
            return
    yield Symptom("schedule", "nothing calls the dispatcher", "deploy the stack again: its schedule was deleted")


def _schedules(scheduler: Any) -> Iterator[Mapping[str, Any]]:
    """Every schedule of the account, page after page: ours may be on any."""
    more: dict[str, str] = {}
    while True:
        page = scheduler.list_schedules(**more)
        yield from page["Schedules"]
        if not page.get("NextToken"):
            return
        more = {"NextToken": page["NextToken"]}


def _secret(stack: Stack) -> Iterator[Symptom]:
    if any(len(value) < 32 for value in stack.keys.values()):
        yield Symptom("secret", "a key of town tokens is too short", "rotate it: docs/runbook/deploy.md")


def _agents(stack: Stack) -> Iterator[Symptom]:
    """Whether the task that agents run in, where they run on ECS, is one in which the control server comes up."""
    worker = stack.outputs.get("WorkerFunctionArn")
    if worker is None:
        return
    told = stack.client("lambda").get_function_configuration(FunctionName=worker)["Environment"]["Variables"]
    if not told.get("ECS"):
        return
    ecs = json.loads(told["ECS"])
    family, name = ecs["task_definition"], ecs["container"]
    task = stack.client("ecs").describe_task_definition(taskDefinition=family)["taskDefinition"]
    if task.get("networkMode") != "awsvpc":
        yield Symptom("agents", f"the task definition {family} has not the network mode awsvpc", _TASK_HINT)
    container = next((each for each in task["containerDefinitions"] if each["name"] == name), None)
    if container is None:
        yield Symptom("agents", f"the task definition {family} has no container {name}", _TASK_HINT)
        return
    if CONTROL_KEY not in {each["name"] for each in container.get("secrets", ())}:
        yield Symptom("agents", f"the container {name} is given no secret {CONTROL_KEY}", _TASK_HINT)
    if container.get("stopTimeout", 30) < LEAST_STOP_SECONDS:
        problem = f"the container {name} has less than {LEAST_STOP_SECONDS} s to save the work of its agents"
        yield Symptom("agents", problem, _TASK_HINT)


def _bucket(stack: Stack) -> Iterator[Symptom]:
    drive(prove_conditional_writes(stack.objects, ids.batch_id()))
    head = keys.head(f"doctor-{ids.batch_id()[:12]}")
    try:
        stack.objects.put(head, b"")
    except AccessDenied:
        return  # as it should be
    stack.objects.delete(head)
    hint = "the bucket's policy was changed: deploy the stack again"
    yield Symptom("bucket", "a head can be written without naming the version that it replaces", hint)


def _whole_way(stack: Stack) -> Iterator[Symptom]:
    """An event through API, inbox, queue, worker, tick and back."""
    try:
        stack.api.ask("PUT", f"/api/towns/{TOWN}", {})
    except Refused as refusal:
        if refusal.status != 409:
            raise
    event_id = ids.event_id("doctor")
    token = issue(Claims(TOWN, "operator"), stack.keys.values(), now=SystemClock().now())
    body = f'{{"event_id": "{event_id}", "event_type": "town_started"}}'.encode()
    stack.api.report(f"/api/towns/{TOWN}/events", body, token)

    def applied() -> bool:
        ticks = stack.api.ask("GET", f"/api/towns/{TOWN}/ticks")["ticks"]
        return any(event["event_id"] == event_id for tick in ticks for event in tick["outputs"]["events"])

    if not stack.wait(applied):
        hint = "docs/runbook/tick-missed.md and docs/runbook/town-waits-long.md"
        yield Symptom("synthetic town", f"the event {event_id} of {TOWN} was accepted and not applied", hint)
