"""Fakes of the ports for tests: a clock that stands still, a runtime and a forge with state, recorded alerts and metrics.

Each fake does what it is asked and keeps the result, so that a test checks the state afterwards: which processes run, what
was merged. A test that needs failures plans them:

    runtime.fails("stop", NotDone("no answer", passing=True), times=2)   # nothing is done, this is the answer
    runtime.loses_answer("start")                                        # it is done, but the answer is lost
    runtime.fails("status", TimeoutError("late"), times=None)            # from now on, always

All fakes are safe for threads: the real loop calls many agents at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Literal, Self

from shared.adapters.memory_objects import MemoryObjects
from shared.domain.alert import Alert
from shared.domain.orders import ModelOrder, StartOrder, TokenOrder
from shared.domain.processes import ProcessState, ProcessStatus, SignOfLife
from shared.domain.repositories import pull_request_at
from shared.ports.forge import (
    Accepted,
    Asker,
    BranchUpdate,
    Feedback,
    ForgeError,
    Identity,
    MergeClaim,
    Merged,
    NotMerged,
    Proof,
    PullRequest,
    Queued,
    RepositoryAt,
)
from shared.ports.metrics import RunFigures
from shared.ports.runtime import Done, NotDone, Started, StartRejected, StartUnknown
from shared.ports.secrets import Secret
from shared.ports.steps import Call, Steps


class BesideATable(MemoryObjects):
    """A bucket whose inboxes and due markers are elsewhere, if it has a table."""

    table: Self | None = None

    @property
    def waiting(self) -> Self:
        return self.table or self


def a_bucket_beside_a_table(now: Callable[[], datetime] | None = None) -> BesideATable:
    """Both empty. `now` dates what is written."""
    bucket = BesideATable(now=now)
    bucket.table = BesideATable(now=now)
    return bucket


@dataclass
class FakeClock:
    """A clock that shows `at` until it is moved. Sleeping moves it."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def move(self, *, ms: int = 0, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0) -> None:
        """Let time pass."""
        self.at += timedelta(milliseconds=ms, seconds=seconds, minutes=minutes, hours=hours, days=days)


def plain_time(clock: FakeClock) -> Callable[[], Steps[datetime]]:
    """The time of a run whose clock nothing compares with a store's."""

    def time() -> Steps[datetime]:
        now: datetime = yield Call("clock", clock.now)
        return now

    return time


@dataclass
class Faults:
    """What the next calls of each verb answer instead of the truth: (answer, how often, whether the call is carried out)."""

    planned: dict[str, list[tuple[Any, int | None, bool]]] = field(default_factory=dict)

    def plan(self, verb: str, answer: Any, *, times: int | None, done: bool) -> None:
        self.planned.setdefault(verb, []).append((answer, times, done))

    def meet(self, verb: str, do: Callable[[], Any]) -> Any:
        """Answer a call: the truth, or what was planned. A planned exception is raised."""
        queue = self.planned.get(verb)
        if not queue:
            return do()
        answer, times, done = queue[0]
        if times is not None:
            queue[0] = (answer, times - 1, done)
            if times == 1:
                queue.pop(0)
        if done:
            do()
        if isinstance(answer, Exception):
            raise answer
        return answer


RuntimeVerb = Literal[
    "start", "stop", "status", "heard", "message", "update_model", "refresh_token", "stop_container", "container_state"
]


@dataclass(frozen=True)
class FakeProcess:
    """The newest process of an agent."""

    process_id: str
    generation: int
    status: ProcessState = "running"
    exit_reason: str | None = None


@dataclass(frozen=True)
class CallSeen:
    """One call that reached the runtime or the forge, faulty or not."""

    verb: str
    subject: str
    effect_id: str


@dataclass
class FakeRuntime:
    """Agent processes in a dictionary, by (town, agent)."""

    processes: dict[tuple[str, str], FakeProcess] = field(default_factory=dict)
    orders: list[StartOrder] = field(default_factory=list)
    messages: dict[str, tuple[str, str]] = field(default_factory=dict)
    models: dict[str, str | None] = field(default_factory=dict)
    calls: list[CallSeen] = field(default_factory=list)
    container: str = "running"
    sign_of: Callable[[str, str], SignOfLife | None] = lambda _town_id, _agent_id: None
    """What is said about an agent that runs; nothing, as long as no test says otherwise."""
    taken: dict[tuple[str, str], str] = field(default_factory=dict)
    """The newest sign of life of each agent that a committed tick has."""
    tokens: int = 0
    knows_who_runs: bool = False
    """Whether a message to an agent that does not run is refused, as every real runtime does."""
    _faults: Faults = field(default_factory=Faults)
    _answered: dict[str, Started] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    # what a test does to it

    def fails(self, verb: RuntimeVerb, answer: Any, *, times: int | None = 1) -> None:
        """The next calls of this verb do nothing and give this answer; an exception is raised. `times` None: always."""
        self._faults.plan(verb, answer, times=times, done=False)

    def loses_answer(self, verb: RuntimeVerb, *, times: int | None = 1) -> None:
        """The next calls of this verb are carried out, but their answers are lost."""
        answer = StartUnknown("time-out") if verb == "start" else NotDone("time-out", passing=True)
        self._faults.plan(verb, answer, times=times, done=True)

    def recovers(self, verb: RuntimeVerb) -> None:
        """The next calls of this verb do what they should."""
        self._faults.planned.pop(verb, None)

    def exits(
        self, agent_id: str, *, status: ProcessState = "exited", reason: str | None = None, town_id: str = "t1"
    ) -> None:
        """The process of an agent ends by itself."""
        key = (town_id, agent_id)
        self.processes[key] = replace(self.processes[key], status=status, exit_reason=reason)

    def forgets(self, agent_id: str, *, town_id: str = "t1") -> None:
        """The runtime no longer knows the agent."""
        self.processes.pop((town_id, agent_id), None)

    # what a test asks it

    def seen(self, verb: RuntimeVerb, subject: str | None = None) -> list[CallSeen]:
        """The calls of a verb, in order; with `subject`, only those about one agent."""
        return [call for call in self.calls if call.verb == verb and subject in (None, call.subject)]

    def running(self) -> dict[str, int]:
        """The generation of every running agent process, by agent id."""
        return {
            agent_id: process.generation
            for (_, agent_id), process in sorted(self.processes.items())
            if process.status in ("starting", "running")
        }

    # the port

    def start(self, order: StartOrder, *, effect_id: str) -> Started | StartRejected | StartUnknown:
        return self._answer("start", order.agent_id, effect_id, lambda: self._start(order, effect_id))

    def stop(self, town_id: str, agent_id: str, *, generation: int, effect_id: str) -> Done | NotDone:
        return self._answer("stop", agent_id, effect_id, lambda: self._stop((town_id, agent_id), generation))

    def status(self, town_id: str, agent_id: str) -> ProcessStatus:
        return self._answer("status", agent_id, "", lambda: self._status((town_id, agent_id)))

    def heard(self, town_id: str, seen: Sequence[tuple[str, ProcessStatus]]) -> None:
        self._answer("heard", town_id, "", lambda: self._heard(town_id, seen))

    def message(self, town_id: str, agent_id: str, *, message_id: str, text: str, mode: str) -> Done | NotDone:
        return self._answer("message", agent_id, message_id, lambda: self._message(agent_id, message_id, text))

    def update_model(self, order: ModelOrder, *, effect_id: str) -> Done | NotDone:
        agent_id = order.agent_id
        return self._answer("update_model", agent_id, effect_id, lambda: self._update_model(agent_id, order.model))

    def refresh_token(self, order: TokenOrder, *, effect_id: str) -> Done | NotDone:
        return self._answer("refresh_token", "container", effect_id, self._refresh_token)

    def stop_container(self, town_id: str, *, effect_id: str) -> Done | NotDone:
        return self._answer("stop_container", "container", effect_id, self._stop_container)

    def container_state(self, town_id: str) -> str:
        state: str = self._answer("container_state", "container", "", lambda: self.container)
        return state

    def _answer(self, verb: RuntimeVerb, subject: str, effect_id: str, do: Callable[[], Any]) -> Any:
        with self._lock:
            self.calls.append(CallSeen(verb, subject, effect_id))
            return self._faults.meet(verb, do)

    def _start(self, order: StartOrder, effect_id: str) -> Started:
        known = self._answered.get(effect_id)
        if known is not None:
            return known
        self.orders.append(order)
        if order.message_id is not None:
            self.messages.setdefault(order.message_id, (order.agent_id, order.message or ""))
        process_id = f"process-{effect_id[:12]}"
        self.processes[order.town_id, order.agent_id] = FakeProcess(process_id, order.generation)
        self._answered[effect_id] = Started(process_id)
        return self._answered[effect_id]

    def _stop(self, key: tuple[str, str], generation: int) -> Done:
        process = self.processes.get(key)
        if process is not None and process.generation == generation:
            self.processes[key] = replace(process, status="exited", exit_reason="stopped")
        return Done()

    def _status(self, key: tuple[str, str]) -> ProcessStatus:
        process = self.processes.get(key)
        if process is None:
            return ProcessStatus("not_found")
        sign = self.sign_of(*key) if process.status == "running" else None
        return ProcessStatus(process.status, process.exit_reason, process.generation, sign)

    def _heard(self, town_id: str, seen: Sequence[tuple[str, ProcessStatus]]) -> None:
        for agent_id, status in seen:
            assert status.sign is not None
            self.taken[town_id, agent_id] = status.sign.at

    def _message(self, agent_id: str, message_id: str, text: str) -> Done | NotDone:
        if self.knows_who_runs and message_id not in self.messages and agent_id not in self.running():
            return NotDone("the agent is not running", passing=True)
        self.messages.setdefault(message_id, (agent_id, text))
        return Done()

    def _update_model(self, agent_id: str, model: str | None) -> Done:
        self.models[agent_id] = model
        return Done()

    def _refresh_token(self) -> Done:
        self.tokens += 1
        return Done()

    def _stop_container(self) -> Done:
        self.container = "stopped"
        return Done()


GREEN = Feedback()
"""Nothing stands between a pull request and its merge."""


_NOT_MERGEABLE = ("dirty", "blocked", "draft")
ForgeVerb = Literal["pull_request", "merge", "update_branch", "dequeue", "request_review", "proof"]


@dataclass
class FakeForge:
    """Pull requests by URL. A pull request that was never opened here is answered with 404.

    One with `has_queue` is not merged but put into the queue. `contains` are the commits of each branch; a branch that is not
    listed cannot be looked at. The id of a repository is its name. `asked_for_review` are the people who were asked, by URL.
    """

    pull_requests: dict[str, PullRequest] = field(default_factory=dict)
    contains: dict[str, set[str]] = field(default_factory=dict)
    asked_for_review: dict[str, list[str]] = field(default_factory=dict)
    calls: list[CallSeen] = field(default_factory=list)
    _faults: Faults = field(default_factory=Faults)
    _lock: Lock = field(default_factory=Lock)

    def opens(
        self,
        pr_url: str,
        *,
        head_sha: str = "head-1",
        mergeable_state: str = "clean",
        feedback: Feedback = GREEN,
        head: str = "gt/toast/1",
        base: str = "main",
    ) -> None:
        """Somebody opens a pull request from a branch of its repository into another, or pushes to it, or reviews it."""
        address = pull_request_at(pr_url)
        own = None if address is None else RepositoryAt(f"{address.repository.owner}/{address.repository.name}")
        identity = None if own is None else Identity(own, head, own, base, author="Toast")
        self.pull_requests[pr_url] = PullRequest(
            "open", head_sha=head_sha, mergeable_state=mergeable_state, feedback=feedback, identity=identity
        )

    def closes(self, pr_url: str) -> None:
        """Somebody closes it without merging."""
        self.pull_requests[pr_url] = replace(self.pull_requests[pr_url], state="closed")

    def fails(self, verb: ForgeVerb, answer: Any, *, times: int | None = 1) -> None:
        """The next calls of this verb do nothing and give this answer; an exception is raised. `times` None: always."""
        self._faults.plan(verb, answer, times=times, done=False)

    def loses_answer(self, verb: ForgeVerb, *, times: int | None = 1) -> None:
        """The next calls of this verb are carried out, but their answers are lost."""
        self._faults.plan(verb, ForgeError("transient", "time-out"), times=times, done=True)

    def seen(self, verb: ForgeVerb) -> list[CallSeen]:
        """The calls of a verb, in order."""
        return [call for call in self.calls if call.verb == verb]

    # the port

    def pull_request(self, asker: Asker, pr_url: str, *, want_feedback: bool) -> PullRequest | ForgeError:
        def read() -> PullRequest | ForgeError:
            found = self.pull_requests.get(pr_url)
            if found is None:
                return ForgeError("http", f"there is no pull request {pr_url}", http_status=404)
            rig = None if asker.repository is None else RepositoryAt(asker.repository)
            seen = replace(found, rig_repository=rig)
            return seen if want_feedback else replace(seen, feedback=None)

        return self._answer("pull_request", pr_url, "", read)

    def merge(
        self, asker: Asker, pr_url: str, *, head_sha: str | None, effect_id: str
    ) -> Merged | Queued | NotMerged | ForgeError:
        def merge() -> Merged | Queued | NotMerged | ForgeError:
            found = self.pull_requests.get(pr_url)
            if found is None:
                return ForgeError("http", f"there is no pull request {pr_url}", http_status=404)
            if found.state == "merged" and found.merge_sha is not None:
                return Merged(found.merge_sha)
            if found.state != "open" or head_sha not in (None, found.head_sha):
                if found.state == "open":
                    return NotMerged("the head moved", "head_moved")
                return NotMerged(f"it is {found.state}", "closed")
            if found.mergeable_state in _NOT_MERGEABLE:
                return NotMerged(f"it is {found.mergeable_state}")
            if found.has_queue:
                self.pull_requests[pr_url] = replace(found, in_queue=True)
                return Queued()
            sha = f"merge-of-{found.head_sha}"
            self.pull_requests[pr_url] = replace(found, state="merged", merge_sha=sha)
            return Merged(sha)

        return self._answer("merge", pr_url, effect_id, merge)

    def update_branch(self, asker: Asker, pr_url: str, *, head_sha: str) -> BranchUpdate | ForgeError:
        def update() -> BranchUpdate | ForgeError:
            found = self.pull_requests.get(pr_url)
            if found is None:
                return ForgeError("http", f"there is no pull request {pr_url}", http_status=404)
            if found.head_sha != head_sha:
                return BranchUpdate("refused", reason="the head moved")
            if not found.is_behind:
                return BranchUpdate("current", head=head_sha)
            head = f"{head_sha}+base"
            self.pull_requests[pr_url] = replace(
                found, head_sha=head, head_parents=(head_sha, "base"), is_behind=False, mergeable_state="clean"
            )
            return BranchUpdate("updated", head=head)

        return self._answer("update_branch", pr_url, "", update)

    def dequeue(self, asker: Asker, pr_url: str) -> Accepted | ForgeError:
        def leave() -> Accepted | ForgeError:
            found = self.pull_requests.get(pr_url)
            if found is None:
                return ForgeError("http", f"there is no pull request {pr_url}", http_status=404)
            self.pull_requests[pr_url] = replace(found, in_queue=False, queue_position=None)
            return Accepted()

        return self._answer("dequeue", pr_url, "", leave)

    def request_review(self, asker: Asker, pr_url: str, *, reviewers: tuple[str, ...]) -> Accepted | ForgeError:
        def request() -> Accepted | ForgeError:
            if pr_url not in self.pull_requests:
                return ForgeError("http", f"there is no pull request {pr_url}", http_status=404)
            self.asked_for_review.setdefault(pr_url, []).extend(reviewers)
            return Accepted()

        return self._answer("request_review", pr_url, "", request)

    def proof(self, asker: Asker, claim: MergeClaim) -> Proof | ForgeError:
        def look() -> Proof | ForgeError:
            commits = self.contains.get(claim.target_branch)
            if commits is None:
                return Proof(None, says=f"there is no branch {claim.target_branch}")
            found = next((each for each in (claim.head, claim.merge_commit) if each in commits), None)
            return Proof(found is not None, sha=found)

        return self._answer("proof", claim.target_branch, "", look)

    def _answer(self, verb: str, subject: str, effect_id: str, do: Callable[[], Any]) -> Any:
        with self._lock:
            self.calls.append(CallSeen(verb, subject, effect_id))
            return self._faults.meet(verb, do)


@dataclass
class FakeSecrets:
    """Secrets by name. `asked` are the names that were read, in order."""

    stored: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    trouble: Exception | None = None

    def get(self, name: str) -> Secret | None:
        self.asked.append(name)
        if self.trouble is not None:
            raise self.trouble
        return Secret(self.stored[name]) if name in self.stored else None


@dataclass
class RecordingAlerts:
    """Every alert that was raised, in order."""

    raised: list[Alert] = field(default_factory=list)

    def raise_all(self, alerts: Sequence[Alert]) -> None:
        self.raised.extend(alerts)

    def kinds(self) -> list[str]:
        """What kinds of alerts were raised, in order."""
        return [alert.kind for alert in self.raised]


@dataclass
class RecordingMetrics:
    """Every run whose figures were reported, in order."""

    runs: list[RunFigures] = field(default_factory=list)

    def tick_ran(self, report: RunFigures) -> None:
        self.runs.append(report)
