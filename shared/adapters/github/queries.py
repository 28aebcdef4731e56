"""The GraphQL documents that the adapter of GitHub sends. A poll is one `LOOK`; each further page of a long list is one `MORE`."""

from typing import Final

_REPOSITORY: Final = "{ databaseId nameWithOwner }"
_CONTEXTS: Final = """
contexts(first: 100, after: $checks) { pageInfo { hasNextPage endCursor } nodes {
  __typename
  ... on CheckRun { databaseId name status conclusion startedAt completedAt isRequired(pullRequestNumber: $number)
    checkSuite { databaseId app { slug } workflowRun { event workflow { name } } } }
  ... on StatusContext { context state createdAt isRequired(pullRequestNumber: $number) }
} }"""
_COMMITS: Final = f"""
commits(last: 1) {{ nodes {{ commit {{ oid
  parents(first: 10) {{ nodes {{ oid }} }}
  statusCheckRollup @include(if: $feedback) {{ {_CONTEXTS} }}
}} }} }}"""
_THREADS: Final = """
reviewThreads(first: 100, after: $threads) @include(if: $feedback) {
  nodes { id isResolved path line comments(first: 3) { nodes { body author { login } } } }
  pageInfo { hasNextPage endCursor }
}"""
_REQUIRED: Final = """
baseRef @include(if: $feedback) {
  refUpdateRule { requiredStatusCheckContexts }
  rules(first: 100) { nodes { parameters { __typename ... on RequiredStatusChecksParameters {
    requiredStatusChecks { context }
  } } } }
}"""

_WAYS: Final = "mergeCommitAllowed squashMergeAllowed rebaseMergeAllowed"

LOOK: Final = f"""
query Look(
  $owner: String!, $name: String!, $number: Int!, $feedback: Boolean!, $threads: String, $checks: String,
  $rig: Boolean!, $rigOwner: String!, $rigName: String!,
  $upstream: Boolean!, $upstreamOwner: String!, $upstreamName: String!
) {{
  repository(owner: $owner, name: $name) {{ {_WAYS} pullRequest(number: $number) {{
    id state merged isDraft headRefOid headRefName headRepository {_REPOSITORY} baseRefName baseRepository {_REPOSITORY}
    author {{ login }} mergeable mergeStateStatus reviewDecision viewerCanMergeAsAdmin mergeCommit {{ oid }}
    isMergeQueueEnabled isInMergeQueue mergeQueueEntry {{ position }} autoMergeRequest {{ enabledAt }}
    latestOpinionatedReviews(first: 100, writersOnly: true) @include(if: $feedback) {{
      nodes {{ id state body author {{ login }} }}
    }}
    {_THREADS} {_COMMITS} {_REQUIRED}
  }} }}
  rig: repository(owner: $rigOwner, name: $rigName) @include(if: $rig) {_REPOSITORY}
  upstream: repository(owner: $upstreamOwner, name: $upstreamName) @include(if: $upstream) {_REPOSITORY}
}}"""
"""Everything about a pull request, and what the rig's own addresses lead to. Old names of a repository lead to its new one."""

MORE: Final = f"""
query More($owner: String!, $name: String!, $number: Int!, $feedback: Boolean!, $threads: String, $checks: String) {{
  repository(owner: $owner, name: $name) {{ pullRequest(number: $number) {{
    headRefOid {_THREADS} {_COMMITS}
  }} }}
}}"""
"""The next page of threads and checks."""

WAYS: Final = f"""
query Ways($owner: String!, $name: String!, $number: Int!) {{ repository(owner: $owner, name: $name) {{
  {_WAYS}
  pullRequest(number: $number) {{
    id state merged isDraft mergeable mergeStateStatus reviewDecision mergeCommit {{ oid }}
    isMergeQueueEnabled isInMergeQueue mergeQueueEntry {{ position }} autoMergeRequest {{ enabledAt }}
  }}
}} }}"""
"""What decides how a pull request is merged: whether it is or waits in a queue, and which ways its repository allows."""

ENQUEUE: Final = """
mutation Enqueue($id: ID!, $head: GitObjectID) {
  enqueuePullRequest(input: {pullRequestId: $id, expectedHeadOid: $head}) { mergeQueueEntry { position } }
}"""
DEQUEUE: Final = """
mutation Dequeue($id: ID!) { dequeuePullRequest(input: {id: $id}) { clientMutationId } }"""
DISABLE_AUTO_MERGE: Final = """
mutation Disable($id: ID!) { disablePullRequestAutoMerge(input: {pullRequestId: $id}) { clientMutationId } }"""


def objects(count: int) -> str:
    """A query for the ids of what `count` git expressions name."""
    given = "".join(f", $e{place}: String!" for place in range(count))
    asked = " ".join(f"o{place}: object(expression: $e{place}) {{ oid }}" for place in range(count))
    return (
        f"query Objects($owner: String!, $name: String!{given}) "
        f"{{ repository(owner: $owner, name: $name) {{ {asked} }} }}"
    )
