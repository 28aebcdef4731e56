"""The verbs with which an agent works on the pull request of its branch, at GitHub or GitLab."""

from typing import Final

from infra.agents.town_agent.verb import ESCALATE, Argument, Verb, Who

_PR: Final = Argument(
    "--pr-url",
    "the URL of the pull request (default: that of the order, else the open one of the order's branch)",
    stands_for="URL",
)
_WORDS: Final = Argument("text", "what to say", kind="words", optional=True)

PULL_REQUESTS: Final = (
    Verb(
        "pr create",
        "pull_requests:create",
        "open a pull request of the pushed branch and print its URL; if one is open, its URL is printed",
        (
            Argument("--title", "the title", required=True, stands_for="TEXT"),
            Argument("--body", "the description", default="", stands_for="TEXT"),
            Argument(
                "--base", "the branch to merge into (default: the target branch of the order)", stands_for="BRANCH"
            ),
            Argument("--branch", "the branch with the work (default: the branch of the order)"),
            Argument("--draft", "open it as a draft", kind="flag"),
        ),
        who=Who.WORKER,
        instead=ESCALATE,
    ),
    Verb(
        "pr update",
        "pull_requests:update",
        "change the title, the description or the base of a pull request",
        (
            _PR,
            Argument("--title", "the new title", stands_for="TEXT"),
            Argument("--body", "the new description", stands_for="TEXT"),
            Argument("--base", "the new branch to merge into", stands_for="BRANCH"),
        ),
        who=Who.WORKER,
        instead=ESCALATE,
    ),
    Verb(
        "pr comment",
        "pull_requests:comment",
        "comment on a pull request, or answer one of its threads and resolve it",
        (
            _PR,
            Argument("--thread", "the id of the thread to answer, as `pr status` shows it", stands_for="THREAD"),
            Argument("--resolve", "resolve the thread", kind="flag"),
            _WORDS,
        ),
        who=Who.WORKER,
        instead=ESCALATE,
    ),
    Verb(
        "pr review",
        "pull_requests:review",
        "open a thread about the reviewed commit, which the author resolves; or approve, or request changes",
        (
            _PR,
            Argument("--file", "the file that it is about (default: the first one that changes)", stands_for="PATH"),
            Argument("--line", "the line of the file, in its new state", kind="number"),
            Argument(
                "--head", "the commit that was reviewed (default: the one that is checked out)", stands_for="COMMIT"
            ),
            Argument("--approve", "approve the pull request at this commit", kind="flag"),
            Argument(
                "--request-changes", "request changes, which block the merge where the forge says so", kind="flag"
            ),
            _WORDS,
        ),
        who=Who.WORKER,
        instead=ESCALATE,
    ),
    Verb(
        "pr status",
        "pull_requests:status",
        "show a pull request: its state, checks, reviews and open threads",
        (_PR,),
    ),
)
