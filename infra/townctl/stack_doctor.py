"""`townctl doctor --stack NAME`: check that a deployment can work, and that one event passes through all of it.

It checks the account's concurrency, the parameters, the dispatcher's schedule, the token key, secrets that no function reads or
that functions look for elsewhere, who receives alarms and notices, the dead-letter queues, the last hour of each function, the ECS
task of the agents, the clock and the bucket (versions, conditional writes and the bucket policy). Then it posts one event to the
town `townctl-doctor`, which it creates the first time, and waits until a tick has applied the event.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from infra.townctl import stack_checks
from infra.townctl.output import FOUND, OK, Answer, table
from infra.townctl.platform_tokens import unsafe
from infra.townctl.stack import Stack, Symptom
from infra.townctl.wording import quantity
from shared.adapters import ids, outside_files
from shared.adapters.clock import SystemClock
from shared.adapters.ecs_runtime import KEY_VARIABLE
from shared.adapters.rotated_secret import RotatedSecret
from shared.adapters.s3_objects import S3Objects
from shared.adapters.town_tokens import Claims, issue
from shared.domain import strict_json
from shared.domain.errors import AccessDenied, Refused, TownError
from shared.domain.shapes import answer, read
from shared.ports.steps import drive
from shared.questions.rosters import TownSettings
from shared.questions.tick_list import TickList
from shared.storage import keys
from shared.storage.probe import prove_conditional_writes

TOWN: Final = "townctl-doctor"
_OUTPUTS: Final = {"ApiUrl", "TickFunctionArn", "TownTokenKeyArn", "TownsBucket"}
LEAST_CONCURRENCY: Final = 20
KEPT_UNRESERVED: Final = 100
"""The number of concurrent executions that AWS keeps unreserved in every account."""

RESERVED: Final = 3
"""What TickConcurrency=1 and DebugConcurrency=2 reserve."""

LEAST_STOP_SECONDS: Final = 30
_TASK_HINT: Final = "register a new revision of it; docs/runbook/deploy.md describes it under agents on ECS"
_SETTINGS: Final = ("Environment", "MemorySize", "EphemeralStorage", "Timeout", "VpcConfig", "KMSKeyArn")


@answer
class Examined:
    """The outputs of the stack that was checked, under their own names, what is wrong with it, and advice."""

    outputs: Mapping[str, str]
    symptoms: tuple[Symptom, ...]
    notes: tuple[str, ...]


def examine(stack: Stack) -> Answer:
    """Run every check. Exit code 1 if something is wrong or cannot be checked."""
    from botocore.exceptions import BotoCoreError, ClientError

    symptoms: list[Symptom] = []
    for check in (
        _quota,
        stack_checks.parameters,
        _schedule,
        _secret,
        _platform_tokens,
        stack_checks.unread_secrets,
        stack_checks.secrets_elsewhere,
        _alarms,
        _notices,
        _dead_letters,
        _settings_of_the_alias,
        stack_checks.last_hour,
        _agents,
        stack_checks.clock,
        stack_checks.versions,
        stack_checks.waiting_room,
        _bucket,
        _whole_way,
    ):
        name = check.__name__.strip("_")
        try:
            symptoms += check(stack)
        except TownError as error:
            symptoms.append(Symptom(name, error.message, error.hint))
        except (BotoCoreError, ClientError) as error:
            hint = "sign in to the stack's account and region with credentials that may read this"
            symptoms.append(Symptom(name, f"AWS refused the request or did not answer: {_said(error)}", hint))
    examined = Examined(stack.outputs, tuple(symptoms), _notes(stack))
    rows = [(each.check, each.problem, each.hint) for each in symptoms]
    shown = table("check", "problem", "what to do", rows=rows) if rows else "nothing is wrong with the deployment"
    return Answer(examined, (shown, *examined.notes), FOUND if symptoms else OK)


def deployed(name: str) -> Stack:
    """The stack of this name in the account and region that the SDK finds. Raises Refused."""
    import boto3

    from infra.townctl.api import Api as Signed
    from infra.townctl.stack_secrets import secrets_of_stack

    session = boto3.session.Session()
    if session.region_name is None:
        problem = f"cannot find the stack {name}: no AWS region is set"
        raise Refused(
            problem, status=400, path="region", hint="set AWS_DEFAULT_REGION, or AWS_PROFILE to a profile with a region"
        )
    outputs, parameters = described(session.client("cloudformation"), name)
    return Stack(
        outputs=outputs,
        client=session.client,
        objects=S3Objects(outputs["TownsBucket"]),
        keys=RotatedSecret(outputs["TownTokenKeyArn"], SystemClock()),
        api=Signed(outputs["ApiUrl"]),
        secrets=secrets_of_stack(outputs["SecretsPrefix"]) if "SecretsPrefix" in outputs else None,
        parameters=parameters,
    )


def outputs_of(client: Any, stack: str) -> dict[str, str]:
    """The outputs of a CloudFormation stack. Raises Refused if it is not a stack of this project."""
    return described(client, stack)[0]


def described(client: Any, stack: str) -> tuple[dict[str, str], dict[str, str]]:
    """The outputs and the parameters of a CloudFormation stack. Raises Refused if it is not a stack of this project."""
    from botocore.exceptions import BotoCoreError, ClientError

    hint = "check the name, the account and the region with `sam list stack-outputs --stack-name NAME`"
    try:
        [found] = client.describe_stacks(StackName=stack)["Stacks"]
    except (BotoCoreError, ClientError) as error:
        problem = f"cannot describe the stack {stack}: {_said(error)}"
        raise Refused(problem, status=404, path="stack", hint=hint) from error
    outputs = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", ())}
    if lacking := sorted(_OUTPUTS - set(outputs)):
        problem = f"the stack {stack} is not a town reconciler: it lacks the outputs {', '.join(lacking)}"
        raise Refused(problem, status=404, path="stack", hint=hint)
    given = {each["ParameterKey"]: str(each.get("ParameterValue", "")) for each in found.get("Parameters", ())}
    return outputs, given


def _said(error: Any) -> str:
    """The code or the type of an SDK error, without the content of the request."""
    code = getattr(error, "response", {}).get("Error", {}).get("Code")
    return str(code or type(error).__name__)


def _quota(stack: Stack) -> Iterator[Symptom]:
    limits = stack.client("lambda").get_account_settings()["AccountLimit"]
    free = int(limits["UnreservedConcurrentExecutions"])
    if free < LEAST_CONCURRENCY:
        problem = f"the unreserved concurrency of the account is {free}; {LEAST_CONCURRENCY} is the minimum"
        yield Symptom("quota", problem, "request a higher quota of concurrent executions; keep TickConcurrency at 0")


def _notes(stack: Stack) -> tuple[str, ...]:
    """Whether the account's quota allows reserved concurrency, which is off by default; nothing if AWS does not say."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        limits = stack.client("lambda").get_account_settings()["AccountLimit"]
    except (BotoCoreError, ClientError):
        return ()  # the check of the quota reports it
    free = int(limits["UnreservedConcurrentExecutions"])
    if free < KEPT_UNRESERVED + RESERVED:
        why = f"AWS keeps {KEPT_UNRESERVED} concurrent executions of an account unreserved, and {free} are"
        return (f"reserved concurrency: keep TickConcurrency and DebugConcurrency at 0; {why}",)
    return ("reserved concurrency: the account's quota allows TickConcurrency=1 and DebugConcurrency=2",)


def _alarms(stack: Stack) -> Iterator[Symptom]:
    """Whether the topic of the alarms has a subscriber who has confirmed."""
    topic = stack.outputs.get("AlarmTopicArn")
    if topic is not None and not _has_subscriber(stack, topic):
        hint = "set AlarmEmail and deploy, or confirm the message that SNS has sent to that address"
        yield Symptom("alarms", "alarms notify nobody: their topic has no confirmed subscription", hint)


def _notices(stack: Stack) -> Iterator[Symptom]:
    """Whether the topic of the notices, if there is one, has a subscriber who has confirmed."""
    topic = stack.outputs.get("NoticeTopicArn")
    if topic is not None and not _has_subscriber(stack, topic):
        problem = "notices reach nobody by mail: their topic has no confirmed subscription"
        hint = "confirm the message that SNS has sent to NoticeEmail, or subscribe an address to NoticeTopicArn"
        yield Symptom("notices", problem, hint)


def _has_subscriber(stack: Stack, topic: str) -> bool:
    """Whether a subscription of a topic is confirmed."""
    pages = stack.client("sns").get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    return any(each["SubscriptionArn"].startswith("arn:") for page in pages for each in page["Subscriptions"])


def _dead_letters(stack: Stack) -> Iterator[Symptom]:
    """Whether wakes or scheduled invocations have failed for good."""
    for output, page in (("WakesDeadUrl", "wakes-dead"), ("TicksDeadUrl", "ticks-dead")):
        if (url := stack.outputs.get(output)) is None:
            continue
        name = "ApproximateNumberOfMessages"
        found = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])
        if (count := int(found["Attributes"][name])) > 0:
            look = f"aws sqs receive-message --queue-url {url} --visibility-timeout 0"
            problem = f"{quantity(count, 'message')} in a dead-letter queue"
            yield Symptom(page, problem, f"look with `{look}`, then follow docs/runbook/{page}.md")


def _settings_of_the_alias(stack: Stack) -> Iterator[Symptom]:
    """Whether the version behind an alias that is called still has the settings of before the last deployment."""
    scheduled = stack.outputs.get("ScheduledArn")
    if scheduled is None or scheduled == stack.outputs["TickFunctionArn"]:
        return  # nothing calls an alias
    alias = scheduled.rpartition(":")[2]
    for output in ("TickFunctionArn", "WorkerFunctionArn"):
        if (arn := stack.outputs.get(output)) is None:
            continue
        newest, called = (
            stack.client("lambda").get_function_configuration(FunctionName=arn, **which)
            for which in ({}, {"Qualifier": alias})
        )
        if differ := sorted(name for name in _SETTINGS if newest.get(name) != called.get(name)):
            problem = f"the alias {alias} of {arn} has older settings than the stack: {', '.join(differ)}"
            yield Symptom("settings", problem, "change SettingsRevision in samconfig.toml, then `sam deploy`")


def _schedule(stack: Stack) -> Iterator[Symptom]:
    wanted = stack.outputs.get("ScheduledArn", stack.outputs["TickFunctionArn"])  # the alias, in a gradual deployment
    for each in _schedules(stack.client("scheduler")):
        if each["Target"]["Arn"] == wanted:
            if each["State"] != "ENABLED":
                yield Symptom(
                    "schedule", "the schedule of the dispatcher is disabled", "enable it in EventBridge Scheduler"
                )
            return
    yield Symptom("schedule", "the schedule of the dispatcher was deleted", "deploy the stack again")


def _schedules(scheduler: Any) -> Iterator[Mapping[str, Any]]:
    """Every schedule of the account, from all pages."""
    more: dict[str, str] = {}
    while True:
        page = scheduler.list_schedules(**more)
        yield from page["Schedules"]
        if not page.get("NextToken"):
            return
        more = {"NextToken": page["NextToken"]}


def _secret(stack: Stack) -> Iterator[Symptom]:
    if any(len(value) < 32 for value in stack.keys.values()):
        yield Symptom("secret", "a key of town tokens is too short", "rotate it as docs/runbook/deploy.md describes")


def _platform_tokens(stack: Stack) -> Iterator[Symptom]:
    """Tokens of the platform that serve every town, with the towns that use them, as far as the caller may read these."""
    if stack.secrets is None:
        return

    def towns() -> Iterator[TownSettings]:
        after: str | None = ""
        while after is not None:
            page = stack.api.ask("GET", f"/api/towns?after={after}" if after else "/api/towns")
            for town in page["towns"]:
                yield read(TownSettings, stack.api.ask("GET", f"/api/towns/{town['townId']}/config"))
            after = page["next"]

    for each in unsafe(stack.secrets, towns):
        yield Symptom(f"secret {each.name}", each.problem, each.hint)


def _agents(stack: Stack) -> Iterator[Symptom]:
    """If agents run on ECS: check that the control server can start in their task."""
    worker = stack.outputs.get("WorkerFunctionArn")
    if worker is None:
        return
    settings = stack.client("lambda").get_function_configuration(FunctionName=worker)["Environment"]["Variables"]
    if not settings.get("ECS"):
        return
    ecs = strict_json.foreign(settings["ECS"], limit=outside_files.LARGEST)
    family, name = ecs["task_definition"], ecs["container"]
    task = stack.client("ecs").describe_task_definition(taskDefinition=family)["taskDefinition"]
    if task.get("networkMode") != "awsvpc":
        yield Symptom("agents", f"the network mode of the task definition {family} is not awsvpc", _TASK_HINT)
    container = next((each for each in task["containerDefinitions"] if each["name"] == name), None)
    if container is None:
        yield Symptom("agents", f"the task definition {family} has no container {name}", _TASK_HINT)
        return
    given = {each["name"] for each in (*container.get("secrets", ()), *container.get("environment", ()))}
    if KEY_VARIABLE in given:
        problem = f"the task definition {family} gives every town's container the same {KEY_VARIABLE}"
        yield Symptom("agents", problem, "register a revision without it: each start brings the key of its town")
    if container.get("stopTimeout", 30) < LEAST_STOP_SECONDS:
        problem = f"the stop timeout of container {name} is less than {LEAST_STOP_SECONDS} s, too short to save the agents' work"
        yield Symptom("agents", problem, _TASK_HINT)


def _bucket(stack: Stack) -> Iterator[Symptom]:
    drive(prove_conditional_writes(stack.objects, ids.batch_id()))
    head = keys.head(f"doctor-{ids.batch_id()[:12]}")
    try:
        stack.objects.put(head, b"")
    except AccessDenied:
        return  # the policy refuses the write, as it should
    stack.objects.delete(head)
    hint = "the bucket policy was changed; deploy the stack again"
    yield Symptom("bucket", "the bucket accepts an unconditional write of a head, which can lose a commit", hint)


def _whole_way(stack: Stack) -> Iterator[Symptom]:
    """Post an event, and wait until a tick has applied it."""
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
        found = read(TickList, stack.api.ask("GET", f"/api/towns/{TOWN}/ticks"))
        return any(event["event_id"] == event_id for tick in found.ticks for event in tick.row["outputs"]["events"])

    if not stack.wait(applied):
        hint = "follow docs/runbook/tick-missed.md and docs/runbook/town-waits-long.md"
        yield Symptom(
            "synthetic town", f"the event {event_id} of town {TOWN} was accepted but not applied in time", hint
        )
