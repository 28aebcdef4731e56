"""What an agent reads and writes: its messages, mail, escalations, the mayor's words, and answers to triage requests."""

from infra.agents.town_agent import events, mailbox
from infra.agents.town_agent.talk import Given, Talk
from shared.domain.quoting import cleaned


def messages(talk: Talk, _given: Given) -> None:
    """Show the unread messages and acknowledge them."""
    for letter in mailbox.unread(talk.caller.place):
        talk.say(cleaned(letter.text))
        if letter.is_nudge:
            talk.tell(events.nudge_acknowledged(talk.caller, letter.message_id))
        letter.mark_read()


def send(talk: Talk, given: Given) -> None:
    """Write to the mayor or to another agent."""
    text = _required(given.text, "mail send", "--to AGENT TEXT")
    said = events.mail_sent(
        talk.caller, text, to=given.to, subject=given.subject, in_reply_to=given.reply_to, at=talk.clock.now()
    )
    talk.tell(said)


def escalate(talk: Talk, given: Given) -> None:
    """Ask for a person."""
    text = _required(given.text, "escalate", "--severity SEVERITY TEXT")
    talk.tell(events.escalation_raised(talk.caller, text, severity=given.severity))


def say(talk: Talk, given: Given) -> None:
    """The mayor says something to people."""
    text = _required(given.text, "say", "TEXT")
    talk.tell(events.mayor_said(talk.caller, text, in_reply_to=given.reply_to, at=talk.clock.now()))


def triage(talk: Talk, given: Given) -> None:
    """Answer a triage request."""
    talk.report(events.triage_resolved(talk.caller, given.request, action=given.action, notes=given.notes))


def _required(text: str, verb: str, usage: str) -> str:
    if not text.strip():
        raise ValueError(f"{verb}: TEXT is empty; use: town-agent {verb} {usage}")
    return text.strip()
