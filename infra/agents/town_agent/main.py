"""The commands of `town-agent`.

The start file that TOWN_AGENT_CONTEXT names identifies the agent and its town. `infra.agents.posting` describes where reports
go. Exit codes:

    0    the report is stored
    1    the report was not acknowledged: try again
    2    wrong usage, or the town refuses the report: do not try again
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from infra.agents.posting import NotPosted, Poster, patiently, poster_from
from infra.agents.town_agent import commits, events, mailbox
from infra.agents.town_agent.commits import UNKNOWN, Commits
from infra.agents.town_agent.order import SPOKE, WAITING, Caller, NoOrder, caller
from shared.adapters import clock as clocks
from shared.adapters.local_supervisor import write_atomically
from shared.domain import times
from shared.domain.quoting import cleaned
from shared.domain.states import Label
from shared.ports.clock import Clock

OK: Final = 0
NOT_POSTED: Final = 1
REFUSED: Final = 2


class Talk:
    """One call of town-agent: the agent, its clock and the poster that reaches its town."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Raises NoOrder if there is no start file, ValueError if the environment names no place to post to."""
        self.caller: Caller = caller(environment)
        self.clock: Clock = clocks.from_text(environment.get(clocks.CLOCK_VARIABLE, ""))
        self._poster: Poster = poster_from(environment, town_id=self.caller.town_id, clock=self.clock)

    def tell(self, *said: events.AgentEvent) -> None:
        """Post events, with retries. Raises NotPosted."""
        patiently(lambda: self._poster.post(said), clock=self.clock)

    def tell_once(self, said: events.AgentEvent) -> None:
        """Post an event without retries, because the next event of its kind replaces it. Raises NotPosted."""
        self._poster.post([said])


def main() -> None:
    """Run town-agent with the arguments of this process."""
    sys.exit(run(sys.argv[1:], os.environ))


def run(words: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one command. Returns the exit code."""
    if words[:1] == ["git-credential"]:
        from infra.agents.town_agent import git_credential

        return git_credential.run(words[1:], environment)
    try:
        arguments = _parser().parse_args(words)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else REFUSED
    try:
        command: Callable[[Talk, argparse.Namespace], None] = arguments.command
        talk = Talk(environment)
        if command is not _waiting:
            (talk.caller.place / SPOKE).touch()
        command(talk, arguments)
    except (NoOrder, ValueError) as error:
        return _complain(error, REFUSED)
    except NotPosted as error:
        return _complain(error, REFUSED if error.final else NOT_POSTED)
    return OK


def _done(talk: Talk, given: argparse.Namespace) -> None:
    branch = given.branch or talk.caller.branch
    if not branch:
        raise ValueError("done: the order names no branch; name the branch of the work with --branch BRANCH")
    own = Commits(head=given.head, base=given.base, merge_commit=given.merge_commit)
    seen = commits.found(talk.caller, branch, has_pull_request=given.pr_url is not None, at=Path.cwd())
    named = Commits(own.head or seen.head, own.base or seen.base, own.merge_commit or seen.merge_commit)
    about = partial(
        events.done, talk.caller, branch=branch, pr_url=given.pr_url, summary=given.summary, bead_id=given.bead
    )
    try:
        talk.tell(about(commits=named))
    except NotPosted as error:
        # A town of an older version refuses fields that it does not know. It needs none of them.
        if not error.final or named == UNKNOWN:
            raise
        talk.tell(about())


def _status(talk: Talk, given: argparse.Namespace) -> None:
    text = " ".join(given.text).strip()
    if not text:
        raise ValueError("status: TEXT is empty; use: town-agent status TEXT")
    talk.tell_once(events.status(talk.caller, text, at=talk.clock.now()))


def _request_changes(talk: Talk, given: argparse.Namespace) -> None:
    talk.tell(events.changes_requested(talk.caller, feedback=given.feedback, files=given.file))


def _waiting(talk: Talk, _given: argparse.Namespace) -> None:
    now = talk.clock.now()
    write_atomically(talk.caller.place / WAITING, {"since": times.to_text(now)})
    if talk.caller.role == "mayor":
        talk.tell(events.mayor_waiting(talk.caller, at=now))


def _say(talk: Talk, given: argparse.Namespace) -> None:
    text = " ".join(given.text).strip()
    if not text:
        raise ValueError("say: TEXT is empty; use: town-agent say TEXT")
    talk.tell(events.mayor_said(talk.caller, text, in_reply_to=given.reply_to, at=talk.clock.now()))


def _heartbeat(talk: Talk, given: argparse.Namespace) -> None:
    said = events.heartbeat(talk.caller, doing=given.doing, tools=given.tool, at=talk.clock.now())
    talk.tell_once(said)


def _messages(talk: Talk, _given: argparse.Namespace) -> None:
    for letter in mailbox.unread(talk.caller.place):
        print(cleaned(letter.text), flush=True)
        if letter.is_nudge:
            talk.tell(events.nudge_acknowledged(talk.caller, letter.message_id))
        letter.mark_read()


def _triage(talk: Talk, given: argparse.Namespace) -> None:
    talk.tell(events.triage_resolved(talk.caller, given.request, action=given.action, notes=given.notes))


def _bead_create(talk: Talk, given: argparse.Namespace) -> None:
    if talk.caller.role != "mayor":
        _require_proposal(talk.caller, given)
    bead = {
        "bead_id": given.id,
        "type": "issue",
        "title": given.title,
        "body": given.body,
        "rig_id": given.rig or talk.caller.rig_id,
        "priority": given.priority,
        "labels": given.label,
        "depends_on": given.depends_on,
        "convoy_id": given.convoy,
        "metadata": dict(_pair(text) for text in given.metadata) or None,
    }
    said = events.bead_created(talk.caller, bead)
    talk.tell(said)
    print(said["payload"]["bead"]["bead_id"])
    if talk.caller.role != "mayor":
        print("proposed: it is held until the mayor or an operator decides about it", file=sys.stderr)


def _require_proposal(caller: Caller, given: argparse.Namespace) -> None:
    """Raises ValueError for what the town refuses from an agent that is not the mayor."""
    if caller.role != "polecat":
        raise ValueError("bead create: only a polecat proposes beads; as a reviewer, use: town-agent request-changes")
    refused = {
        "--convoy": given.convoy is not None,
        "--depends-on": bool(given.depends_on),
        "--rig": given.rig not in (None, caller.rig_id),
        "--label": any(label.startswith("gt:") and label != Label.HELD for label in given.label),
    }
    for option, is_given in refused.items():
        if is_given:
            raise ValueError(
                f"bead create: leave out {option}: a polecat proposes an issue of its own rig with title, body, priority, "
                "labels of its own and metadata, and the mayor decides the rest"
            )


def _bead_release(talk: Talk, given: argparse.Namespace) -> None:
    talk.tell(events.bead_released(talk.caller, given.bead))


def _bead_cancel(talk: Talk, given: argparse.Namespace) -> None:
    talk.tell(events.bead_cancelled(talk.caller, given.bead))


def _convoy_create(talk: Talk, given: argparse.Namespace) -> None:
    rig_id = given.rig or talk.caller.rig_id
    if not rig_id:
        raise ValueError("convoy create: the order names no rig; name one with --rig ID")
    waits = given.in_order
    tasks = [
        {"title": title, **({"depends_on": [number - 1]} if waits and number else {})}
        for number, title in enumerate(given.task)
    ]
    convoy: dict[str, object] = {
        "convoy_id": given.id,
        "title": given.title,
        "rig_id": rig_id,
        "merge_mode": given.merge_mode,
        "staged": True if given.staged else None,
        "tasks": tasks,
    }
    said = events.convoy_created(talk.caller, convoy)
    talk.tell(said)
    print(said["payload"]["convoy_id"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="town-agent", description="Report to the town that started this agent.", allow_abbrev=False
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_reports(commands)
    _add_answers(commands)
    _add_bead_create(commands)
    _add_convoy_create(commands)
    return parser


def _add_reports(commands: object) -> None:
    done = _command(commands, "done", _done, "report that the work is finished and pushed")
    done.add_argument("--branch", help="the branch that contains the work (default: the branch of the order)")
    done.add_argument("--pr-url", help="the URL of the pull request, if there is one")
    done.add_argument("--summary", help="a summary of the work for the reviewer")
    done.add_argument(
        "--head", metavar="COMMIT", help="the head of the branch that was worked on or reviewed (default: found)"
    )
    done.add_argument("--base", metavar="COMMIT", help="its merge base with the target (default: found)")
    done.add_argument(
        "--merge-commit", metavar="COMMIT", help="as a refinery, the commit of the merge (default: found)"
    )
    done.add_argument("--bead", help="the id of the bead (default: the bead of the order)")

    status = _command(commands, "status", _status, "show in one line what you are doing")
    status.add_argument("text", nargs="+", help="the line")

    changes = _command(commands, "request-changes", _request_changes, "as a reviewer, request changes")
    changes.add_argument("--feedback", required=True, help="what must be changed, and why")
    changes.add_argument("--file", action="append", default=[], help="a file that must be changed; may be repeated")

    _command(commands, "waiting", _waiting, "report that you have nothing to do until a message arrives")

    beat = _command(commands, "heartbeat", _heartbeat, "report that you are alive during a long step")
    beat.add_argument("--doing", default="tool_use", help="your last activity (default: tool_use)")
    beat.add_argument("--tool", action="append", default=[], help="a tool that is running; may be repeated")


def _add_answers(commands: object) -> None:
    _command(commands, "messages", _messages, "show your unread messages and acknowledge them")

    say = _command(commands, "say", _say, "as the mayor, say something to people, or answer a message")
    say.add_argument("text", nargs="+", help="what to say")
    say.add_argument("--reply-to", metavar="MESSAGE", help="the id of the message that this answers")

    triage = _command(commands, "triage", _triage, "answer a triage request")
    triage.add_argument("request", help="the id of the request")
    triage.add_argument("--action", required=True, help="what to do, for example RESTART or ESCALATE")
    triage.add_argument("--notes", help="the reason, for people")


def _add_bead_create(commands: Any) -> None:
    bead = commands.add_parser("bead", help="create beads; as the mayor, release or cancel them").add_subparsers(
        required=True, metavar="create|release|cancel"
    )
    new = _command(bead, "create", _bead_create, "create a bead and print its id; of a polecat, it is a proposal")
    new.add_argument("--title", required=True, help="the title")
    new.add_argument("--body", help="the description")
    new.add_argument("--rig", help="the id of the rig (default: the rig of the order)")
    new.add_argument("--label", action="append", default=[], help="a label; may be repeated")
    new.add_argument("--priority", choices=("low", "medium", "high", "critical"))
    new.add_argument(
        "--depends-on", action="append", default=[], metavar="BEAD", help="a bead that blocks this one; may be repeated"
    )
    new.add_argument("--convoy", metavar="BEAD", help="the id of the convoy that it belongs to")
    new.add_argument("--metadata", action="append", default=[], metavar="KEY=VALUE", help="metadata; may be repeated")
    new.add_argument("--id", help="the id of the bead (default: derived from its content)")

    release = _command(bead, "release", _bead_release, "as the mayor, let a held bead be worked on")
    release.add_argument("bead", help="the id of the bead")
    cancel = _command(bead, "cancel", _bead_cancel, "as the mayor, end a bead that nobody shall work on")
    cancel.add_argument("bead", help="the id of the bead")


def _add_convoy_create(commands: Any) -> None:
    convoy = commands.add_parser("convoy", help="create convoys").add_subparsers(required=True, metavar="create")
    many = _command(convoy, "create", _convoy_create, "create a convoy of tasks and print its id")
    many.add_argument("--title", required=True, help="the title")
    many.add_argument("--rig", help="the id of the rig (default: the rig of the order)")
    many.add_argument("--task", action="append", required=True, metavar="TITLE", help="a task; may be repeated")
    many.add_argument("--in-order", action="store_true", help="make each task depend on the one before it")
    many.add_argument("--merge-mode", choices=("review-then-land", "review-and-merge"))
    many.add_argument("--staged", action="store_true", help="create the convoy without starting its tasks")
    many.add_argument("--id", help="the id of the convoy (default: derived from its content)")


def _command(
    commands: Any, name: str, command: Callable[[Talk, argparse.Namespace], None], about: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
    parser.set_defaults(command=command)
    return parser


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ValueError(f"--metadata: {text!r} is not of the form KEY=VALUE")
    return key, value


def _complain(error: Exception, code: int) -> int:
    print(f"town-agent: {cleaned(str(error))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    main()
