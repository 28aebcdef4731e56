"""What only GitLab does: its schema, the cost of a query, rebases that take time, trains, old servers, answers with holes."""

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import FieldNode, GraphQLObjectType, IntValueNode, OperationDefinitionNode, get_named_type, parse, validate

from infra.devstack.fake_forge import Trouble
from infra.devstack.fake_gitlab import FakeGitLab
from infra.devstack.gitlab_api import contract
from shared.adapters.gitlab import merging, queries
from shared.ports.forge import Accepted, BranchUpdate, ForgeError, Merged, NotMerged, Queued
from tests.forges.grounds import APP, Ground, ground

AUTHENTICATED_MAX_COMPLEXITY = 250
"""GitlabSchema's limit of a query for somebody who signed in."""


@pytest.fixture
def gitlab() -> Iterator[Ground]:
    with ground("GitLab") as forge:
        yield forge


@pytest.fixture
def server(gitlab: Ground) -> FakeGitLab:
    assert isinstance(gitlab.server, FakeGitLab)
    return gitlab.server


def complexity(query: str) -> int:
    """An upper bound: each field counts 1, and what a list contains counts once for each of its items."""

    def of(node: Any, kind: Any) -> int:
        total = 0
        for field in node.selection_set.selections if node.selection_set else ():
            assert isinstance(field, FieldNode)
            inner = get_named_type(kind.fields[field.name.value].type)
            sizes = [int(each.value.value) for each in field.arguments or () if isinstance(each.value, IntValueNode)]
            asked = max(sizes, default=1)
            total += 1 + asked * (of(field, inner) if isinstance(inner, GraphQLObjectType) else 0)
        return total

    operation = parse(query).definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    return of(operation, contract.graphql_schema().query_type)


DEARER_FIELDS = 5 + 5 + 8
"""mergedAt and reviewers cost 5 each, and eight fields that ask Gitaly cost one more."""


def test_the_query_is_one_that_the_free_edition_answers_and_is_not_too_complex() -> None:
    query, _ = queries.of_merge_request(["acme/app", "acme/upstream", "acme/moved"])
    assert validate(contract.graphql_schema(), parse(query)) == []
    assert complexity(query) + DEARER_FIELDS <= AUTHENTICATED_MAX_COMPLEXITY
    assert validate(contract.graphql_schema(), parse(query.replace("hasCi", "mergeTrainCar"))) != []


def test_the_mutation_for_reviews_is_valid() -> None:
    query, _ = queries.of_reviews(["gid://gitlab/User/1"], ["rosa"])
    assert validate(contract.graphql_schema(), parse(query)) == []


def test_the_contract_finds_an_answer_that_gitlab_would_not_give() -> None:
    operation = "PUT /projects/:id/merge_requests/:iid/rebase"
    assert contract.problems_of(operation, 202, {"rebase_in_progress": True}) == []
    assert contract.problems_of(operation, 202, {"rebase_in_progress": "yes"}) != []
    assert all(each["source"] for each in contract.described()["operations"].values())


def test_a_rebase_is_waited_for_until_its_head_is_known(
    gitlab: Ground, server: FakeGitLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "_REBASE_PAUSES", (0.0,) * 6)
    pull = gitlab.opens()
    gitlab.site.moves_base(APP)
    server.rebase_reads = 3
    assert gitlab.update(pull) == BranchUpdate("updated", head=pull.sha)
    server.rebase_reads = 100
    gitlab.site.moves_base(APP)
    assert gitlab.update(pull) == BranchUpdate("updated")


def test_a_rebase_that_the_branch_forbids_is_a_refusal_and_one_that_the_token_forbids_an_error(gitlab: Ground) -> None:
    pull = gitlab.opens()
    gitlab.site.moves_base(APP)
    gitlab.trouble(403, {"message": "403 Forbidden - Source branch is protected from force push"}, path="/rebase")
    answer = gitlab.update(pull)
    assert isinstance(answer, BranchUpdate)
    assert (answer.outcome, "protected" in answer.reason) == ("refused", True)
    gitlab.trouble(403, {"error": "insufficient_scope", "scope": "api"}, path="/rebase")
    error = gitlab.update(pull)
    assert isinstance(error, ForgeError)
    assert "api" in error.message


def test_a_train_is_joined_and_never_gone_around(gitlab: Ground, server: FakeGitLab) -> None:
    gitlab.app.has_queue = True
    pull = gitlab.opens()
    assert gitlab.merge(pull) == Queued(1)
    assert not any(request.method == "PUT" for request in server.requests)
    gitlab.site.leaves(pull)
    gitlab.app.has_queue, server.enforces_trains = False, True
    gitlab.trouble(405, {"message": "405 Merge trains are enforced: use auto_merge"}, path="/merge")
    answer = gitlab.merge(pull)
    assert isinstance(answer, NotMerged)
    assert answer.refusal == "queue"


def test_an_automatic_merge_that_a_person_set_is_queued_and_can_be_cancelled(gitlab: Ground) -> None:
    pull = gitlab.opens()
    pull.auto_merge = True
    assert gitlab.merge(pull) == Queued()
    assert gitlab.read(pull).in_queue
    assert gitlab.dequeue(pull) == Accepted()
    assert isinstance(gitlab.merge(pull), Merged)


def test_an_accepted_merge_that_is_set_to_happen_later_is_queued(gitlab: Ground) -> None:
    pull = gitlab.opens()

    def later(answer: Any) -> Any:
        gitlab.site.reopens(pull)
        pull.auto_merge = True
        return {**answer, "state": "opened"}

    gitlab.server.trouble.plan(Trouble(lie=later, path="/merge", method="PUT"))
    assert gitlab.merge(pull) == Queued()


def test_one_look_serves_the_merge_that_follows_and_no_other(gitlab: Ground) -> None:
    pull = gitlab.opens()
    gitlab.app.may_not_merge = True
    gitlab.merge(pull)
    gitlab.read(pull)
    before = gitlab.requests()
    gitlab.merge(pull)
    assert gitlab.requests() - before == 1
    gitlab.merge(pull)
    assert gitlab.requests() - before == 3


def test_who_requests_changes_among_many_reviewers_is_found(gitlab: Ground) -> None:
    pull = gitlab.opens()
    for number in range(queries.REVIEWERS_AT_MOST + 5):
        gitlab.site.asks(pull, f"person-{number:02}")
    gitlab.site.says(pull, "person-24", "CHANGES_REQUESTED")
    assert [each.author for each in gitlab.feedback(pull).change_requests] == ["person-24"]


def test_changes_that_somebody_requests_again_are_another_request_without_being_seen_in_between(gitlab: Ground) -> None:
    pull = gitlab.opens()
    gitlab.site.says(pull, "rosa", "CHANGES_REQUESTED")
    first = gitlab.feedback(pull).change_requests
    gitlab.site.says(pull, "rosa", "CHANGES_REQUESTED")
    second = gitlab.feedback(pull).change_requests
    assert [each.author for each in first] == [each.author for each in second] == ["rosa"]
    assert first[0].id != second[0].id


def test_in_the_free_edition_one_who_was_asked_again_does_not_request_changes_any_more() -> None:
    with ground("GitLab Free") as free:
        pull = free.opens()
        free.site.says(pull, "rosa", "CHANGES_REQUESTED")
        assert free.feedback(pull).changes_requested
        assert free.read(pull).mergeable_state == "clean"
        free.site.asks(pull, "rosa")
        assert not free.feedback(pull).changes_requested


def test_somebody_who_was_no_reviewer_becomes_one(gitlab: Ground) -> None:
    pull = gitlab.opens()
    assert gitlab.asks_again(pull, "rosa", "worker") == Accepted()
    assert pull.reviewers == ["rosa"]


@pytest.mark.parametrize(
    ("message", "kind", "status"),
    [
        ("Request timed out. Please try a less complex query or a smaller set of records.", "transient", None),
        ("Internal server error", "transient", None),
        ("You don't have permission to perform this action", "http", 403),
        ("Query has complexity of 251, which exceeds max complexity of 250", "invalid_response", None),
    ],
)
def test_graphql_refuses_in_an_answer_of_200(gitlab: Ground, message: str, kind: str, status: int | None) -> None:
    pull = gitlab.opens()
    gitlab.trouble(200, {"data": None, "errors": [{"message": message}]})
    found = gitlab.error(pull)
    assert (found.kind, found.http_status) == (kind, status)


def test_a_gitlab_that_is_too_old_says_which_field_it_lacks(gitlab: Ground) -> None:
    pull = gitlab.opens()
    says = "Field 'hasCi' doesn't exist on type 'MergeRequest'"
    gitlab.trouble(200, {"errors": [{"message": says, "extensions": {"code": "undefinedField"}}]})
    assert gitlab.error(pull).message == f"this GitLab is older than the town needs: {says}"


def test_a_pipeline_that_an_error_hides_is_unreadable_and_no_missing_one(gitlab: Ground) -> None:
    pull = gitlab.opens()
    gitlab.site.runs(pull, "build", "failure")

    def hidden(answer: Any) -> Any:
        answer["data"]["project"]["mergeRequest"]["headPipeline"] = None
        path = ["project", "mergeRequest", "headPipeline"]
        return {**answer, "errors": [{"message": "Request timed out", "path": path}]}

    gitlab.server.trouble.plan(Trouble(lie=hidden))
    assert gitlab.feedback(pull).checks_unreadable


def test_a_project_without_ci_whose_pipelines_may_not_be_read_has_no_checks(gitlab: Ground) -> None:
    pull = gitlab.opens()
    gitlab.app.hides_checks = True
    found = gitlab.feedback(pull)
    assert (found.checks_unreadable, found.has_checks, found.all_checks_pass) == (False, False, True)


def test_a_later_rename_of_a_renamed_project_is_followed_and_never_to_another_project(gitlab: Ground) -> None:
    pull = gitlab.opens()
    url, own = gitlab.url(pull), str(gitlab.app.id)
    gitlab.site.renames(APP, "acme/second")
    assert gitlab.read(pull, url=url).rig_repository
    gitlab.site.renames("acme/second", "acme/third")
    gitlab.site.opens("acme/second", head="of-others")
    seen = gitlab.read(pull, url=url)
    assert seen.identity is not None
    assert seen.rig_repository is not None
    assert (seen.identity.base_repository.id, seen.rig_repository.id) == (own, own)
    assert seen.head_sha == pull.sha
