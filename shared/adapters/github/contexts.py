"""The checks of a commit, as GitHub's GraphQL shows them, and what all answers of GitHub have in common."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, populate_by_name=True)


class Page(Answer):
    """Where a list goes on."""

    has_next: bool = Field(alias="hasNextPage")
    end: str | None = Field(alias="endCursor", default=None)


class _App(Answer):
    slug: str


class _Workflow(Answer):
    name: str


class _WorkflowRun(Answer):
    event: str
    workflow: _Workflow


class _Suite(Answer):
    number: int | None = Field(alias="databaseId")
    app: _App | None
    run: _WorkflowRun | None = Field(alias="workflowRun")


class CheckContext(Answer):
    """A check run, or a legacy status (`context`, `state`)."""

    kind: Literal["CheckRun", "StatusContext"] = Field(alias="__typename")
    number: int | None = Field(alias="databaseId", default=None)
    name: str = ""
    status: str | None = None
    conclusion: str | None = None
    started_at: str | None = Field(alias="startedAt", default=None)
    completed_at: str | None = Field(alias="completedAt", default=None)
    suite: _Suite | None = Field(alias="checkSuite", default=None)
    context: str = ""
    state: str | None = None
    created_at: str | None = Field(alias="createdAt", default=None)
    is_required: bool = Field(alias="isRequired", default=False)


class Contexts(Answer):
    """One page of the checks of a commit. A check that GitHub refuses is null."""

    nodes: list[CheckContext | None]
    page: Page = Field(alias="pageInfo")


class Rollup(Answer):
    """All checks of a commit."""

    contexts: Contexts
