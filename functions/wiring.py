"""Composition: which adapter implements which port in the functions. Built once for each cold start."""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from functions import log, room
from functions.settings import (
    CredentialsSettings,
    DebugSettings,
    ErrorSettings,
    FunctionSettings,
    QueueSettings,
    StoreSettings,
    WorkerSettings,
)
from shared.adapters import ids
from shared.adapters.clock import SystemClock, monotonic_seconds
from shared.adapters.s3_objects import S3Objects
from shared.ports.agent_logs import AgentLogs
from shared.ports.alerts import Alerts
from shared.ports.clock import Clock
from shared.ports.forge import MergeProver, SourceForge
from shared.ports.metrics import Metrics
from shared.ports.queue import Queue
from shared.ports.runtime import AgentRuntime
from shared.ports.secrets import Secrets
from shared.ports.steps import drive
from shared.ports.town_past import TownPast
from shared.runner.clock_guard import ClockGuard
from shared.runner.perform import Outside
from shared.runner.surroundings import Surroundings
from shared.storage import keys
from shared.storage.towns import ObjectTownStore
from shared.telemetry.alert_log import AlertLog
from shared.telemetry.alerts import EveryAlert, SeldomAlerts

if TYPE_CHECKING:
    from shared.adapters.agent_credentials import AgentCredentials
    from shared.adapters.rotated_secret import RotatedSecret
    from shared.adapters.sns_mail import SnsMail
    from shared.adapters.table_objects import TableObjects
    from shared.domain.notice_orders import NoticeOrder
    from shared.ports.notices import Untold
    from shared.storage.restore import KeptPast
    from shared.telemetry.emf import EmfMetrics

CLOCK: Final[Clock] = SystemClock()
_RELEASE: Final = Path(__file__).with_name("release.txt")


@cache
def release() -> str:
    """The commit that `make build` stored in the bundle, as in `v0.2.0-3-g1a2b3c4`; `unknown` outside a bundle."""
    return _RELEASE.read_text(encoding="ascii").strip() if _RELEASE.is_file() else "unknown"


def tell_bug(error: Exception | SystemExit) -> None:
    """Report an unexpected error of a request: a log line, and Sentry if it is configured. Neither gets a text of the error."""
    _tell("request.broken", error)


def tell_failure(error: Exception | SystemExit) -> None:
    """Report the error with which a function ends, as `tell_bug` does."""
    _tell("function.failed", error)


def _tell(event: str, error: Exception | SystemExit) -> None:
    log.error_told(event, error)
    if watch_errors():
        from shared.telemetry import errors  # noqa: PLC0415 - as above

        errors.tell(error)


def objects_of(settings: StoreSettings) -> S3Objects:
    """The objects in the bucket, and what waits in the table. All callers in this environment share one client of each."""
    return _objects_of(settings.town_bucket, settings.store_endpoint, settings.waiting_table, settings.table_endpoint)


@cache
def _objects_of(bucket: str, endpoint_url: str | None, table: str | None, table_endpoint: str | None) -> S3Objects:
    def waiting(bodies: S3Objects) -> "TableObjects | None":
        if table is None:
            return None
        from shared.adapters.table_objects import TableObjects  # noqa: PLC0415 - a bucket may keep what waits
        from shared.storage.large_batches import BODIES  # noqa: PLC0415 - as above

        return TableObjects(table, bodies, spread=keys.DUE, large=BODIES, endpoint_url=table_endpoint)

    return S3Objects(bucket, endpoint_url=endpoint_url, kind_of=keys.kind_of, waiting=waiting)


def store(settings: StoreSettings) -> ObjectTownStore:
    """The towns of the bucket, as far as their images fit into this function. Makes no request."""
    largest = room.largest_here(settings.aws_lambda_function_memory_size)
    return ObjectTownStore(objects_of(settings), largest=largest)


def agent_logs(settings: StoreSettings) -> AgentLogs:
    """The logs of agents in the bucket."""
    from shared.storage.agent_logs import StoredLogs  # noqa: PLC0415 - only some requests of the debug API read logs

    return StoredLogs(objects_of(settings))


def past(settings: StoreSettings) -> TownPast:
    """The retained past of the bucket's towns. It caches its listings, so it serves only one request."""
    from shared.history.retained_past import StoredPast  # noqa: PLC0415 - only the debug API reads the past

    objects = objects_of(settings)
    return StoredPast(objects, objects)


def kept_past(settings: StoreSettings, town_id: str) -> "KeptPast":
    """The objects of one town, with their past versions."""
    from shared.storage.restore import KeptPast  # noqa: PLC0415 - only the debug API reads the past

    objects = objects_of(settings)
    return KeptPast(objects, objects, town_id)


def proven_store(settings: StoreSettings) -> ObjectTownStore:
    """The towns of the bucket, for functions that commit. A store that is not AWS must first pass the capability probe.

    Raises StoreIncapable. Buckets in AWS are checked by `townctl doctor --stack`.
    """
    if settings.store_endpoint is not None:
        from shared.storage.probe import prove_conditional_writes  # noqa: PLC0415 - not at AWS

        objects = objects_of(settings)
        drive(prove_conditional_writes(objects, ids.batch_id()))
    return store(settings)


@cache
def watch_errors() -> bool:
    """Start logging as the deployment's level says, and sending errors to Sentry if it names a valid DSN; returns whether it does.

    Call it when a handler is loaded. Later calls only return the answer. An invalid DSN is only a line in the log, because
    telemetry must never stop a function.
    """
    named = ErrorSettings.from_environment()
    log.start(named.log_level)
    if not named.dsn:
        return False
    from shared.telemetry import errors  # noqa: PLC0415 - takes a tenth of a second, and most deployments do not use it

    try:
        errors.start(named.dsn, stage=named.stage, release=release())
    except ValueError:
        log.setting_ignored("SENTRY_DSN")
        return False
    return True


def schedule_watched() -> AbstractContextManager[None]:
    """Report a scheduled call and its outcome to Sentry's monitor; without Sentry, a no-op."""
    if not watch_errors():
        return nullcontext()
    from shared.telemetry import errors  # noqa: PLC0415 - as above

    return errors.schedule_watched()


def alerts() -> Alerts:
    """Where alerts go: to the log, and to Sentry if the deployment names a DSN."""
    lines = AlertLog(log.write_line, CLOCK)
    if not watch_errors():
        return SeldomAlerts(lines, CLOCK)
    from shared.telemetry import errors  # noqa: PLC0415 - as above

    return SeldomAlerts(EveryAlert(lines, errors.SentryAlerts()), CLOCK)


def metrics(settings: FunctionSettings) -> "EmfMetrics":
    """Where metrics go: to the log, from which CloudWatch makes the series of the deployment's profile."""
    from shared.telemetry.emf import EmfMetrics  # noqa: PLC0415 - not every function counts
    from shared.telemetry.profiles import SMALL  # noqa: PLC0415 - as above

    series = SMALL if settings.profile == "small" else None
    return EmfMetrics(log.write_line, stage=settings.stage, series=series)


def queue(settings: QueueSettings) -> Queue:
    """The queue of wakes."""
    from shared.adapters.sqs_queue import SqsQueue  # noqa: PLC0415 - only some functions have a queue

    return SqsQueue(settings.queue_url, endpoint_url=settings.queue_endpoint)


def surroundings(
    settings: StoreSettings, towns: ObjectTownStore, *, alerts: Alerts | None = None, metrics: Metrics | None = None
) -> Surroundings:
    """Everything outside a town that a run needs. Functions that perform no effects get no runtime and no forge."""
    return Surroundings(
        store=towns,
        clock=CLOCK,
        guard=clock_guard(settings, alerts=alerts),
        outside=outside(settings) if isinstance(settings, WorkerSettings) else Outside(),
        alerts=alerts,
        metrics=metrics,
        restore_window=settings.restore_window,
        self_check_share=settings.self_check_percent / 100 if isinstance(settings, WorkerSettings) else 0,
        fleet_channels=_fleet_channels(settings),
    )


def _fleet_channels(settings: StoreSettings) -> tuple[str, ...]:
    """The channels on which people are told of every town of the deployment; those that tick towns, or try it, need them."""
    if not isinstance(settings, WorkerSettings | DebugSettings) or settings.notice_topic is None:
        return ()
    from shared.domain.notices import FleetChannels  # noqa: PLC0415 - few deployments have one

    return FleetChannels(mail=True).names


def clock_guard(settings: StoreSettings, *, alerts: Alerts | None) -> ClockGuard:
    """Compares this environment's clock with the bucket's."""
    objects = objects_of(settings)
    return ClockGuard(CLOCK, objects.time, monotonic_seconds, alerts=alerts)


def outside(settings: WorkerSettings) -> Outside:
    """The adapters that effects call. Without an adapter, an effect fails with the typed error of its kind."""
    runtime, forge = _runtime(settings), _forge(settings)
    has_channels = settings.secrets_prefix is not None or settings.notice_topic is not None
    notices = _ChannelsOfDeployment(settings) if has_channels else None
    return Outside(runtime=runtime, forge=forge, prover=_prover(runtime, forge), notices=notices)


class _ChannelsOfDeployment:
    """The Notices port of a deployment: the webhooks of its towns, and mail. Most runs send none, so clients are imported late."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings

    def send(self, order: "NoticeOrder", *, effect_id: str) -> "Untold | None":
        """Send one notice on its channel."""
        from shared.adapters.notices import ChannelsToPeople  # noqa: PLC0415 - as above
        from shared.domain.notices import FleetChannels  # noqa: PLC0415 - as above

        settings, topic = self._settings, self._settings.notice_topic
        fleet = FleetChannels(api=settings.agents_api, mail=topic is not None)
        mail = None if topic is None else _mail_to(topic)
        channels = ChannelsToPeople(fleet, clock=CLOCK, secrets=_secrets(settings), mail=mail, link=self._link)
        return channels.send(order, effect_id=effect_id)

    def _link(self, order: "NoticeOrder") -> str | None:
        """The link with which a person acknowledges the escalation of a notice."""
        from shared.adapters.escalation_links import LinkMaker  # noqa: PLC0415 - as above

        api, secret = self._settings.agents_api, self._settings.token_secret
        if api is None or secret is None:
            return None
        return LinkMaker(api, _token_keys(secret, self._settings.secrets_endpoint).values, CLOCK)(order)


@cache
def _token_keys(secret: str, endpoint_url: str | None) -> "RotatedSecret":
    """The keys of town tokens and links. All callers in this environment share one client and one cache."""
    from shared.adapters.rotated_secret import RotatedSecret  # noqa: PLC0415 - only where notices are sent

    return RotatedSecret(secret, CLOCK, endpoint_url)


@cache
def _mail_to(topic: str) -> "SnsMail":
    """Mail to the subscribers of a topic. All callers in this environment share one client."""
    from shared.adapters.sns_mail import SnsMail  # noqa: PLC0415 - only where mail is sent

    return SnsMail(topic)


def _prover(runtime: AgentRuntime | None, forge: SourceForge | None) -> MergeProver | None:
    """What checks whether a merge has happened: the forge, else the git of the town's control server."""
    from shared.adapters.control_server import ControlServerRuntime  # noqa: PLC0415 - only a worker performs effects
    from shared.adapters.provers import Provers  # noqa: PLC0415 - as above

    if not isinstance(runtime, ControlServerRuntime):
        return forge
    return Provers([runtime] if forge is None else [forge, runtime])


def _runtime(settings: WorkerSettings) -> AgentRuntime | None:
    if settings.control_server is None and settings.ecs is None:
        return None
    from functions.runtimes import runtime_of  # noqa: PLC0415 - most functions start no agents

    objects = objects_of(settings)
    return runtime_of(settings, clock=CLOCK, secrets=_secrets(settings), objects=objects)


def _secrets(settings: WorkerSettings) -> Secrets | None:
    if settings.secrets_prefix is None:
        return None
    return _secrets_below(settings.secrets_prefix, settings.secrets_endpoint)


@cache
def _secrets_below(prefix: str, endpoint_url: str | None) -> Secrets:
    """The secrets below a prefix. All callers in this environment share one client and one cache."""
    from functions.secret_stores import secrets_below  # noqa: PLC0415 - only for functions that perform effects

    return secrets_below(prefix, CLOCK, endpoint_url=endpoint_url)


def agent_credentials(settings: CredentialsSettings) -> "AgentCredentials":
    """Where the credentials of agents come from."""
    from shared.adapters.agent_credentials import AgentCredentials  # noqa: PLC0415 - only for the credentials API
    from shared.adapters.forge_hosts import USUAL_HOSTS, ForgeHost  # noqa: PLC0415 - as above
    from shared.adapters.github.app import GitHubApps  # noqa: PLC0415 - as above

    own = (ForgeHost.from_text(text) for text in settings.forge_hosts)
    secrets = _secrets_below(settings.secrets_prefix, settings.secrets_endpoint)
    return AgentCredentials(secrets, hosts=(*USUAL_HOSTS, *own), apps=GitHubApps(secrets, CLOCK))


def _forge(settings: WorkerSettings) -> SourceForge | None:
    secrets = _secrets(settings)
    if secrets is None:
        return None
    from shared.adapters.forge_hosts import USUAL_HOSTS, ForgeHost  # noqa: PLC0415 - as below
    from shared.adapters.forges import Forges  # noqa: PLC0415 - a deployment may use no forge
    from shared.adapters.github.app import GitHubApps  # noqa: PLC0415 - as above

    own = (ForgeHost.from_text(text) for text in settings.forge_hosts)
    return Forges(secrets, CLOCK, hosts=(*USUAL_HOSTS, *own), apps=GitHubApps(secrets, CLOCK))
