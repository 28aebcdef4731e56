"""The control server: it runs all agents of one town in one container and reports to the town how they live and end.

    python -m infra.agents.control_server            the environment configures it: see `settings`

`http` routes requests, `sessions` carries them out, `workspace` manages clones and worktrees, `watch` reports heartbeats and
ends and stops idle agents, `eviction` shuts the container down, `reporter` posts events to the town. Like the local runtime,
it starts and stops processes through `shared.adapters.local_processes`. `start_file.md` describes what an agent finds.
"""
