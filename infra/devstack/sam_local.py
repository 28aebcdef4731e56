"""`make sam-local`: every `sam local invoke` of docs/cloud.md, against a store, a queue and secrets on this machine.

It writes build/sam-local/env.json, which gives each function these servers, and runs each call twice:

- in Lambda's runtime emulator, on Linux on x86_64, with exactly the environment that `sam` would give to the container
- in the container that `sam local invoke` starts, if Docker or Podman runs here and `make build` was run

The towns are in the store, and their inboxes and due markers in a table. `--stay` leaves the servers running for calls by hand,
and prints the credentials that those calls need.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from infra.devstack import containers_of_sam, sam_invocations
from infra.devstack.containers_of_sam import Containers
from infra.devstack.emulator import ROOT, Emulator, emulated
from infra.devstack.s3_servers import REGION, S3Server, moto_server, seaweedfs
from infra.devstack.waiting_tables import make_table
from shared.domain.errors import Refused

HOME: Final = ROOT / "build/sam-local"
ENV: Final = HOME / "env.json"
BUCKET: Final = "towns"
TABLE: Final = "waiting"
KEY_NAME: Final = "town-tokens"
SECRETS: Final = "local"
RULES: Final = [{"callers": ["*"], "towns": ["demo"], "verbs": ["read", "debug", "write", "delete"]}]
_PAGE: Final = ROOT / "docs/cloud.md"
_BUILT: Final = ROOT / "build/sam-x86_64/template.yaml"
_CALL: Final = re.compile(r"^sam local invoke (\w+) --event (\S+) --env-vars (\S+)$", re.MULTILINE)
_HERE: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Call:
    """One documented call."""

    function: str
    event: str
    env: str

    @property
    def words(self) -> list[str]:
        """The words after `sam local invoke`."""
        return [self.function, "--event", self.event, "--env-vars", self.env]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer of a call, and where the call ran."""

    call: Call
    where: str
    answer: Any

    @property
    def failed(self) -> bool:
        """Whether the function failed, as opposed to having refused a request."""
        if not isinstance(self.answer, dict) or "errorMessage" in self.answer:
            return True
        return int(self.answer.get("statusCode", 200)) >= 500

    def __str__(self) -> str:
        """One line for people."""
        verdict, event, short = (
            "FAIL" if self.failed else "ok",
            Path(self.call.event).stem,
            json.dumps(self.answer)[:90],
        )
        return f"{verdict:4}  {self.where:9}  {self.call.function} {event}: {short}"


@dataclass(frozen=True, slots=True)
class LocalServers:
    """The running servers: one of objects, and one of queues, tables and secrets."""

    store: S3Server
    services: S3Server
    queue_url: str

    @property
    def credentials(self) -> dict[str, str]:
        """The variables that a `sam` needs. One is the account's id, for which it must not ask AWS."""
        return {**self.store.environment, "AWS_ENDPOINT_URL": self.services.endpoint_url}

    def settings(self, host: str) -> dict[str, str]:
        """The settings of all functions, which reach this machine as `host`. Empty ones hide variables of the caller's shell."""
        named = {
            "STAGE": "local",
            "TOWN_BUCKET": BUCKET,
            "STORE_ENDPOINT": self.store.endpoint_url,
            "WAITING_TABLE": TABLE,
            "TABLE_ENDPOINT": self.services.endpoint_url,
            "QUEUE_URL": self.queue_url,
            "QUEUE_ENDPOINT": self.services.endpoint_url,
            "TOKEN_SECRET": KEY_NAME,
            "SECRETS_ENDPOINT": self.services.endpoint_url,
            "SECRETS_PREFIX": SECRETS,
            "ACCESS_RULES": json.dumps(RULES),
            "LOG_LEVEL": "INFO",  # Lambda's emulator reads it too, and does not start if it is empty
            **dict.fromkeys(("AGENTS_API", "CONTROL_SERVER", "ECS", "FORGE_HOSTS", "PROFILE", "SENTRY_DSN"), ""),
        }
        return {name: value.replace(_HERE, host) for name, value in named.items()}


def calls() -> tuple[Call, ...]:
    """The calls in docs/cloud.md, in their order."""
    return tuple(Call(*found) for found in _CALL.findall(_PAGE.read_text(encoding="utf-8")))


@contextmanager
def local_servers(home: Path) -> Iterator[LocalServers]:
    """A store with the bucket, and a server with the queue, the table and the key of town tokens. They end with the block."""
    import boto3

    with ExitStack() as running:
        store = running.enter_context(seaweedfs(home / "store"))
        services = running.enter_context(moto_server(home / "services"))
        store.make_bucket(BUCKET)
        session = boto3.session.Session("local", "local", region_name=REGION)
        secrets = session.client("secretsmanager", endpoint_url=services.endpoint_url)
        secrets.create_secret(Name=KEY_NAME, SecretString="a-local-key-of-town-tokens-that-is-long-enough")
        make_table(session.client("dynamodb", endpoint_url=services.endpoint_url), TABLE)
        queue = session.client("sqs", endpoint_url=services.endpoint_url)
        made = queue.create_queue(QueueName="wakes.fifo", Attributes={"FifoQueue": "true"})
        yield LocalServers(store, services, str(made["QueueUrl"]))


def write_env(path: Path, settings: Mapping[str, str]) -> None:
    """Write what `--env-vars` reads: for each function those settings that the template declares for it."""
    template = json.loads((ROOT / "build/template.json").read_text(encoding="utf-8"))
    functions = {
        name: each["Properties"]["Environment"]["Variables"]
        for name, each in template["Resources"].items()
        if each["Type"] == "AWS::Lambda::Function"
    }
    document = {
        name: {each: settings[each] for each in declared if each in settings} for name, declared in functions.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def invocations(
    given: Sequence[Call], *, credentials: Mapping[str, str], template: Path = _BUILT
) -> list[dict[str, Any]]:
    """What `sam` would give to the function of each call. Raises Refused with `sam`'s own words if it refuses one."""
    program = sam_program().with_name("python")
    lines = [json.dumps([*call.words, "--template", str(template)]) for call in given]
    done = subprocess.run(
        [str(program), sam_invocations.__file__],
        check=False,
        cwd=ROOT,
        env=around(credentials),
        input="\n".join(lines),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Refused(
            f"sam refused a call: {done.stderr[-800:]}",
            status=500,
            path="sam",
            hint="correct the call in docs/cloud.md",
        )
    marked = [line for line in done.stdout.splitlines() if line.startswith(sam_invocations.LINE)]
    return [json.loads(line.removeprefix(sam_invocations.LINE)) for line in marked]


def emulated_calls(
    given: Sequence[Call], found: Sequence[Mapping[str, Any]], home: Path, *, host: str = _HERE
) -> Iterator[Outcome]:
    """Run each call in the emulator as `sam` would, with this machine's own address in place of `host`."""
    with ExitStack() as running:
        warm: dict[str, Emulator] = {}
        for call, one in zip(given, found, strict=True):
            if call.function not in warm:
                told = {name: value.replace(f"//{host}:", f"//{_HERE}:") for name, value in one["environment"].items()}
                environment = emulated(call.function, one["handler"], told, home=home, timeout=one["timeout"])
                warm[call.function] = running.enter_context(environment)
            yield Outcome(call, "emulator", warm[call.function].invoke(one["event"]))


def sam_program() -> Path:
    """The installed `sam`. Raises Refused."""
    found = sorted((ROOT / ".tools").glob("sam-*/bin/sam"))
    if not found:
        raise Refused("aws-sam-cli is not installed", status=500, path="sam", hint="run: make sam")
    return found[-1]


def around(credentials: Mapping[str, str]) -> dict[str, str]:
    """The environment of a `sam` that acts with these credentials and no others, and keeps its modules compiled."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    return {**ours, "SAM_CLI_TELEMETRY": "0", **credentials}


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the servers and run the calls. Exit code 1 if one fails."""
    parser = argparse.ArgumentParser(prog="make sam-local", description="Runs every documented `sam local invoke`.")
    parser.add_argument("--stay", action="store_true", help="keep the servers running until Ctrl-C, for calls by hand")
    given = parser.parse_args(arguments)
    home = HOME / time.strftime("%Y%m%d-%H%M%S")
    with local_servers(home) as servers, containers_of_sam.reaching(servers) as containers:
        write_env(ENV, servers.settings(containers.host))
        outcomes = [*_everywhere(servers, containers, home / "functions")]
        print("\n".join(map(str, outcomes)), flush=True)
        if given.stay:
            _stay(servers)
    return 1 if not outcomes or any(each.failed for each in outcomes) else 0


def _everywhere(servers: LocalServers, containers: Containers, home: Path) -> Iterator[Outcome]:
    if sys.platform == "linux" and platform.machine() == "x86_64":
        found = invocations(calls(), credentials=servers.credentials)
        yield from emulated_calls(calls(), found, home, host=containers.host)
    if containers.engine is None:
        print("neither Docker nor Podman runs here, so `sam` itself starts no function", flush=True)
        return
    for call in calls():
        answer = containers_of_sam.invoked(str(sam_program()), call.words, around(servers.credentials))
        yield Outcome(call, containers.engine, answer)


def _stay(servers: LocalServers) -> None:
    wanted = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL")
    exports = " ".join(f"{name}={servers.credentials[name]}" for name in wanted)
    print(f"The servers run until Ctrl-C. In the shell of your calls:\nexport {exports}", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    sys.exit(main())
