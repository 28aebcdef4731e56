"""What an agent reports about itself and its work."""

from functools import partial

from infra.agents.posting import NotPosted
from infra.agents.town_agent import commits, events
from infra.agents.town_agent.commits import UNKNOWN, Commits
from infra.agents.town_agent.order import WAITING
from infra.agents.town_agent.talk import Given, Talk
from shared.adapters import outside_files
from shared.adapters.local_supervisor import write_atomically
from shared.domain import strict_json, times
from shared.domain.states import Role


def done(talk: Talk, given: Given) -> None:
    """The work is finished and pushed."""
    branch = given.branch or talk.caller.branch
    if not branch:
        raise ValueError("done: the order names no branch; name the branch of the work with --branch BRANCH")
    own = Commits(head=given.head, base=given.base, merge_commit=given.merge_commit)
    seen = commits.found(talk.caller, branch, has_pull_request=given.pr_url is not None, at=talk.at)
    named = Commits(own.head or seen.head, own.base or seen.base, own.merge_commit or seen.merge_commit)
    about = partial(
        events.done, talk.caller, branch=branch, pr_url=given.pr_url, summary=given.summary, bead_id=given.bead
    )
    try:
        talk.report(about(commits=named))
    except NotPosted as error:
        # A town of an older version refuses fields that it does not know. It needs none of them.
        if not error.final or named == UNKNOWN:
            raise
        talk.report(about())


def give_up(talk: Talk, given: Given) -> None:
    """The work cannot be done."""
    if not given.reason.strip():
        raise ValueError("give-up: the reason is empty; say why the work cannot be done with --reason TEXT")
    talk.report(events.gave_up(talk.caller, reason=given.reason))


def request_changes(talk: Talk, given: Given) -> None:
    """A reviewer requests changes."""
    talk.report(events.changes_requested(talk.caller, feedback=given.feedback, files=given.file))


def status(talk: Talk, given: Given) -> None:
    """A line about the work."""
    text = given.text.strip()
    if not text:
        raise ValueError("status: TEXT is empty; use: town-agent status TEXT")
    talk.tell_once(events.status(talk.caller, text, at=talk.clock.now()))


def checkpoint(talk: Talk, given: Given) -> None:
    """A note for the successor: text, or a JSON value."""
    text = given.note.strip()
    if not text:
        raise ValueError("checkpoint: the note is empty; use: town-agent checkpoint TEXT")
    talk.tell(events.checkpoint(talk.caller, _value(text), at=talk.clock.now()))


def waiting(talk: Talk, _given: Given) -> None:
    """The agent has nothing to do."""
    now = talk.clock.now()
    write_atomically(talk.caller.place / WAITING, {"since": times.to_text(now)})
    if talk.caller.role is Role.MAYOR:
        talk.report(events.mayor_waiting(talk.caller, at=now))


def heartbeat(talk: Talk, given: Given) -> None:
    """A sign of life."""
    talk.tell_once(events.heartbeat(talk.caller, doing=given.doing, tools=given.tool, at=talk.clock.now()))


def _value(text: str) -> object:
    """A JSON object or list as such; anything else is text."""
    if not text.startswith(("{", "[")):
        return text
    try:
        return strict_json.foreign(text, limit=outside_files.LARGEST)
    except ValueError:
        return text
