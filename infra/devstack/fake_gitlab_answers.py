"""How a fake GitLab shows its state: the words for why a merge request is not merged, and the shapes of REST answers."""

from typing import TYPE_CHECKING, Any, Final

from infra.devstack.fake_site import Home, Pull, Said

if TYPE_CHECKING:
    from infra.devstack.fake_gitlab import FakeGitLab

_WORSE_FIRST: Final = (("failure", "FAILED"), ("cancelled", "CANCELED"), ("pending", "RUNNING"))
_TIME: Final = "2026-01-10T12:00:00.000Z"
IN_REST: Final = {
    "BLOCKED_STATUS": "merge_request_blocked",
    "EXTERNAL_STATUS_CHECKS": "status_checks_must_pass",
    "JIRA_ASSOCIATION": "jira_association_missing",
}


def user(name: str) -> dict[str, Any]:
    """A person."""
    number = 10 + sum(ord(letter) * place for place, letter in enumerate(name, 1)) % 100_000
    return {"id": number, "username": name, "name": name.title(), "state": "active"}


def pipeline_status(pull: Pull) -> str | None:
    """The status of the pipeline of its head; None without one. A check that may fail does not count."""
    outcomes = pull.outcomes
    if not outcomes:
        return None
    if all(each == "skipped" for each in outcomes):
        return "SKIPPED"
    return next((status for outcome, status in _WORSE_FIRST if outcome in outcomes), "SUCCESS")


def word_of(forge: "FakeGitLab", home: Home, pull: Pull) -> str:
    """The first reason for which GitLab does not merge it."""
    if pull.state != "open":
        return "NOT_OPEN"
    if pull.draft:
        return "DRAFT_STATUS"
    status = pipeline_status(pull)
    if home.required and status not in ("SUCCESS", "SKIPPED"):
        return "CI_STILL_RUNNING" if status == "RUNNING" else "CI_MUST_PASS"
    wants_changes = any(review.opinion == "CHANGES_REQUESTED" for review in pull.opinions.values())
    if pull.decision == "CHANGES_REQUESTED" or (wants_changes and forge.tier == "premium"):
        return "REQUESTED_CHANGES"
    if pull.decision == "REVIEW_REQUIRED":
        return "NOT_APPROVED"
    if pull.conflicts:
        return "CONFLICT"
    if pull.behind or (home.is_strict and forge.site.is_behind(pull)):
        return "NEED_REBASE"
    return "MERGEABLE"


def project_shown(forge: "FakeGitLab", home: Home) -> dict[str, Any]:
    """A project in REST."""
    return {
        "id": home.id,
        "name": home.name.rsplit("/", 1)[1],
        "path": home.name.rsplit("/", 1)[1],
        "path_with_namespace": home.name,
        "default_branch": "main",
        "archived": home.archived,
        "merge_method": forge.method,
        "squash_option": "default_on" if forge.squashes else "default_off",
        "only_allow_merge_if_pipeline_succeeds": bool(home.required),
        "only_allow_merge_if_all_discussions_are_resolved": False,
        "web_url": f"https://{forge.host}/{home.name}",
        **(
            {"merge_trains_enabled": home.has_queue, "merge_pipelines_enabled": home.has_queue}
            if forge.tier == "premium"
            else {}
        ),
    }


def discussions(pull: Pull) -> list[dict[str, Any]]:
    """Its threads, and a note that is no thread, in REST."""
    opened = {"individual_note": True, "notes": [_note(pull, "opened it", user(pull.author or "ghost"), system=True)]}
    return [{"id": f"opened-{pull.number}", **opened}, *(discussion(pull, each) for each in pull.threads)]


def discussion(pull: Pull, thread_id: str) -> dict[str, Any]:
    """One thread, in REST."""
    said = pull.said.get(thread_id) or [Said("?")]
    notes = [
        _note(pull, each.text, user(each.author))
        | {"type": "DiffNote", "resolvable": True, "resolved": pull.threads[thread_id]}
        | (
            {}
            if each.file is None
            else {"position": {"new_path": each.file, "old_path": each.file, "new_line": each.line, "old_line": None}}
        )
        for each in said
    ]
    return {"id": thread_id, "individual_note": False, "notes": notes}


def _note(pull: Pull, text: str, author: dict[str, Any], *, system: bool = False) -> dict[str, Any]:
    return {
        "id": 5000 + pull.number,
        "body": text,
        "author": author,
        "created_at": _TIME,
        "system": system,
        "noteable_type": "MergeRequest",
        "noteable_iid": pull.number,
        "resolvable": False,
    }


def merge_request(forge: "FakeGitLab", pull: Pull, *, word: str) -> dict[str, Any]:
    """A merge request in REST."""
    home = forge.site.by_id(pull.home)
    status = pipeline_status(pull)
    hidden = status is None or (home is not None and home.hides_checks)
    is_merged = pull.state == "merged"
    return {
        "id": 1000 + pull.number,
        "iid": pull.number,
        "project_id": pull.home,
        "title": pull.title,
        "state": "opened" if pull.state == "open" else pull.state,
        "created_at": _TIME,
        "updated_at": _TIME,
        "merged_at": _TIME if is_merged else None,
        "target_branch": pull.base,
        "source_branch": pull.head,
        "author": user(pull.author or "ghost"),
        "source_project_id": pull.head_home,
        "target_project_id": pull.home,
        "draft": pull.draft,
        "detailed_merge_status": IN_REST.get(word.upper(), word),
        "sha": pull.sha,
        "merge_commit_sha": pull.merge_sha if is_merged and pull.merged_how == "merge" else None,
        "squash_commit_sha": pull.merge_sha if is_merged and pull.merged_how == "squash" else None,
        "has_conflicts": pull.conflicts,
        "blocking_discussions_resolved": all(pull.threads.values()),
        "merge_error": None,
        "merge_when_pipeline_succeeds": pull.auto_merge or pull.in_queue,
        "web_url": forge.url_of(pull),
        "head_pipeline": None
        if hidden
        else {"id": 1, "sha": pull.sha, "ref": pull.head, "status": str(status).lower()},
        "user": {"can_merge": home is None or not home.may_not_merge},
        "diff_refs": {"base_sha": "b" * 40, "start_sha": "b" * 40, "head_sha": pull.sha},
    }


def car(forge: "FakeGitLab", home: Home, pull: Pull) -> dict[str, Any]:
    """A merge request on a train, in REST."""
    number = pull.number
    about = {"id": 1000 + number, "iid": number, "project_id": home.id, "title": pull.title}
    return {
        "id": number,
        "merge_request": {**about, "state": "opened", "web_url": forge.url_of(pull)},
        "user": user("town"),
        "pipeline": None,
        "created_at": _TIME,
        "updated_at": _TIME,
        "target_branch": pull.base,
        "status": "fresh",
        "merged_at": None,
        "duration": None,
    }


def note(pull: Pull, said: Said) -> dict[str, Any]:
    """What somebody wrote, in REST."""
    return _note(pull, said.text, user(said.author))
