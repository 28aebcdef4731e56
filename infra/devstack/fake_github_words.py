"""What the holder of a token says at the fake GitHub: comments, answers in threads, reviews. Its user is the author `worker`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from infra.devstack.fake_site import Opinion, Pull, Said, Site

USER: Final = "worker"
_OPINIONS: Final[Mapping[str, Opinion]] = {
    "APPROVE": "APPROVED",
    "REQUEST_CHANGES": "CHANGES_REQUESTED",
    "COMMENT": "COMMENTED",
}


@dataclass(frozen=True)
class Words:
    """The mutations. `by_id` finds a pull request, `problem` makes an error of GraphQL."""

    site: Site
    by_id: Callable[[str], Pull]
    problem: Callable[[str, str], Exception]

    def mutations(self) -> dict[str, Callable[..., Any]]:
        """By their names in GitHub's schema."""
        return {
            "addComment": self._comment,
            "addPullRequestReview": self._review,
            "addPullRequestReviewThreadReply": self._reply,
        }

    def _comment(self, _info: Any, **given: Any) -> Any:
        about = given["input"]
        with self.site.lock:
            self.by_id(about["subjectId"]).notes.append(Said(about["body"], USER, None, None))
        return {"clientMutationId": None}

    def _reply(self, _info: Any, **given: Any) -> Any:
        about = given["input"]
        with self.site.lock:
            for pull in self.site.pulls:
                said = pull.said.get(about["pullRequestReviewThreadId"])
                if said is not None:
                    said.append(Said(about["body"], USER, said[0].file, said[0].line))
                    return {"clientMutationId": None}
        raise self.problem("NOT_FOUND", "Could not resolve to a node with that global id.")

    def _review(self, _info: Any, **given: Any) -> Any:
        about = given["input"]
        with self.site.lock:
            pull = self.by_id(about["pullRequestId"])
            event = about.get("event") or "COMMENT"
            if pull.author == USER and event != "COMMENT":
                verb = "approve" if event == "APPROVE" else "request changes on"
                raise self.problem("UNPROCESSABLE", f"Review Can not {verb} your own pull request")
            if about.get("commitOID") not in (None, pull.sha):
                raise self.problem("UNPROCESSABLE", "The commit is not part of the pull request")
            self.site.says(pull, USER, _OPINIONS[event], words=about.get("body") or "")
        return {"clientMutationId": None}
