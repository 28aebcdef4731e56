"""The control server: it runs all agents of one town in one container, and tells the town what becomes of them.

    python -m infra.agents.control_server            settings come from the environment: `settings`

`http` is the door, `sessions` what stands behind it, `workspace` clones and worktrees, `watch` the heartbeats, ends and
idle exits, `eviction` the orderly end of the container, `reporter` the way to the town. Processes are started and ended
by `shared.adapters.local_processes`: the local runtime and this server are one code base. `start_file.md` says what an
agent finds.
"""
