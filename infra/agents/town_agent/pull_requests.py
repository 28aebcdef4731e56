"""`town-agent pr`: the pull request of the agent's branch, at the forge of its rig and with the credential that the town issued.

Only pull requests of the credential's own repository are touched: a URL that a stranger put into a text leads nowhere else.
Commands may be repeated: a pull request that is open, and a thread, an answer, a last comment or a review that stands there
already, are not made twice. Everything that a forge says is quoted, its own words too: a forge may be anybody's.
"""

import subprocess
from collections.abc import Callable
from typing import Final, TypeVar

from infra.agents.credentials import ForgeCredential, NotIssued
from infra.agents.posting import NotPosted
from infra.agents.town_agent.forge_work import ForgeFailed, ForgeWork, Look, Pull, Spot, Thread, Verdict, is_said
from infra.agents.town_agent.git_credential import kept_of
from infra.agents.town_agent.talk import Given, Talk
from shared.domain.quoting import block, line, name
from shared.domain.repositories import pull_request_at
from shared.ports.clock import Clock

_R = TypeVar("_R")
_PASSED: Final = frozenset({"success", "neutral", "skipped", "manual"})
_GIT_SECONDS: Final = 20.0
_MOST_REMARKS: Final = 20


def create(talk: Talk, given: Given) -> None:
    """Open the pull request of a branch, or find it, and say its URL."""
    branch = given.branch or talk.caller.branch
    base = given.base or talk.caller.target_branch
    if not branch or not base:
        raise ValueError("pr create: the order names no branch or no target; name them with --branch and --base")

    def do(forge: ForgeWork) -> Pull:
        found = forge.open_of(branch)
        if found is None:
            return forge.create(branch, base, title=given.title, body=given.body, draft=given.draft)
        if found.base != base:
            forge.change(found.number, base=base)
        return found

    talk.say(name(_at_the_forge(talk, do).url))


def update(talk: Talk, given: Given) -> None:
    """Change the pull request."""
    if given.title is None and given.body is None and given.base is None:
        raise ValueError("pr update: nothing to change; give --title, --body or --base")

    def do(forge: ForgeWork) -> None:
        forge.change(_number(talk, given, forge), title=given.title, body=given.body, base=given.base)

    _at_the_forge(talk, do)


def comment(talk: Talk, given: Given) -> None:
    """Comment, or answer a thread and resolve it."""
    if given.resolve and not given.thread:
        raise ValueError(
            "pr comment: --resolve needs the thread; name it with --thread THREAD (see: town-agent pr status)"
        )
    if not given.text and not given.resolve:
        raise ValueError('pr comment: TEXT is empty; use: town-agent pr comment "TEXT"')

    def do(forge: ForgeWork) -> None:
        number = _number(talk, given, forge)
        if not given.thread:
            if not is_said(forge.last_comment(number), given.text):
                forge.comment(number, given.text)
            return
        thread = _thread(forge.look(number), given.thread)
        said_last = thread.remarks[-1].text if thread.remarks else None
        if given.text and not is_said(said_last, given.text):
            forge.reply(number, given.thread, given.text)
        if given.resolve and not thread.is_resolved:
            forge.resolve(number, given.thread)

    _at_the_forge(talk, do)


def review(talk: Talk, given: Given) -> None:
    """Open a thread at the reviewed commit, or approve, or request changes."""
    if given.approve and given.request_changes:
        raise ValueError("pr review: give --approve or --request-changes, not both")
    if given.line is not None and not given.file:
        raise ValueError("pr review: --line needs the file; name it with --file PATH")
    if not given.text and not given.approve:
        raise ValueError('pr review: TEXT is empty; use: town-agent pr review --file PATH --line N "TEXT"')
    verdict: Verdict | None = "approve" if given.approve else "request-changes" if given.request_changes else None
    head = given.head or _checked_out(talk)

    def do(forge: ForgeWork) -> None:
        number = _number(talk, given, forge)
        seen = forge.look(number)
        if seen.head != head:
            raise ValueError(
                f"pr review: the head of the pull request is {name(seen.head)}, and {head} was reviewed: fetch it, "
                "review what is new, and repeat the command"
            )
        spot = Spot(head, given.file, given.line)
        if (verdict is None or given.file) and not _stands_there(seen, spot, given.text):
            forge.open_thread(number, spot, given.text)
        if verdict is not None:
            forge.review(number, verdict, given.text, head=head)

    _at_the_forge(talk, do)


def status(talk: Talk, given: Given) -> None:
    """Say the state of the pull request; what others wrote is quoted."""
    look = _at_the_forge(talk, lambda forge: forge.look(_number(talk, given, forge)))
    state = ("draft, " if look.is_draft else "") + _word(look.state)
    decision = "none required" if look.decision is None else _word(look.decision)
    still_open = [thread for thread in look.threads if not thread.is_resolved]
    lines = [
        f"{name(look.url)}: {line(look.title)}",
        f"state: {state}, from {name(look.branch)} at {name(look.head)} into {name(look.base)}",
        f"merge: {', '.join(map(_word, look.merge))}",
        "; ".join([f"review: {decision}", *(f"{name(who)} {_word(said)}" for who, said in look.reviews)]),
        f"checks: {_checks(look)}",
        f"open threads: {len(still_open)}",
    ]
    for thread in still_open:
        lines += _shown(thread)
    talk.say("\n".join(lines))


def _checks(look: Look) -> str:
    if look.checks is None:
        return "your credential may not read them; the town does, and tells you of those that fail"
    bad = [f"{line(check)} {_word(outcome)}" for check, outcome in look.checks if outcome.lower() not in _PASSED]
    return "; ".join([f"{len(look.checks) - len(bad)} of {len(look.checks)} passed", *bad])


def _word(said: str) -> str:
    """A word of the forge, such as a state: as people write it if it is one word, else quoted."""
    shown = name(said)
    return shown.lower().replace("_", " ") if shown == said else shown


def _shown(thread: Thread) -> list[str]:
    at = "the pull request" if thread.file is None else line(thread.file)
    found = [f"thread {name(thread.id)} at {at}" + ("" if thread.line is None else f", line {thread.line}")]
    for remark in thread.remarks[-_MOST_REMARKS:]:
        found += [f"{name(remark.author)} wrote:", block(remark.text)]
    return found


def _at_the_forge(talk: Talk, do: Callable[[ForgeWork], _R]) -> _R:
    """Do something with the credential; once more with a new one if the forge refused it. Raises NotPosted and ValueError."""
    kept = kept_of(talk.caller, talk.environment)
    try:
        credential = _credential(kept.current().forge, kept.current().reason)
        try:
            return do(work_of(credential, talk.clock))
        except ForgeFailed as failed:
            if failed.error.http_status != 401:
                raise
            kept.forget(credential.token.reveal())
            return do(work_of(_credential(kept.current().forge, None), talk.clock))
    except NotIssued as error:
        raise NotPosted(str(error), final=error.final) from None
    except ForgeFailed as failed:
        passing = failed.error.kind in ("transient", "rate_limited")
        raise NotPosted(f"the forge: {_with_advice(str(failed))}", final=not passing) from None


def _credential(found: ForgeCredential | None, reason: str | None) -> ForgeCredential:
    if found is None:
        why = reason or "the town does not say why"
        raise ValueError(
            f"pr: the town issued no credential for the forge: {why}; tell a person with town-agent escalate"
        )
    return found


def work_of(credential: ForgeCredential, clock: Clock) -> ForgeWork:
    """The pull requests of the credential's repository."""
    from shared.adapters.forge_hosts import ForgeHost, Place

    owner, _, project = credential.project.rpartition("/")
    place = Place(ForgeHost.of(credential.kind, credential.host, credential.api_url or ""), owner, project)
    if credential.kind == "github":
        from infra.agents.town_agent.github_work import GitHubWork

        return GitHubWork(place, credential.token, clock)
    from infra.agents.town_agent.gitlab_work import GitLabWork

    return GitLabWork(place, credential.token, clock)


def _number(talk: Talk, given: Given, forge: ForgeWork) -> int:
    """The number of the pull request that is meant. Raises ValueError if it is none of the agent's repository."""
    url = given.pr_url or talk.caller.pr_url
    if url:
        return _own(talk, url)
    found = forge.open_of(talk.caller.branch) if talk.caller.branch else None
    if found is None:
        raise ValueError("pr: no pull request of the order's branch is open; name one with --pr-url URL")
    return found.number


def _own(talk: Talk, url: str) -> int:
    credential = kept_of(talk.caller, talk.environment).current().forge
    found = pull_request_at(url)
    if credential is None or found is None or found.kind != credential.kind:
        raise ValueError(f"pr: {line(url)} is not the URL of a pull request")
    project = f"{found.repository.owner}/{found.repository.name}"
    if (found.authority, project) != (credential.host, credential.project.lower()):
        raise ValueError(
            f"pr: {line(url)} is not a pull request of {credential.host}/{credential.project}, for which this agent works"
        )
    return found.number


def _thread(look: Look, thread_id: str) -> Thread:
    for thread in look.threads:
        if thread.id == thread_id:
            return thread
    raise ValueError(f"pr comment: the pull request has no thread {line(thread_id)}; see: town-agent pr status")


def _stands_there(look: Look, spot: Spot, text: str) -> bool:
    """Whether a thread begins with the same words at the same place: an earlier try of this command made it."""
    return any(
        thread.remarks[:1] and is_said(thread.remarks[0].text, text) and spot.file in (None, thread.file)
        and spot.line in (None, thread.line)
        for thread in look.threads
    )  # fmt: skip


def _checked_out(talk: Talk) -> str:
    """The commit that the reviewer has checked out."""
    done = subprocess.run(
        ["git", "rev-parse", "--verify", "HEAD"],
        check=False,
        cwd=talk.at,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_GIT_SECONDS,
    )
    if done.returncode != 0:
        raise ValueError("pr review: no commit is checked out here; name the reviewed one with --head COMMIT")
    return done.stdout.strip()


def _with_advice(message: str) -> str:
    """The forge's message, quoted, and what helps, where its words tell."""
    shown, said = line(message), message.lower()
    if "your own pull request" in said:
        return f"{shown}: an author cannot judge its own pull request; report the review with town-agent done or request-changes"
    if "line_code" in said or "must be part of the diff" in said:
        return f"{shown}: only a line that the pull request changes can have a thread; leave out --line, and name it in the text"
    if "not all refs are readable" in said or ("head" in said and "invalid" in said):
        return f"{shown}: push the branch first"
    return shown
