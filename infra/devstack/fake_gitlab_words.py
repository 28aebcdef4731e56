"""What the holder of a token opens, changes and says at the fake GitLab, by REST. Its user is the author `worker`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from infra.devstack.fake_forge import Reply, Request
from infra.devstack.fake_gitlab_answers import discussion, merge_request, note, word_of
from infra.devstack.fake_site import Home, Pull, Said

if TYPE_CHECKING:
    from infra.devstack.fake_gitlab import FakeGitLab

USER: Final = "worker"
_ROUTE: Final = re.compile(
    r"/merge_requests(?:/(\d+)(?:/(notes|approvals|approve|discussions)(?:/([^/]+)(/notes)?)?)?)?"
)
_DRAFT: Final = "Draft: "
_TAKEN: Final = "Another open merge request already exists for this source branch"
_NO_LINE: Final = '400 Bad request - Note {:line_code=>["can\'t be blank", "must be a valid line code"]}'


@dataclass(frozen=True)
class Words:
    """The requests about the merge requests of one project that only people and agents make."""

    forge: "FakeGitLab"
    home: Home

    def answer(self, request: Request, path: str) -> Reply | None:
        """The answer to one of them; None for every other request. `path` is below the project."""
        found = _ROUTE.fullmatch(path.partition("?")[0])
        if found is None:
            return None
        number, what, thread, notes = found.groups()
        shown = "/merge_requests" + ("/:iid" if number else "") + (f"/{what}" if what else "")
        shown += ("/:discussion_id" if thread else "") + (notes or "")
        do = self._doers().get((request.method, shown))
        if do is None:
            return None
        pull = None if number is None else self.forge.site.find(self.home.name, int(number))
        if number is not None and pull is None:
            return Reply(404, {"message": "404 Not found"})
        reply: Reply = do(request, pull, thread)
        return Reply(reply.status, reply.body, reply.headers, operation=f"{request.method} /projects/:id{shown}")

    def _doers(self) -> Mapping[tuple[str, str], Any]:
        return {
            ("GET", "/merge_requests"): self._list,
            ("POST", "/merge_requests"): self._create,
            ("PUT", "/merge_requests/:iid"): self._change,
            ("POST", "/merge_requests/:iid/notes"): self._note,
            ("GET", "/merge_requests/:iid/approvals"): self._approvals,
            ("POST", "/merge_requests/:iid/approve"): self._approve,
            ("POST", "/merge_requests/:iid/discussions"): self._discuss,
            ("PUT", "/merge_requests/:iid/discussions/:discussion_id"): self._resolve,
            ("POST", "/merge_requests/:iid/discussions/:discussion_id/notes"): self._reply,
        }

    def _list(self, request: Request, _pull: Pull | None, _thread: str | None) -> Reply:
        branch = request.query.get("source_branch")
        return Reply(200, [self._shown(each) for each in self._open() if each.head == branch])

    def _create(self, request: Request, _pull: Pull | None, _thread: str | None) -> Reply:
        body = _body(request)
        if any(each.head == body["source_branch"] for each in self._open()):
            return Reply(409, {"message": [_TAKEN]})
        title = str(body["title"])
        pull = self.forge.site.opens(
            self.home.name, head=body["source_branch"], base=body["target_branch"], title=title.removeprefix(_DRAFT)
        )
        pull.draft = title.startswith(_DRAFT)
        return Reply(201, self._shown(pull))

    def _change(self, request: Request, pull: Pull, _thread: str | None) -> Reply:
        body = _body(request)
        pull.title, pull.base = body.get("title", pull.title), body.get("target_branch", pull.base)
        return Reply(200, self._shown(pull))

    def _note(self, request: Request, pull: Pull, _thread: str | None) -> Reply:
        pull.notes.append(Said(_body(request)["body"], USER, None, None))
        return Reply(201, note(pull, pull.notes[-1]))

    def _discuss(self, request: Request, pull: Pull, _thread: str | None) -> Reply:
        body = _body(request)
        at = body.get("position")
        if at is None:
            thread = self.forge.site.comments(pull, Said(body["body"], USER, None, None))
            return Reply(201, discussion(pull, thread))
        is_complete = {"base_sha", "start_sha", "head_sha", "position_type", "new_path", "old_path"} <= set(at)
        is_whole = at.get("position_type") == "file" and "new_line" not in at
        changed = at.get("new_line") in self.forge.changed_lines
        if not is_complete or at["head_sha"] != pull.sha or not (is_whole or changed):
            return Reply(400, {"message": _NO_LINE})
        thread = self.forge.site.comments(pull, Said(body["body"], USER, at["new_path"], at.get("new_line")))
        return Reply(201, discussion(pull, thread))

    def _reply(self, request: Request, pull: Pull, thread: str) -> Reply:
        if thread not in pull.said:
            return Reply(404, {"message": "404 Discussion Not Found"})
        first = pull.said[thread][0]
        pull.said[thread].append(Said(_body(request)["body"], USER, first.file, first.line))
        return Reply(201, note(pull, pull.said[thread][-1]))

    def _resolve(self, request: Request, pull: Pull, thread: str) -> Reply:
        if thread not in pull.threads:
            return Reply(404, {"message": "404 Discussion Not Found"})
        pull.threads[thread] = bool(_body(request)["resolved"])
        return Reply(200, discussion(pull, thread))

    def _approvals(self, _request: Request, pull: Pull, _thread: str | None) -> Reply:
        return Reply(200, self._approvals_of(pull))

    def _approve(self, request: Request, pull: Pull, _thread: str | None) -> Reply:
        if not self._approvals_of(pull)["user_can_approve"]:
            return Reply(401, {"message": "401 Unauthorized"})
        if _body(request).get("sha") not in (None, pull.sha):
            return Reply(409, {"message": f"SHA does not match HEAD of source branch: {pull.sha}"})
        self.forge.site.says(pull, USER, "APPROVED")
        return Reply(201, self._approvals_of(pull))

    def _approvals_of(self, pull: Pull) -> dict[str, Any]:
        has = any(each.author == USER and each.opinion == "APPROVED" for each in pull.reviews)
        return {"approved": has, "user_has_approved": has, "user_can_approve": not has and pull.author != USER}

    def _open(self) -> list[Pull]:
        return [each for each in self.forge.site.pulls if (each.home, each.state) == (self.home.id, "open")]

    def _shown(self, pull: Pull) -> dict[str, Any]:
        return merge_request(self.forge, pull, word=word_of(self.forge, self.home, pull).lower())


def _body(request: Request) -> Mapping[str, Any]:
    return request.body or {}
