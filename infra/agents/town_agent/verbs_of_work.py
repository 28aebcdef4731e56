"""The verbs with which an agent reports about itself and its work, and with which it reads and writes messages."""

from typing import Final

from infra.agents.town_agent.verb import ESCALATE, PRIORITIES, Argument, Verb, Who

REPORTS: Final = (
    Verb(
        "done",
        "reports:done",
        "report that the work is finished and pushed; if the town cannot accept it, a message says why: see `messages`",
        (
            Argument("--branch", "the branch that contains the work (default: the branch of the order)"),
            Argument("--pr-url", "the URL of the pull request, if there is one", stands_for="URL"),
            Argument("--summary", "a summary of the work for the reviewer", stands_for="TEXT"),
            Argument(
                "--head", "the head of the branch that was worked on or reviewed (default: found)", stands_for="COMMIT"
            ),
            Argument("--base", "its merge base with the target (default: found)", stands_for="COMMIT"),
            Argument("--merge-commit", "as a refinery, the commit of the merge (default: found)", stands_for="COMMIT"),
            Argument("--bead", "the id of the bead (default: the bead of the order)", stands_for="ID"),
        ),
        who=Who.WORKER,
        event="agent_done",
        instead="as the mayor, report `town-agent waiting` when there is nothing left to do",
    ),
    Verb(
        "give-up",
        "reports:give_up",
        "end the work as failed, because it cannot be done; the bead fails with your reason, and people read it",
        (
            Argument(
                "--reason",
                "why the work cannot be done, and what would have to change",
                required=True,
                stands_for="TEXT",
            ),
        ),
        event="agent_completed",
    ),
    Verb(
        "request-changes",
        "reports:request_changes",
        "as a refinery, request changes",
        (
            Argument("--feedback", "what must be changed, and why", required=True, stands_for="TEXT"),
            Argument("--file", "a file that must be changed", kind="texts"),
        ),
        who=Who.REVIEWER,
        event="changes_requested",
        instead=ESCALATE,
    ),
    Verb(
        "status",
        "reports:status",
        "show in one line what you are doing",
        (Argument("text", "the line", kind="words"),),
        event="agent_status",
    ),
    Verb(
        "checkpoint",
        "reports:checkpoint",
        "leave a note for the agent that continues your work if you are stopped; it replaces the earlier one",
        (Argument("note", "text, or a JSON object", kind="words", or_stdin=True),),
        event="agent_checkpoint",
    ),
    Verb("waiting", "reports:waiting", "report that you have nothing to do until a message arrives"),
    Verb(
        "heartbeat",
        "reports:heartbeat",
        "report that you are alive during a long step",
        (
            Argument("--doing", "your last activity (default: tool_use)", default="tool_use"),
            Argument("--tool", "a tool that is running", kind="texts"),
        ),
        event="agent_heartbeat",
    ),
)

WORDS: Final = (
    Verb("messages", "letters:messages", "show your unread messages and acknowledge them", event="nudge_acknowledged"),
    Verb(
        "mail send",
        "letters:send",
        "write to the mayor or to another agent",
        (
            Argument("--to", "`mayor`, or the id of an agent", required=True, stands_for="AGENT"),
            Argument("text", "what to write", kind="words"),
            Argument("--subject", "the subject (default: the first line)", stands_for="TEXT"),
            Argument("--reply-to", "the id of the message that this answers", stands_for="MESSAGE"),
        ),
        event="mail_sent",
    ),
    Verb(
        "escalate",
        "letters:escalate",
        "ask for a person: something is wrong or undecided, and no agent can settle it",
        (
            Argument("--severity", "how urgent it is (default: medium)", choices=PRIORITIES, default="medium"),
            Argument(
                "text",
                "what is wrong, and what a person should decide or do; the first line is the title",
                kind="words",
            ),
        ),
        event="escalation_raised",
    ),
    Verb(
        "say",
        "letters:say",
        "as the mayor, say something to people, or answer a message",
        (
            Argument("text", "what to say", kind="words"),
            Argument("--reply-to", "the id of the message that this answers", stands_for="MESSAGE"),
        ),
        who=Who.MAYOR,
        event="mayor_said",
        instead=ESCALATE,
    ),
    Verb(
        "triage",
        "letters:triage",
        "answer a triage request",
        (
            Argument("request", "the id of the request"),
            Argument("--action", "what to do, for example RESTART or ESCALATE", required=True),
            Argument("--notes", "the reason, for people", stands_for="TEXT"),
        ),
        who=Who.COORDINATOR,
        event="triage_resolved",
        instead=ESCALATE,
    ),
)

TOOLS: Final = (
    Verb(
        "mcp",
        "tool_server:serve",
        "serve your commands as tools of the Model Context Protocol, over standard input and output",
        is_tool=False,
    ),
)
