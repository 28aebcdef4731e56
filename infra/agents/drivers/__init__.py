"""Drivers let real coding agents work for a town: `python -m infra.agents.drivers NAME` is the program of such an agent.

- `contract` is what a driver implements: how its program is started, and what the program's output means.
- `opencode`, `claude` and `codex` implement it; `known` lists them. docs/agents/writing-a-driver.md shows how to write another one.
- `session` works on one start order with any driver, turn by turn: `turns` runs one turn of the program (`child` is its process),
  `pulse` tells the town what happens, `failures` tells apart why a turn failed, `mail` brings letters, `transcript` keeps what was
  said.
"""
