"""`townctl mayor`: a person talks with the mayor of a town."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Final, NoReturn

from cyclopts import Parameter
from rich.text import Text

from infra.townctl.arguments import TownName, content_of, require_limit
from infra.townctl.context import Context, TheContext
from infra.townctl.output import FOUND, OK, Answer, compact, lines, plain, time_text
from infra.townctl.paging import CursorOption, LimitOption, more
from infra.townctl.place import Place, ThePlace
from infra.ui.short_ids import short
from shared.adapters import ids
from shared.domain import limits, shapes
from shared.domain.errors import Refused
from shared.intake.voice import require_words
from shared.questions.filters import LIMIT_AT_MOST

if TYPE_CHECKING:
    from shared.questions.letters import Conversation, Letter

_EVERY_SECONDS: Final = 2.0
_PAGE: Final = 50
_LOOKS: Final = 900
"""For half an hour: a mayor may have to plan."""
_UNTAKEN: Final = 60
"""For two minutes: a town looks at its inbox at least once a minute."""
_UNDELIVERED: Final = 10
"""For twenty seconds, in which the delivery is tried twice more."""


def say(
    town_id: TownName,
    text: Annotated[str, Parameter(allow_leading_hyphen=True, help="What you say; `-` reads standard input.")],
    /,
    *,
    follow: Annotated[bool, Parameter(negative="", help="Wait for the answer and show it.")] = False,
    place: ThePlace,
    context: TheContext,
) -> Answer:
    """Say something to the mayor, which wakes or starts it. It is a message; what the mayor answers, `townctl mayor log` shows."""
    words = _text_of(text)
    require_words(words)
    if place.conversation(town_id, limit=1, cursor=None).mayor is None:
        hint = "its first tick makes one: run `townctl run`, or wait for it, and say it again"
        raise Refused(f"town {town_id} has no mayor, so nobody would read it", status=409, path="town", hint=hint)
    said = place.say(town_id, words, ids.message_id())
    if not follow:
        line = f"said as message {said.message_id}; `townctl mayor log {town_id} --follow` shows the answer"
        return Answer(said, (Text(plain(line)),))
    context.talk(f"said as message {said.message_id}; waiting for the answer, Ctrl-C ends it")
    letter = _answer_to(place, context, town_id, said.message_id)
    if letter is None:
        line = "no tick has taken the message yet, so nobody has read it; it is kept: start the loop with `townctl run`"
        return Answer(said, (Text(line),), FOUND)
    answered = letter.in_reply_to == said.message_id
    return Answer(
        letter, (*_shown(letter, town_id), *(() if answered else _no_answer(town_id))), OK if answered else FOUND
    )


def log(
    town_id: TownName,
    /,
    *,
    follow: Annotated[bool, Parameter(negative="", help="Go on showing what is said; Ctrl-C ends it.")] = False,
    limit: LimitOption = 50,
    cursor: CursorOption = None,
    place: ThePlace,
    context: TheContext,
) -> Answer:
    """Show what was written to the mayor and what it has said, oldest first.

    Each line says who and when, and whether it was delivered.
    """
    require_limit(limit, LIMIT_AT_MOST)
    found = place.conversation(town_id, limit=limit, cursor=cursor)
    if follow:
        _follow(place, context, town_id, found)
    nobody = () if found.mayor is not None else (Text(f"town {town_id} has no mayor: messages wait until it has one"),)
    shown = [line for each in reversed(found.messages) for line in _shown(each, town_id)]
    return Answer(found, (*nobody, *(shown or [Text("nothing has been said")]), *more(found.next)))


def _text_of(text: str) -> str:
    if text != "-":
        return text
    given = content_of("-", what="text", at_most=limits.BODY_SIZE)
    try:
        return given.decode()
    except UnicodeDecodeError:
        raise Refused("standard input is not UTF-8 text", status=400, path="text", hint="send plain text") from None


def _answer_to(place: Place, context: Context, town_id: str, message_id: str) -> Letter | None:
    """The mayor's answer to a message. If it does not come, the message itself; None if the town has not even taken that.

    Says once what the message waits for. The wait ends early if the message cannot be delivered, or if no tick takes it.
    """
    told: set[str] = set()
    own: Letter | None = None
    stuck = 0
    for _ in range(_LOOKS):
        found = place.conversation(town_id, limit=_PAGE, cursor=None).messages
        answer = next((each for each in found if each.in_reply_to == message_id), None)
        if answer is not None:
            return answer
        own = next((each for each in found if each.bead_id == message_id), None)
        _tell_once(context.talk, told, "no tick has taken it yet" if own is None else _state_of(town_id, own))
        stuck = stuck + 1 if own is None or own.problem is not None else 0
        if stuck >= (_UNTAKEN if own is None else _UNDELIVERED):
            break
        time.sleep(_EVERY_SECONDS)
    return own


def _no_answer(town_id: str) -> Iterator[Text]:
    yield Text(
        f"no answer so far; the message is kept, and `townctl mayor log {town_id} --follow` shows what comes of it"
    )


def _tell_once(talk: Callable[[str], None], told: set[str], line: str) -> None:
    if line not in told:
        told.add(line)
        talk(line)


def _follow(place: Place, context: Context, town_id: str, found: Conversation) -> NoReturn:
    """Print each message, and again when it is delivered, until the command is interrupted."""
    known: dict[str, tuple[bool, str | None]] = {}
    while True:
        for each in reversed(found.messages):
            state = (each.delivered, each.problem)
            if known.get(each.bead_id) != state:
                is_new = each.bead_id not in known
                known[each.bead_id] = state
                if context.wants_json:
                    print(compact(shapes.document(each)), flush=True)
                elif is_new:
                    for line in _shown(each, town_id):
                        context.talk(line.plain)
                else:
                    context.talk(plain(f"{short(each.bead_id)}: {_state_of(town_id, each)}"))
        time.sleep(_EVERY_SECONDS)
        found = place.conversation(town_id, limit=_PAGE, cursor=None)


def _shown(letter: Letter, town_id: str) -> Iterator[Text]:
    """A message: a line about it, then its text, each line of it indented."""
    reply = "" if letter.in_reply_to is None else f", in reply to {short(letter.in_reply_to)}"
    who = letter.from_ or "the town"
    state = "" if letter.from_ == "mayor" and letter.to == "people" else f", {_state_of(town_id, letter)}"
    yield Text(
        plain(f"{time_text(letter.at)} {who} to {letter.to} ({short(letter.bead_id)}{reply}){state}"), style="bold"
    )
    text = letter.text or letter.title
    yield Text("\n".join(f"  {line}" for line in lines(text).split("\n")))


def _state_of(town_id: str, letter: Letter) -> str:
    if letter.delivered:
        return "delivered"
    if letter.problem is not None:
        return f"not delivered: {letter.problem}; `townctl explain bead {letter.bead_id} --town {town_id}` says what comes next"
    return "on its way"
