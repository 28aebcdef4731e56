"""What a fake GitLab says about commits: merge bases, comparisons, branches and the changes of one commit."""

import re
from typing import Any, Final
from urllib.parse import unquote

from infra.devstack.fake_forge import Reply, Request
from infra.devstack.fake_site import Home, Site

_TIME: Final = "2026-01-10T12:00:00.000Z"
_BRANCH: Final = re.compile(r"/branches/([^/]+)")
_DIFF: Final = re.compile(r"/commits/([^/]+)/diff")


def commits_reply(site: Site, home: Home, path: str, request: Request) -> Reply:
    """The answer to a question below /projects/:id/repository."""
    if request.method == "GET" and path == "/merge_base":
        return _merge_base(site, home, request)
    if request.method == "GET" and path == "/compare":
        return _compare(site, home, request)
    branch, diff = _BRANCH.fullmatch(path), _DIFF.fullmatch(path)
    if request.method == "GET" and branch is not None:
        return _branch(site, home, unquote(branch[1]))
    if request.method == "GET" and diff is not None:
        return _diff(site, home, unquote(diff[1]))
    return Reply(404, {"message": "404 Not found"})


def _named(site: Site, home: Home, ref: str) -> str | None:
    found = site.commits.named(home.id, ref)
    return None if found is None or found.kind != "commit" else found.id


def _merge_base(site: Site, home: Home, request: Request) -> Reply:
    name = "GET /projects/:id/repository/merge_base"
    refs = request.repeated.get("refs[]", ())
    found = {ref: _named(site, home, ref) for ref in refs}
    if len(refs) < 2:
        return Reply(400, {"message": "400 Bad request - Provide at least 2 refs"}, operation=name)
    missing = [ref for ref, sha in found.items() if sha is None]
    if missing:
        said = f"400 Bad request - Could not find ref{'s' if len(missing) > 1 else ''}: {', '.join(missing)}"
        return Reply(400, {"message": said}, operation=name)
    one, other = (str(found[ref]) for ref in refs)
    base = site.commits.base_of(one, other)
    if base is None:
        return Reply(404, {"message": "404 Merge Base Not Found"}, operation=name)
    return Reply(200, _commit(site, base), operation=name)


def _compare(site: Site, home: Home, request: Request) -> Reply:
    start, end = (_named(site, home, request.query.get(name, "")) for name in ("from", "to"))
    name = "GET /projects/:id/repository/compare"
    if start is None or end is None:
        return Reply(404, {"message": "404 Ref Not Found"}, operation=name)
    if request.query.get("straight", "false") != "true":
        start = site.commits.base_of(start, end)
    diffs = [_diffed(each) for each in site.commits.changed(start, end)]
    body = {"commit": None, "commits": [], "diffs": diffs, "compare_timeout": False, "compare_same_ref": start == end}
    return Reply(200, body, operation=name)


def _branch(site: Site, home: Home, branch: str) -> Reply:
    tip = site.commits.tip(home.id, branch)
    if tip is None:
        return Reply(
            404, {"message": "404 Branch Not Found"}, operation="GET /projects/:id/repository/branches/:branch"
        )
    body = {
        "name": branch,
        "merged": False,
        "protected": False,
        "default": branch == "main",
        "commit": _commit(site, tip),
    }
    return Reply(200, body, operation="GET /projects/:id/repository/branches/:branch")


def _diff(site: Site, home: Home, ref: str) -> Reply:
    sha, name = _named(site, home, ref), "GET /projects/:id/repository/commits/:sha/diff"
    if sha is None:
        return Reply(404, {"message": "404 Commit Not Found"}, operation=name)
    parents = site.commits.parents(sha)
    changed = site.commits.changed(parents[0] if parents else None, sha)
    return Reply(200, [_diffed(each) for each in changed], operation=name)


def _commit(site: Site, sha: str) -> dict[str, Any]:
    parents = list(site.commits.parents(sha))
    return {"id": sha, "short_id": sha[:8], "title": "Work", "parent_ids": parents, "created_at": _TIME}


def _diffed(path: str) -> dict[str, Any]:
    modes = {"a_mode": "100644", "b_mode": "100644", "diff": "", "new_file": False}
    return {"old_path": path, "new_path": path, **modes, "renamed_file": False, "deleted_file": False}
