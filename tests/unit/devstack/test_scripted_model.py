"""What the scripted model answers, without any protocol."""

from collections.abc import Callable

import pytest

from infra.devstack.model_server import workers
from infra.devstack.model_server.conversation import Conversation, OfferedTool, Said
from infra.devstack.model_server.scripts import Call, Reply, Say, Script, Shell, Step, next_turn
from infra.devstack.model_server.tools import NotOffered, ToolCall, next_content

BASH = (OfferedTool("bash"),)
LEXER = Script("lexer", ("polecat", "Write the lexer"), (Step(Shell("make")), Step(Say("Done.")), Step(Say("Really."))))
MAIL = Script("mail", ("plan a parser",), (Step(Shell("town-agent convoy create")), Step(Say("Planned."))))


def asked(*said: Said, tools: tuple[OfferedTool, ...] = BASH) -> Conversation:
    return Conversation("m1", said, tools)


def user(text: str) -> Said:
    return Said("user", text)


def answered(result: str = "") -> tuple[Said, Said]:
    return Said("assistant", ""), Said("tool", result)


def reply_to(conversation: Conversation, *scripts: Script) -> Reply | None:
    turn = next_turn(scripts, conversation)
    return None if turn is None else turn.reply


def test_the_first_turn_is_the_first_step_of_the_script_whose_words_all_occur() -> None:
    other = Script("review", ("refinery", "Write the lexer"), (Step(Say("Reviewed.")),))
    prompt = user("You are a polecat. Write the lexer.")
    assert reply_to(asked(prompt), other, LEXER) == Shell("make")


def test_the_system_prompt_belongs_to_the_first_prompt() -> None:
    assert reply_to(asked(Said("system", "You are a polecat."), user("Write the lexer")), LEXER) == Shell("make")


def test_each_answer_moves_the_script_one_step_on() -> None:
    prompt = user("polecat: Write the lexer")
    assert reply_to(asked(prompt, *answered("made")), LEXER) == Say("Done.")


def test_an_agent_that_is_asked_once_more_continues_its_script() -> None:
    conversation = asked(
        user("polecat: Write the lexer"), *answered(), Said("assistant", "Done."), user("You have not reported.")
    )
    assert reply_to(conversation, LEXER) == Say("Really.")


def test_a_script_of_its_own_begins_with_the_mail_that_it_is_for() -> None:
    conversation = asked(user("polecat: Write the lexer"), *answered(), user("From a person: plan a parser"))
    assert reply_to(conversation, LEXER, MAIL) == Shell("town-agent convoy create")
    assert reply_to(asked(*conversation.said, *answered()), LEXER, MAIL) == Say("Planned.")


def test_a_script_that_has_ended_says_so() -> None:
    conversation = asked(user("plan a parser"), *answered(), *answered(), *answered())
    assert reply_to(conversation, MAIL) == Say("There is nothing left to do.")


def test_what_tools_print_chooses_no_script() -> None:
    conversation = asked(user("polecat: Write the lexer"), *answered("plan a parser"))
    assert reply_to(conversation, MAIL, LEXER) == Say("Done.")


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        (workers.WORK, lambda title: workers.implements(title, "make")),
        (workers.REVIEW, workers.approves),
        (workers.REVIEW, lambda title: workers.approves_if(title, "make", wants="more", file="a")),
        (workers.REWORK, lambda title: workers.reworks(title, "make")),
        (workers.FEEDBACK, lambda title: workers.answers_feedback(title, "make")),
        (workers.CONFLICT, lambda title: workers.resolves_conflicts(title, "make")),
        (workers.LANDING, workers.lands),
    ],
)
def test_the_work_of_an_agent_is_not_taken_for_that_in_a_commit_that_its_program_shows(
    kind: str, made: Callable[[str], Script]
) -> None:
    """Claude Code puts the newest commits of its directory into its system prompt."""
    shown = f'Recent commits:\n  Write the lexer\n\n{kind}\n\n- Title: "Write the parser"'
    assert not made("Write the lexer").suits(shown)
    assert made("Write the parser").suits(shown)


def test_a_prompt_without_a_script_has_no_answer() -> None:
    assert reply_to(asked(user("Hello")), LEXER) is None


def test_a_request_without_tools_asks_for_a_title_and_uses_up_no_turn() -> None:
    assert reply_to(asked(user("polecat: Write the lexer"), tools=()), LEXER) == Say("A piece of work")


def test_a_reply_may_be_made_of_the_prompt() -> None:
    script = Script("echo", ("Run:",), (Step(lambda prompt: Shell(prompt.partition("Run: ")[2])),))
    assert reply_to(asked(user("Run: git status")), script) == Shell("git status")


def test_each_program_gets_its_own_name_of_the_shell() -> None:
    names = {
        tool: next_content(Shell("ls"), asked(tools=(OfferedTool("read"), OfferedTool(tool))))
        for tool in ("bash", "Bash", "exec_command", "shell_command")
    }
    assert {tool: call.name for tool, call in names.items() if isinstance(call, ToolCall)} == {
        tool: tool for tool in names
    }
    codex = names["exec_command"]
    assert isinstance(codex, ToolCall)
    assert codex.arguments["cmd"] == "ls"


def test_a_tool_of_a_server_is_found_by_its_own_name() -> None:
    for offered in (
        OfferedTool("town_bead_show"),
        OfferedTool("mcp__town__bead_show"),
        OfferedTool("bead_show", "mcp__town"),
    ):
        call = next_content(Call("bead_show", {"bead": "b1"}), asked(tools=(*BASH, offered)))
        assert call == ToolCall(offered.name, {"bead": "b1"}, offered.namespace)


def test_a_tool_is_not_taken_for_another_whose_name_ends_like_it() -> None:
    offered = (OfferedTool("town_list_waiting"), OfferedTool("town_waiting"))
    assert next_content(Call("waiting"), asked(tools=offered)) == ToolCall("town_waiting", {})


def test_a_tool_whose_server_is_still_starting_is_waited_for() -> None:
    offered = (OfferedTool("Bash"), OfferedTool("WaitForMcpServers"))
    assert next_content(Call("bead_show"), asked(tools=offered)) == ToolCall("WaitForMcpServers", {})


def test_a_command_that_still_runs_is_looked_at_again_whatever_the_script_says() -> None:
    running = Conversation("m1", (user("plan a parser"), *answered()), (OfferedTool("exec_command"),), running=7)
    call = next_content(Say("Done."), running)
    assert isinstance(call, ToolCall)
    assert (call.name, call.arguments["session_id"]) == ("write_stdin", 7)


def test_a_tool_that_is_not_offered_is_an_error_that_names_those_that_are() -> None:
    for reply in (Call("bead_show"), Shell("ls")):
        with pytest.raises(NotOffered, match="read"):
            next_content(reply, asked(tools=(OfferedTool("read"),)))
