"""The story of a bead or agent in chapters: waited, each attempt, each recovery, review; with what is told of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from shared.questions.story import StoryEntry

ChapterKind = Literal["waited", "attempt", "recovery", "review", "worked", "rested", "ended"]
_SAID_TWICE: Final = frozenset(
    {"hooked", "unhooked", "status_changed", "agent_spawned", "closed", "agent_exited", "assigned"}
)
"""Audit lines that repeat what a rule, an event or an observation of the same tick says."""


@dataclass
class Chapter:
    """A part of a life. `about` is the agent of an attempt, or the bead that an agent worked on.

    An attempt has `failed` if the bead was taken back from its agent, and what followed it, if the bead then failed for good.
    """

    kind: ChapterKind
    start: datetime
    number: int = 0
    about: str | None = None
    end: datetime | None = None
    failed: bool = False
    crashed_at: datetime | None = None
    entries: list[StoryEntry] = field(default_factory=list)

    def length(self, now: datetime) -> timedelta:
        """How long it took so far."""
        return (self.end or now) - self.start


def chapters_of(story: Sequence[StoryEntry], *, is_agent: bool) -> list[Chapter]:
    """The story of a bead or agent, divided where an agent took it or was taken off it, and where its status changed."""
    if not story:
        return []
    found = [Chapter("rested" if is_agent else "waited", story[0].time)]
    attempts = 0
    for moment in _moments(story):
        last = found[-1]
        turn = _turn(moment, is_agent=is_agent)
        if turn is not None:
            kind, about = turn
            if kind in ("attempt", "worked"):
                attempts += 1
            if not (last.kind == kind and last.about == about and kind not in ("attempt", "worked")):
                last.end = moment[0].time
                opened = Chapter(kind, moment[0].time, attempts, about)
                if kind == "recovery":
                    last.failed = True
                found.append(opened)
        target = last if turn is not None and turn[0] in ("review", "ended") else found[-1]
        for entry in moment:
            if entry.is_crash:
                target.crashed_at, target.failed = entry.time, True
        target.entries += _told(moment)
    for chapter, following in pairwise(found):
        if chapter.kind == "recovery" and following.kind == "ended":
            chapter.failed = following.about == "failed"
    return [
        each
        for each in found
        if each.entries or each.kind == "ended" or each.length(each.end or each.start) > timedelta(0)
    ]


def _moments(story: Iterable[StoryEntry]) -> list[list[StoryEntry]]:
    """The entries that happened at the same time."""
    found: list[list[StoryEntry]] = []
    for entry in story:
        if found and found[-1][0].time == entry.time:
            found[-1].append(entry)
        else:
            found.append([entry])
    return found


def _turn(moment: Sequence[StoryEntry], *, is_agent: bool) -> tuple[ChapterKind, str | None] | None:
    """The chapter that begins at a moment; None if the present one goes on."""
    hooked = next((entry for entry in moment if entry.code == "hooked" and entry.by == "audit"), None)
    if hooked is not None:
        return ("worked" if is_agent else "attempt"), hooked.what.rpartition(" ")[2]
    if is_agent:
        released = any(entry.code == "unhooked" and entry.by == "audit" for entry in moment)
        return ("rested", None) if released else None
    statuses = [
        entry.what.rpartition("-> ")[2].split(" ")[0]
        for entry in moment
        if entry.code == "status_changed" and entry.by == "audit"
    ]
    if "in_review" in statuses:
        return "review", None
    if "closed" in statuses or "failed" in statuses:
        return "ended", "failed" if "failed" in statuses else "closed"
    if "open" in statuses:
        return "recovery", None
    return None


def _told(moment: Sequence[StoryEntry]) -> list[StoryEntry]:
    """What is told of a moment: each fact once."""
    spoken = [entry for entry in moment if entry.by != "audit"]
    return [entry for entry in moment if entry.by != "audit" or not spoken or entry.code not in _SAID_TWICE]
