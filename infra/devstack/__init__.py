"""Local stand-ins for AWS, forges and containers, which keep state and can be made to fail.

Everything here is used by a make target or a command:

    s3_servers, git_seed, fake_github    the demo
    model_server                         `make demo AGENT=...`: a model that follows a script, for real coding agents
    gateway                              `townctl serve`
    container                            `make drain-test`
    transformed                          `make transformed`
    sam_local, and what it imports       `make sam-local`: the calls of docs/cloud.md, in the emulator of Lambda and in containers

Stand-ins that only tests use are in tests; the emulated cloud of the end-to-end tests is in tests/e2e.
"""
