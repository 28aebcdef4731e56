"""Local stand-ins for AWS, forges and containers, which keep state and can be made to fail.

Everything here serves a make target or a command: `s3_servers`, `git_seed` and the fake GitHub serve the demo, `gateway`
serves `townctl serve`, `container` serves `make drain-test`, `transformed` serves `make transformed`. What only tests use is
in tests; the emulated cloud of the end-to-end tests is in tests/e2e.
"""
