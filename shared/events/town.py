"""Events about the town itself: its rigs, its configuration, its escalations (spec/events.md 4.6)."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from shared.actions import NotifyMayor, UpdateAgentModel
from shared.actions.base import Action
from shared.domain.config import RigConfig, TownConfig, effective, first_problem, merged
from shared.domain.outcomes import ALREADY, MISSING, Applied, Rejected
from shared.domain.quoting import line
from shared.domain.repositories import is_local, name_of
from shared.domain.states import Role
from shared.events import speakers
from shared.events.base import Event, EventResult
from shared.events.brake import TownBroughtBack, TownPaused, TownStarted
from shared.events.fields import BodyText, FreeText, GitUrl, IdText, JsonObject, NonEmptyText, PriorityName
from shared.events.removals import RigRemoved
from shared.events.triage import TriageResolved
from shared.town import lookup
from shared.town.inbox import Fact
from shared.town.rows import Rig
from shared.town.town import Town
from shared.town.writing import escalations, rigs

_LONGEST_PATH: Final = 100
_RIGS_AT_MOST: Final = 100
_NO_PULL_REQUESTS: Final = "a local git_url has no pull requests: leave merge_strategy out or set it to direct"


class RigRegistered(Event):
    """A repository was added, or its name, address, branch or overrides changed. Values that are not given stay."""

    event_type: ClassVar[str] = "rig_registered"
    senders = frozenset({"operator"})

    rig_id: IdText
    name: Annotated[NonEmptyText, Field(max_length=100)]
    git_url: GitUrl
    default_branch: NonEmptyText | None = None
    config: JsonObject | None = None
    by: FreeText | None = None

    def overrides(self, known: Mapping[str, object] | None) -> dict[str, object] | None:
        """The overrides to store, given those that the rig has; None leaves them. Work in a local repository lands directly."""
        if not is_local(self.git_url):
            return self.config
        return {**((known if self.config is None else self.config) or {}), "merge_strategy": "direct"}

    def apply(self, fact: Fact, town: Town) -> EventResult:  # noqa: ARG002 - the signature of every event
        """Insert or update the rig. Another rig with its name is removed; if that rig has live beads, this event is rejected."""
        refusal = self._refusal(town)
        if refusal is not None:
            return EventResult(refusal)
        holder = rigs.named(town, self.name)
        if holder not in (None, self.rig_id):
            if rigs.has_live_beads(town, holder):
                return EventResult(Rejected("name in use"))
            rigs.remove(town, holder)
        self._store(town)
        return EventResult(Applied())

    def _refusal(self, town: Town) -> Rejected | None:
        if self.config is not None:
            problem = first_problem(RigConfig, self.config)
            if problem is not None:
                return _invalid(problem)
        stored = _stored_config(town)
        if is_local(self.git_url):
            if not stored.is_local:
                return Rejected("a local git_url needs agents on this machine (agent_runtime local)")
            if (self._config(town) or {}).get("merge_strategy") == "pr":
                return Rejected(_NO_PULL_REQUESTS)
        config = self._stored(town)
        if config is not None and _never_lands(stored, RigConfig.model_validate(config)):
            return _invalid("merge_strategy")
        return None

    def _config(self, town: Town) -> dict[str, object] | None:
        """The overrides that the rig will have; None if it is new and has none."""
        return self._known(town) if self.config is None else self.config

    def _stored(self, town: Town) -> dict[str, object] | None:
        asks = self.config is None and is_local(self.git_url)
        return self.overrides(self._known(town) if asks else None)

    def _known(self, town: Town) -> dict[str, object] | None:
        rig = town.rig(self.rig_id)
        return None if rig is None else _own(rig)

    def _store(self, town: Town) -> None:
        if rigs.exists(town, self.rig_id):
            self._forget_repository(town)
            rigs.update(
                town,
                self.rig_id,
                name=self.name,
                git_url=self.git_url,
                default_branch=self.default_branch,
                config=self._stored(town),
            )
            return
        rigs.create(
            town,
            self.rig_id,
            name=self.name,
            git_url=self.git_url,
            default_branch=self.default_branch or "main",
            config=self._stored(town) or {},
        )

    def _forget_repository(self, town: Town) -> None:
        """The next poll stores the forge's id anew, if the address changed or a person answers the wait `wrong_repository`."""
        known = town.rig(self.rig_id)
        same = known is not None and name_of(known.git_url) == name_of(self.git_url)
        if not same or rigs.is_at_wrong_repository(town, self.rig_id):
            rigs.pin_repository(town, self.rig_id, None)


class TownConfigured(Event):
    """Settings changed, of the town or values that rigs have of their own. Those of the town apply from the next tick on."""

    event_type: ClassVar[str] = "town_configured"
    senders = frozenset({"operator"})

    config: JsonObject = Field(default_factory=dict)
    rigs: Annotated[dict[IdText, JsonObject], Field(max_length=_RIGS_AT_MOST)] = Field(default_factory=dict)
    by: FreeText | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> Self:
        if "config" not in self.model_fields_set and "rigs" not in self.model_fields_set:
            raise PydanticCustomError("missing", "give config, rigs or both")
        return self

    def of_rig(self, rig_id: str, known: Mapping[str, object], git_url: str) -> dict[str, object]:
        """The values that a rig has of its own afterwards, given those that it has. Null takes one away."""
        wanted = _without_nulls(merged(dict(known), self.rigs[rig_id]))
        return {**wanted, "merge_strategy": "direct"} if is_local(git_url) else wanted

    def merged_into(self, stored: dict[str, object]) -> dict[str, object]:
        """The stored settings with the given ones."""
        return _without_removed_models(merged(stored, self.config))

    def apply(self, fact: Fact, town: Town) -> EventResult:  # noqa: ARG002 - the signature of every event
        """Merge the given settings into the stored ones, validate the result, and store all of it or nothing."""
        stored = town.keys.config
        wanted = self.merged_into(stored)
        problem = first_problem(TownConfig, wanted)
        if problem is not None:
            return EventResult(_invalid(problem))
        known = {rig.id: rig for rig in rigs.readable(town)}
        own = {
            rig_id: self.of_rig(rig_id, _own(rig), rig.git_url) for rig_id, rig in known.items() if rig_id in self.rigs
        }
        refusal = self._refusal(known, own)
        if refusal is not None:
            return EventResult(refusal)
        old, new = TownConfig.model_validate(stored), TownConfig.model_validate(wanted)
        configs = {rig_id: rig.config for rig_id, rig in known.items()}
        configs |= {rig_id: RigConfig.model_validate(values) for rig_id, values in own.items()}
        if _never_lands(new, None) or any(_never_lands(new, config) for config in configs.values()):
            return EventResult(_invalid("merge_strategy"))
        if not new.is_local and any(is_local(rig.git_url) for rig in known.values()):
            return EventResult(_invalid("agent_runtime"))
        if wanted != stored:
            town.keys.config = wanted
            town.config_changed = True
        for rig_id, values in own.items():
            rigs.update(town, rig_id, name=known[rig_id].name, git_url=known[rig_id].git_url, config=values)
        return EventResult(Applied(), returns=_tell_mayor_of_model(town, old, new))

    def _refusal(self, known: Mapping[str, Rig], own: Mapping[str, dict[str, object]]) -> Rejected | None:
        """Why the values of rigs cannot be stored."""
        for rig_id in self.rigs:
            if rig_id not in known:
                return Rejected(f"there is no rig {rig_id}")
            problem = first_problem(RigConfig, own[rig_id])
            if problem is not None:
                return _invalid(f"{rig_id}.{problem}")
            if is_local(known[rig_id].git_url) and self.rigs[rig_id].get("merge_strategy") == "pr":
                return Rejected(_NO_PULL_REQUESTS)
        return None


class EscalationRaised(Event):
    """Somebody asked for a person. This never creates triage work."""

    event_type: ClassVar[str] = "escalation_raised"
    senders = frozenset({"agent", "coordinator", "operator"})

    title: NonEmptyText
    body: BodyText | None = None
    severity: PriorityName
    category: FreeText | None = None
    rig_id: IdText | None = None

    @property
    def creates(self) -> int:
        """One bead."""
        return 1

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Create the escalation and tell the mayor."""
        if speakers.is_unknown(fact, town):
            return EventResult(MISSING)
        worker = None if fact.sender is None else speakers.worker(fact, town)
        if worker is not None and self.rig_id not in (None, worker.rig_id):
            return EventResult(Rejected("another rig than the agent's"))
        if self.rig_id is not None and not rigs.exists(town, self.rig_id):
            return EventResult(Rejected("unknown rig"))
        bead_id = escalations.escalate(
            town,
            self.title,
            severity=self.severity,
            category=self.category,
            body=self.body,
            rig_id=self.rig_id,
            created_by=speakers.by(fact, None),
        )
        message = f"Escalation ({self.severity}): {line(self.title)}"
        return EventResult(Applied(), returns=(NotifyMayor(subject=f"escalation:{bead_id}", message=message),))


class EscalationAcknowledged(Event):
    """A person, or the mayor, has seen an escalation; it is not raised again."""

    event_type: ClassVar[str] = "escalation_acknowledged"
    needs = ("bead_id",)
    senders = frozenset({"coordinator", "operator"})
    mayor_only = True

    by: FreeText | None = None

    def apply(self, fact: Fact, town: Town) -> EventResult:
        """Note the acknowledgement, and by whom. The first time is kept."""
        seen = escalations.acknowledge(town, fact.bead_id or "", speakers.named(fact, self.by))
        if seen == "missing":
            return EventResult(MISSING)
        return EventResult(ALREADY if seen == "already" else Applied())


def _invalid(path: str) -> Rejected:
    return Rejected(f"invalid config {path[:_LONGEST_PATH]}")


def _own(rig: Rig) -> dict[str, object]:
    """The values that a rig has of its own."""
    return rig.config.model_dump(mode="json", exclude_none=True)


def _without_nulls(values: Mapping[str, object]) -> dict[str, object]:
    """The values without those that are null, also in sections, and without sections of which nothing is left."""
    kept = {name: _without_nulls(value) if isinstance(value, dict) else value for name, value in values.items()}
    return {name: value for name, value in kept.items() if value is not None and value != {}}


def _stored_config(town: Town) -> TownConfig:
    """The stored configuration, which may be newer than the one of this tick."""
    return TownConfig.model_validate(town.keys.config)


def _never_lands(town_config: TownConfig, rig_config: RigConfig | None) -> bool:
    """Whether nothing could ever be merged: without code review a merge needs a pull request, and `direct` creates none."""
    settings = effective(town_config, rig_config)
    return settings.merge_strategy == "direct" and not settings.code_review


def _without_removed_models(config: dict[str, object]) -> dict[str, object]:
    """The configuration without roles whose model is null. Merging cannot remove a key, so null stands for removal."""
    models = config.get("role_models")
    if not isinstance(models, dict):
        return config
    return {**config, "role_models": {role: model for role, model in models.items() if model is not None}}


def _tell_mayor_of_model(town: Town, old: TownConfig, new: TownConfig) -> tuple[Action, ...]:
    model = effective(new, None).model_for(Role.MAYOR)
    mayor = lookup.mayor(town)
    if model == effective(old, None).model_for(Role.MAYOR) or mayor is None or not mayor.status.has_process:
        return ()
    return (UpdateAgentModel(agent_id=mayor.id, model=model or ""),)


TOWN_EVENTS: Final[tuple[type[Event], ...]] = (
    RigRegistered,
    RigRemoved,
    TownConfigured,
    TownPaused,
    TownStarted,
    EscalationRaised,
    EscalationAcknowledged,
    TriageResolved,
    TownBroughtBack,
)

__all__ = [
    "TOWN_EVENTS",
    "EscalationAcknowledged",
    "EscalationRaised",
    "RigRegistered",
    "RigRemoved",
    "TownBroughtBack",
    "TownConfigured",
    "TownPaused",
    "TownStarted",
    "TriageResolved",
]
