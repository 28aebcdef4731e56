"""Choosing the runtime that starts a deployment's agents. Imported only if the deployment has one."""

from collections.abc import Callable

from functions.settings import AgentTasks, WorkerSettings
from shared.adapters.control_keys import ControlKeys
from shared.adapters.control_server import API_VARIABLE, ControlServerRuntime
from shared.adapters.ecs_runtime import EcsAgents, EcsContainers
from shared.adapters.ecs_tasks import EcsSettings, EcsTasks
from shared.adapters.rotated_secret import RotatedSecret
from shared.adapters.s3_objects import S3Objects
from shared.adapters.s3_shelf import S3Shelf
from shared.adapters.town_containers import FixedAddresses
from shared.adapters.town_tokens import Mint
from shared.ports.clock import Clock
from shared.ports.runtime import AgentRuntime, TownContainers
from shared.ports.secrets import Secrets
from shared.ports.tokens import MintToken


def runtime_of(
    settings: WorkerSettings, *, clock: Clock, secrets: Secrets | None, objects: S3Objects
) -> AgentRuntime | None:
    """External control servers or Amazon ECS tasks; None if the settings name neither."""
    mint, key_of = _mint(settings, clock), _key_of(secrets)

    def behind(containers: TownContainers) -> ControlServerRuntime:
        return ControlServerRuntime(containers, mint=mint, key_of=key_of, api=settings.agents_api)

    if settings.control_server is not None:
        return behind(FixedAddresses(settings.control_server))
    if settings.ecs is None:
        return None
    tasks = EcsTasks(ecs_settings(settings.ecs, api=settings.agents_api))
    if settings.ecs.one_task_per == "town":
        return behind(EcsContainers(tasks, key_of=key_of))
    shelf = S3Shelf(lambda: objects.client, settings.town_bucket)
    return EcsAgents(tasks, shelf=shelf, mint=mint, key_of=key_of, api=settings.agents_api)


def ecs_settings(ecs: AgentTasks, *, api: str | None) -> EcsSettings:
    """The tasks as the adapter of ECS knows them; `api` is the base URL that agents report to."""
    return EcsSettings(
        cluster=ecs.cluster,
        task_definition=ecs.task_definition,
        container=ecs.container,
        subnets=ecs.subnets,
        security_groups=ecs.security_groups,
        capacity=ecs.capacity,
        port=ecs.port,
        assign_public_ip=ecs.public_ip,
        environment={} if api is None else {API_VARIABLE: api},
    )


def _mint(settings: WorkerSettings, clock: Clock) -> MintToken | None:
    """Makes the tokens with which agents and containers report; None if the settings name no key."""
    if settings.token_secret is None:
        return None
    return Mint(RotatedSecret(settings.token_secret, clock, settings.secrets_endpoint).values, clock)


def _key_of(secrets: Secrets | None) -> Callable[[str], str | None]:
    """Finds the key that a town's control server requires of its callers."""
    return (lambda _: None) if secrets is None else ControlKeys(secrets)
