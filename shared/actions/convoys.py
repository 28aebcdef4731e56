"""Actions on convoys: progress, landing, the end."""

from dataclasses import dataclass
from typing import ClassVar

from shared.actions.base import Action, Want


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateConvoyProgress(Action):
    """Store how far a convoy is."""

    type: ClassVar[str] = "update_convoy_progress"

    convoy_id: str
    closed_beads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetConvoyReadyToLand(Action):
    """Note that the tasks are done; landing starts in a later tick."""

    type: ClassVar[str] = "set_convoy_ready_to_land"

    convoy_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateLandingMr(Action):
    """Put the feature branch of a convoy up for landing."""

    type: ClassVar[str] = "create_landing_mr"

    convoy_id: str
    rig_id: str
    feature_branch: str
    target_branch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseConvoy(Action):
    """The convoy landed, or all of its tasks did."""

    type: ClassVar[str] = "close_convoy"

    convoy_id: str

    def wants(self) -> tuple[Want, ...]:
        """The convoy closed."""
        return ((("bead", self.convoy_id), "closed"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class FailConvoy(Action):
    """The convoy can not land."""

    type: ClassVar[str] = "fail_convoy"

    convoy_id: str
    reason: str

    def wants(self) -> tuple[Want, ...]:
        """The convoy failed."""
        return ((("bead", self.convoy_id), "failed"),)
