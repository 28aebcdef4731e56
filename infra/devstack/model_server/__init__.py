"""A scripted model server: it answers coding agents as a model would, and follows a script instead of thinking.

    model = ModelServer([Script("the lexer", ("polecat", "Write the lexer"), (Step(Shell("make it")), Step(Say("Done."))))])
    with model.serving():
        ...  # run opencode, Claude Code or Codex against model.url
    model.asked_of("the lexer")

It speaks the three protocols that agents speak: OpenAI's chat completions and responses, and Anthropic's messages, streamed and
whole.

    scripts        what is answered: one reply a turn, and the failures on the way. It knows no protocol
    conversation   what a request says, whatever its protocol
    tools          under which name and with which arguments a program offers its shell, and a tool of an MCP server
    answers        an answer before a protocol writes it
    chat, messages, responses   one protocol each
    streaming      a streamed answer: slow, or broken off in the middle, if the script says so
    failures       how each protocol says that a model is overloaded, a key wrong, a conversation too long
    workers        scripts of polecats and refineries that do what their prompts say
    server         the port
"""
