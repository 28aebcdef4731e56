"""Prints what `sam local invoke` would start for each of the given calls, without a container: one line for each invocation.

It runs in the environment of aws-sam-cli, and reads the words of one call, as a JSON list, from each line of its input: `echo
'["EventsFunction", "--event", ...]' | .tools/sam-<version>/bin/python infra/devstack/sam_invocations.py`

The whole of `sam local invoke` runs: its options, its template, and the environment that it gives to a function. Only the
container is replaced, so what is printed here is what a function would get.
"""

import json
import sys
from typing import Any, Final

LINE: Final = "invocation: "
"""The beginning of a line that is followed by the JSON of an invocation."""


class _NoContainers:
    """Stands where `sam` has its connection to Docker or Podman, and its runtime of containers."""

    is_docker_reachable = True

    def __call__(self, *_: object, **__: object) -> "_NoContainers":
        """Where `sam` would make the connection."""
        return self

    def invoke(self, config: Any, event: str, *_: object, **__: object) -> None:
        """Print what a container would get."""
        found = {
            "function": config.name,
            "handler": config.handler,
            "timeout": config.timeout,
            "memory": config.memory,
            "environment": config.env_vars.resolve(),
            "event": json.loads(event),
        }
        print(LINE + json.dumps(found), flush=True)


def main() -> None:
    """Run each call. Ends with `sam`'s own error if it refuses one."""
    from samcli.cli.main import cli  # type: ignore[import-not-found]
    from samcli.commands.local.cli_common.invoke_context import InvokeContext  # type: ignore[import-not-found]

    for part in ("_get_container_manager", "lambda_runtime"):
        setattr(InvokeContext, part, _NoContainers())
    for line in sys.stdin:
        cli.main(["local", "invoke", *json.loads(line)], standalone_mode=False)


if __name__ == "__main__":
    main()
