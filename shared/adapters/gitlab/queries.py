"""What is asked of GitLab's GraphQL API: one query for everything that a poll needs.

The query names only fields that GitLab's free edition has, because a field that the schema does not know refuses the whole query.
Its lists are short: GitLab counts the complexity of a query and refuses one over 250.

Two calls that REST would need are saved. `headPipeline` is the pipeline of the head or of the merge result of that head, and the
numbers of threads need no pages. What people do seldom (a merge, a rebase, notes) is asked by REST.
"""

from collections.abc import Sequence
from typing import Final

REVIEWERS_AT_MOST: Final = 20

_OF_PROJECT: Final = """
  id
  fullPath
  archived
  onlyAllowMergeIfPipelineSucceeds
  userPermissions { readCommitStatus }
  mergeRequest(iid: $iid) {
    state
    diffHeadSha
    sourceBranch
    sourceProjectId
    sourceProject { fullPath }
    targetBranch
    targetProjectId
    author { username }
    draft
    updatedAt
    mergedAt
    mergeCommitSha
    mergeError
    detailedMergeStatus
    conflicts
    shouldBeRebased
    rebaseInProgress
    divergedFromTargetBranch
    autoMergeEnabled
    autoMergeStrategy
    availableAutoMergeStrategies
    hasCi
    headPipeline { status }
    resolvableDiscussionsCount
    resolvedDiscussionsCount
    reviewers(first: %d) {
      nodes { id username mergeRequestInteraction { reviewState } }
      pageInfo { hasNextPage }
    }
  }
"""


def of_merge_request(names: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The query about a merge request of `$project`, and about these projects by name: its text, and the names as variables."""
    variables = {f"name{place}": name for place, name in enumerate(names)}
    declared = "".join(f", ${key}: ID!" for key in variables)
    others = "".join(f"\n  {key}: project(fullPath: ${key}) {{ id fullPath }}" for key in variables)
    inner = (_OF_PROJECT % REVIEWERS_AT_MOST).replace("\n", "\n  ")
    return (
        f"query($project: ID!, $iid: String!{declared}) {{\n  project(fullPath: $project) {{{inner}}}{others}\n}}",
        variables,
    )


def of_reviews(again: Sequence[str], added: Sequence[str]) -> tuple[str, dict[str, object]]:
    """The mutation that asks reviewers (by their ids) to review again, and others (by their names) to become reviewers."""
    declared = "$project: ID!, $iid: String!"
    variables: dict[str, object] = {}
    parts: list[str] = []
    for place, user in enumerate(again):
        key = f"user{place}"
        variables[key] = user
        declared += f", ${key}: UserID!"
        given = f"projectPath: $project, iid: $iid, userId: ${key}"
        parts.append(f"again{place}: mergeRequestReviewerRereview(input: {{{given}}}) {{ errors }}")
    if added:
        variables["added"] = list(added)
        declared += ", $added: [String!]!"
        given = "projectPath: $project, iid: $iid, reviewerUsernames: $added, operationMode: APPEND"
        parts.append(f"added: mergeRequestSetReviewers(input: {{{given}}}) {{ errors }}")
    return f"mutation({declared}) {{\n  " + "\n  ".join(parts) + "\n}", variables
