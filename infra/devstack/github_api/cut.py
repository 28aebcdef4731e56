"""Regenerate the slices of GitHub's descriptions: `python -m infra.devstack.github_api.cut OPENAPI_DIRECTORY GRAPHQL_DIRECTORY`.

The directories are the unpacked npm packages @octokit/openapi (23.0.2) and @octokit/graphql-schema (15.26.1), both MIT;
their licences are committed beside the slices. The slices contain only the parts that the reconciler and its demo use, without
prose.
"""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from graphql import (
    InterfaceTypeDefinitionNode,
    NamedTypeNode,
    ObjectTypeDefinitionNode,
    UnionTypeDefinitionNode,
    parse,
    print_ast,
)
from graphql.language import DocumentNode, TypeDefinitionNode, Visitor, visit

HERE: Final = Path(__file__).parent

OPERATIONS: Final = (
    ("/repos/{owner}/{repo}/pulls", "post"),
    ("/repos/{owner}/{repo}/pulls/{pull_number}", "get"),
    ("/repos/{owner}/{repo}/pulls/{pull_number}", "patch"),
    ("/repos/{owner}/{repo}/pulls/{pull_number}/merge", "put"),
    ("/repos/{owner}/{repo}/pulls/{pull_number}/comments", "post"),
    ("/repos/{owner}/{repo}/pulls/{pull_number}/update-branch", "put"),
    ("/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers", "post"),
    ("/repos/{owner}/{repo}/compare/{basehead}", "get"),
    ("/repos/{owner}/{repo}/commits/{ref}/status", "get"),
)
_BUILT_IN: Final = frozenset({"String", "Int", "Boolean", "ID", "Float"})
_PROSE: Final = frozenset({"description", "example", "examples", "externalDocs", "title", "summary"})

_PAGES: Final = ("nodes", "pageInfo", "totalCount")
KEPT: Final = {
    "Query": ("repository",),
    "Mutation": (
        "addComment",
        "addPullRequestReview",
        "addPullRequestReviewThreadReply",
        "resolveReviewThread",
        "enqueuePullRequest",
        "dequeuePullRequest",
        "disablePullRequestAutoMerge",
    ),
    "Repository": (
        "databaseId",
        "name",
        "nameWithOwner",
        "mergeCommitAllowed",
        "squashMergeAllowed",
        "rebaseMergeAllowed",
        "object",
        "pullRequest",
        "pullRequests",
    ),
    "PullRequestConnection": _PAGES,
    "PullRequest": (
        "id",
        "number",
        "title",
        "files",
        "url",
        "state",
        "author",
        "isDraft",
        "merged",
        "mergeable",
        "mergeStateStatus",
        "mergeCommit",
        "reviewDecision",
        "latestOpinionatedReviews",
        "headRefOid",
        "headRefName",
        "headRepository",
        "baseRef",
        "baseRefName",
        "baseRepository",
        "isMergeQueueEnabled",
        "isInMergeQueue",
        "mergeQueueEntry",
        "autoMergeRequest",
        "viewerCanMergeAsAdmin",
        "reviewThreads",
        "comments",
        "commits",
    ),
    "IssueCommentConnection": _PAGES,
    "IssueComment": ("author", "body"),
    "IssueCommentOrder": None,
    "Actor": ("login",),
    "User": ("login",),
    "Bot": ("login",),
    "GitObject": ("oid",),
    "Blob": ("oid",),
    "Tree": ("oid",),
    "Ref": ("name", "refUpdateRule", "rules"),
    "RefUpdateRule": ("requiredStatusCheckContexts",),
    "RepositoryRuleConnection": _PAGES,
    "RepositoryRule": ("type", "parameters"),
    "RuleParameters": ("RequiredStatusChecksParameters", "MergeQueueParameters"),
    "RequiredStatusChecksParameters": None,
    "MergeQueueParameters": None,
    "StatusCheckConfiguration": None,
    "PullRequestReviewConnection": _PAGES,
    "PullRequestReview": ("id", "state", "author", "body", "submittedAt", "commit", "viewerDidAuthor"),
    "PullRequestReviewThreadConnection": _PAGES,
    "PullRequestReviewThread": ("id", "isResolved", "isOutdated", "path", "line", "comments"),
    "PullRequestReviewCommentConnection": _PAGES,
    "PullRequestReviewComment": ("author", "body"),
    "PullRequestCommitConnection": _PAGES,
    "PullRequestCommit": ("commit",),
    "Commit": ("oid", "parents", "statusCheckRollup"),
    "CommitConnection": _PAGES,
    "StatusCheckRollup": ("state", "contexts"),
    "StatusCheckRollupContextConnection": _PAGES,
    "CheckRun": (
        "databaseId",
        "name",
        "status",
        "conclusion",
        "startedAt",
        "completedAt",
        "isRequired",
        "checkSuite",
    ),
    "CheckSuite": ("databaseId", "app", "workflowRun"),
    "App": ("databaseId", "slug"),
    "WorkflowRun": ("event", "runNumber", "workflow"),
    "Workflow": ("name",),
    "StatusContext": ("context", "state", "createdAt", "isRequired"),
    "MergeQueueEntry": ("position", "state"),
    "AutoMergeRequest": ("enabledAt",),
    "PageInfo": ("hasNextPage", "endCursor", "hasPreviousPage", "startCursor"),
    "PullRequestChangedFileConnection": _PAGES,
    "PullRequestChangedFile": ("path",),
    "AddCommentPayload": ("clientMutationId",),
    "AddCommentInput": None,
    "AddPullRequestReviewPayload": ("clientMutationId",),
    "AddPullRequestReviewInput": None,
    "AddPullRequestReviewThreadReplyPayload": ("clientMutationId",),
    "AddPullRequestReviewThreadReplyInput": None,
    "ResolveReviewThreadPayload": ("clientMutationId", "thread"),
    "ResolveReviewThreadInput": None,
    "EnqueuePullRequestPayload": ("clientMutationId", "mergeQueueEntry"),
    "EnqueuePullRequestInput": None,
    "DequeuePullRequestPayload": ("clientMutationId", "mergeQueueEntry"),
    "DequeuePullRequestInput": None,
    "DisablePullRequestAutoMergePayload": ("clientMutationId", "pullRequest"),
    "DisablePullRequestAutoMergeInput": None,
    "StatusCheckRollupContext": None,
}
"""The types of the GraphQL schema that are kept, with the fields, or the members of a union, that are kept; None keeps all."""


def main() -> None:
    """Write the slices beside this file."""
    openapi, graphql = Path(sys.argv[1]), Path(sys.argv[2])
    rest = rest_slice(json.loads((openapi / "generated/api.github.com.json").read_text(encoding="utf-8")))
    (HERE / "rest.json").write_text(json.dumps(rest, indent=1) + "\n", encoding="utf-8")
    whole = parse((graphql / "schema.graphql").read_text(encoding="utf-8"), no_location=True)
    (HERE / "schema.graphql").write_text(graphql_slice(whole) + "\n", encoding="utf-8")
    shutil.copy(openapi / "LICENSE", HERE / "LICENSE-octokit-openapi")
    shutil.copy(graphql / "LICENSE.md", HERE / "LICENSE-octokit-graphql-schema")


def rest_slice(whole: Any) -> dict[str, Any]:
    """The schemas of the answers to `OPERATIONS`, by operation and status, with every schema that they refer to."""
    operations: dict[str, Any] = {}
    for path, verb in OPERATIONS:
        answers = whole["paths"][path][verb]["responses"]
        for status, given in answers.items():
            answer = _at(whole, given["$ref"]) if "$ref" in given else given
            schema = answer.get("content", {}).get("application/json", {}).get("schema")
            operations.setdefault(f"{verb.upper()} {path}", {})[status] = _without_prose(schema)
    schemas: dict[str, Any] = {}
    wanted = _references(operations)
    while wanted:
        reference = min(wanted)
        schemas[reference.rsplit("/", 1)[1]] = found = _without_prose(_at(whole, reference))
        known = {f"#/components/schemas/{name}" for name in schemas}
        wanted = (wanted | _references(found)) - known
    return {"source": whole["info"]["title"], "version": whole["info"]["version"], "operations": operations} | {
        "components": {"schemas": dict(sorted(schemas.items()))}
    }


def graphql_slice(whole: DocumentNode) -> str:
    """The kept types with the kept fields, and the scalars and enumerations that they use."""
    types = {node.name.value: node for node in whole.definitions if isinstance(node, TypeDefinitionNode)}
    kept: dict[str, TypeDefinitionNode] = {}
    for name, fields in KEPT.items():
        kept[name] = _kept_of(types[name], fields)
    while wanted := sorted({used for node in kept.values() for used in _types_in(node)} - set(kept) - _BUILT_IN):
        name = wanted[0]
        if isinstance(types[name], ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode):
            raise LookupError(  # noqa: TRY004 - no argument of ours has a wrong type
                f"a kept field has the type {name}, which is not kept: add the type to KEPT, or remove the field"
            )
        kept[name] = types[name]
    document = DocumentNode(definitions=tuple(kept[name] for name in sorted(kept)))
    return print_ast(visit(document, _Bare()))


def _kept_of(node: TypeDefinitionNode, chosen: Sequence[str] | None) -> TypeDefinitionNode:
    """A type with the chosen fields or members, and the interfaces that are kept."""
    if isinstance(node, UnionTypeDefinitionNode) and chosen is not None:
        return UnionTypeDefinitionNode(
            name=node.name, types=tuple(each for each in node.types or () if each.name.value in chosen)
        )
    if not isinstance(node, ObjectTypeDefinitionNode | InterfaceTypeDefinitionNode):
        return node
    fields = tuple(field for field in node.fields or () if chosen is None or field.name.value in chosen)
    interfaces = tuple(each for each in node.interfaces or () if each.name.value in KEPT)
    return type(node)(name=node.name, fields=fields, interfaces=interfaces)


class _Bare(Visitor):
    """Removes descriptions and directives."""

    def enter(self, node: Any, *_: Any) -> Any:
        if getattr(node, "description", None) is not None:
            node = type(node)(**{key: getattr(node, key) for key in node.keys if key != "description"})
        if getattr(node, "directives", None):
            node = type(node)(**{key: getattr(node, key) for key in node.keys if key != "directives"})
        return node


def _types_in(node: TypeDefinitionNode) -> set[str]:
    found: set[str] = set()

    class Names(Visitor):
        def enter_named_type(self, named: NamedTypeNode, *_: Any) -> None:
            found.add(named.name.value)

    visit(node, Names())
    return found


def _at(whole: Any, reference: str) -> Any:
    for part in reference.removeprefix("#/").split("/"):
        whole = whole[part]
    return whole


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        inner = [_references(each) for each in value.values()]
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*inner)
    if isinstance(value, list):
        return set().union(*(_references(each) for each in value))
    return set()


def _without_prose(value: Any, *, names: bool = False) -> Any:
    """A schema without its prose. Below `properties`, keys are names of properties, so a property called title stays."""
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if names or not (key in _PROSE or key.startswith("x-"))}
        return {key: _without_prose(each, names=key == "properties" and not names) for key, each in kept.items()}
    return [_without_prose(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
