"""An agent that obeys a stranger: `python -m infra.devstack.evil_agent`.

It is a plain agent (`infra.agents.plain_agent`) until a text in its bead tells it to ignore previous instructions, as the text of
an issue by a stranger may. Then it does its worst with what every agent has: a start file, a token, a clone and a user.

    forgeries      events for others, for other generations, of the container, of people, of the town, and bodies that are no JSON
    spying         files, environments and memory of others
    meddling       the configuration of its clone, the files that its runtime reads, its log
    doors          the control server's port, as a web page or another process would use it
    surviving      children that leave its session, clear their environment and ignore signals

Every attempt is a line in `evil.jsonl` in its home (`attempts`), with the answer and whether it got through. The simulation
(`tests.simulation.evil`) sends the same forgeries.
"""
