"""The control server: it runs all agents of one town in one container and reports to the town how they live and end.

    python -m infra.agents.control_server

    clean_start  hides the environment, which contains keys, from other processes
    process      runs the server from its start to its end
    settings     reads the configuration from the environment
    http         checks the caller's key and routes requests
    sessions     carries the requests out
    workspace    manages the clones of agents
    git_runs     runs git as the user whose files it works on
    watch        reports how agents live and end, and stops idle ones
    eviction     shuts the container down
    reporter     posts events to the town
    single       runs a container for one agent only

Like the local runtime, the server starts and stops processes through `shared.adapters.local_processes`. `start_file.md`
describes the environment and the files that an agent finds when it starts.
"""
