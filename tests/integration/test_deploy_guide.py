"""Every command of docs/runbook/deploy.md, with the real `sam`: the guided dialogue, and then the whole page in one shell."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect  # type: ignore[import-untyped]
import pytest

from functions.secret_stores import secrets_below
from infra.devstack.gateway import serving
from infra.devstack.s3_servers import moto_server
from shared.adapters import aws_sdk
from shared.adapters.clock import SystemClock
from shared.ports.secrets import Secrets
from tests.contracts.deployments import deployed
from tests.contracts.test_created_stacks import of_samconfig
from tests.contracts.transformed import resources, template
from tests.fake_cloudformation import FakeCloudFormation
from tests.key_pairs import key_pair

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/runbook/deploy.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(sh|toml)\n(.*?)^```", re.DOTALL | re.MULTILINE)
PROMPT = r"\x1b\[1m([^\x1b\n]+)\x1b\[0m \[([^\n]*)\]: $"
RULES = '[{"callers": ["arn:aws:sts::1:assumed-role/Ops/*"], "towns": ["*"], "verbs": ["read"]}]'
AWS = """\
import re, sys, boto3
service, operation, *options = sys.argv[1:]
pascal = lambda name: "".join(word.capitalize() for word in name.removeprefix("--").split("-"))
camel = lambda name: pascal(name)[0].lower() + pascal(name)[1:]
client = boto3.client(service)
named = camel if service == "ecs" else pascal
getattr(client, operation.replace("-", "_"))(**dict(zip(map(named, options[::2]), options[1::2], strict=True)))
"""


def sam_program() -> Path:
    """The installed sam, of the version that the guide names."""
    [program] = (ROOT / path for path in sorted(set(re.findall(r"\.tools/sam-[\d.]+/bin", GUIDE))))
    assert (program / "sam").exists(), "aws-sam-cli is not installed; run: make sam"
    return program / "sam"


@dataclass
class Project:
    """A checkout as `make build` leaves it, with tiny bundles, and an account in which `sam` finds only CloudFormation."""

    home: Path
    environment: dict[str, str]
    formation: FakeCloudFormation = field(default_factory=FakeCloudFormation)

    def sam(self, *words: str) -> str:
        """Run `sam deploy` as far as the change set, and return its output."""
        done = subprocess.run(
            [str(sam_program()), "deploy", "--no-execute-changeset", *words],
            check=False,
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        return done.stdout

    def configured(self, stage: str) -> dict[str, Any]:
        """What `samconfig.toml` says of a stage."""
        found: dict[str, Any] = tomllib.loads((self.home / "samconfig.toml").read_text(encoding="utf-8"))
        section: dict[str, Any] = found[stage]["deploy"]["parameters"]
        return section


@pytest.fixture
def project(tmp_path: Path, as_owner: None) -> Iterator[Project]:
    home = tmp_path / "checkout"
    (home / ".aws-sam/build").mkdir(parents=True)
    for name in ("template.yaml", "samconfig.toml"):
        shutil.copyfile(ROOT / name, home / name)
    built = (ROOT / "template.yaml").read_text(encoding="utf-8")
    for name in resources("AWS::Lambda::Function"):
        bundle = home / ".aws-sam/build" / name
        bundle.mkdir()
        (bundle / "app.py").write_text("")
        head = f"  {name}:\n    Type: AWS::Serverless::Function\n"
        before = f"{head}    Metadata: {{ BuildMethod: makefile }}\n    Properties:\n"
        assert before in built
        built = built.replace(before, f"{head}    Properties:\n      CodeUri: {name}\n")
    (home / ".aws-sam/build/template.yaml").write_text(built)
    project = Project(home, {})
    with serving(project.formation) as url:
        quiet = {"SAM_CLI_TELEMETRY": "0", "SAM_CLI_POLL_DELAY": "0.1", "TERM": "dumb"}
        ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        project.environment = {**ours, **quiet, "AWS_ENDPOINT_URL": url, "AWS_DEFAULT_REGION": "eu-west-1"}
        yield project


def test_the_guided_dialogue_ends_if_each_prompt_is_answered_with_enter_and_its_answers_are_used_again(
    project: Project,
) -> None:
    """It asked for the DSN of Sentry for ever, and took a space as the DSN, with which every function failed."""
    words = ["deploy", "--guided", "--no-execute-changeset"]
    of_the_stage = dict(each.split("=", 1) for each in project.configured("default")["parameter_overrides"])
    dialogue = pexpect.spawn(
        str(sam_program()), words, cwd=project.home, env=project.environment, timeout=120, encoding="utf-8",
        dimensions=(50, 400),
    )  # fmt: skip
    asked: dict[str, str] = {}
    while dialogue.expect([PROMPT, pexpect.EOF]) == 0:
        prompt = dialogue.match.group(1)
        assert prompt not in asked, f"asked again: {prompt}"
        asked[prompt] = dialogue.match.group(2)
        dialogue.sendline(RULES if prompt == "Parameter AccessRules" else "")
    dialogue.close()
    assert dialogue.exitstatus == 0
    defaults = {name: str(about["Default"]) for name, about in template()["Parameters"].items()}
    [first] = project.formation.change_sets
    assert (first.stack, first.kind) == ("town-reconciler-dev", "CREATE")
    assert first.given == {**defaults, **of_the_stage, "AccessRules": RULES}
    assert {f"Parameter {name}" for name in defaults} <= set(asked)
    project.sam()
    assert project.formation.change_sets[1] == first


@pytest.mark.long
def test_every_command_of_the_guide_is_accepted_and_the_functions_find_the_secrets_that_it_stores(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", project.environment["AWS_DEFAULT_REGION"])
    bin_ = stand_ins(tmp_path)
    for name in ("TOKEN-FILE", "DSN-FILE"):
        (project.home / name).write_text("a-token-or-a-dsn\n")
    (project.home / "KEY-FILE").write_text(key_pair()[0])
    with moto_server(tmp_path / "services") as services:
        secret(services.endpoint_url).create_secret(Name="ARN", SecretString="the key of town tokens")
        script = ["set -eu", f"export ENDPOINT_OF_SERVICES={services.endpoint_url}", 'export PATH="$STAND_INS:$PATH"']
        script.append("townctl town create TOWN > /dev/null")
        for kind, block in BLOCK.findall(GUIDE):
            script.append(f"configure <<'TOML'\n{block}TOML\n" if kind == "toml" else block)
            script.append('export PATH="$STAND_INS:$PATH"')
        around = {
            **project.environment,
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "STAND_INS": str(bin_),
            "PYTHONPATH": str(ROOT),
        }
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            check=False,
            cwd=project.home,
            env=around,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        dev, prod = (secrets_of(stage, services.endpoint_url) for stage in ("default", "prod"))
        assert dev.get("platform/forges/git.example.com") is not None
        assert dev.get("towns/demo/forges/github.com") is not None
        dsn = secret(services.endpoint_url).get_secret_value(SecretId="town-reconciler/dev/platform/sentry-dsn")
        assert dsn["SecretString"]
        assert prod.get("platform/control-key") is not None
    stages = [change.given["Stage"] for change in project.formation.change_sets]
    assert stages == ["dev", "prod", "prod"]
    _, before, on_ecs = project.formation.change_sets
    assert before.given["LogRetentionDays"] == "90"
    assert json.loads(before.given["AccessRules"])[0]["verbs"] == ["read", "debug", "write"]
    assert before.given.items() < on_ecs.given.items()
    assert on_ecs.given["EcsTaskPer"] == "town"


def secret(url: str) -> Any:
    return aws_sdk.client(
        "secretsmanager", connect_seconds=2, read_seconds=5, attempts=1, endpoint_url=url, region="eu-west-1"
    )


def secrets_of(section: str, url: str) -> Secrets:
    """The secrets that the functions of a stage of samconfig.toml read."""
    variables = deployed(**of_samconfig(section))["WorkerFunction"]["Properties"]["Environment"]["Variables"]
    return secrets_below(variables["SECRETS_PREFIX"], SystemClock(), endpoint_url=url)


def stand_ins(place: Path) -> Path:
    """Programs under the names that the guide uses: `sam` stops before it deploys, and the others ask this machine."""
    bin_ = place / "stand-ins"
    bin_.mkdir()
    python = f"exec '{sys.executable}'"
    programs = {
        "sam": SAM.replace("SAM", str(sam_program())),
        "make": "exit 0",
        "openssl": "echo a-random-value-of-this-test",
        "aws": f'export AWS_ENDPOINT_URL=$ENDPOINT_OF_SERVICES; {python} - "$@" <<"EOF"\n{AWS}EOF',
        "ssh-keygen": "exit 0  # the key is there",
        "ssh-keyscan": f'echo "$1 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{43 * "A"}"',
        "townctl": TOWNCTL.replace("PYTHON", python),
        "configure": f"{python} -c '{CONFIGURE}'",
    }
    for name, program in programs.items():
        (bin_ / name).write_text(f"#!/bin/bash\nset -eu\n{program}\n")
        (bin_ / name).chmod(0o755)
    return bin_


SAM = """\
[ "$1" = deploy ] || exec SAM "$@" --help >/dev/null  # these would ask a stack; an unknown option is refused before the help
[ "${2:-}" != --guided ] || exit 0  # the test above answers its prompts
exec SAM "$@" --no-execute-changeset"""
TOWNCTL = """\
[ "$1" != doctor ] || exit 0  # tests/e2e calls it
[ "$1" != --bucket ] || shift 2
export AWS_ENDPOINT_URL=$ENDPOINT_OF_SERVICES
given=("${@//TOWN/demo}")
PYTHON -m infra.townctl.main "${given[@]//APP-ID/12345}\""""
CONFIGURE = """\
import sys, pathlib
path, block = pathlib.Path("samconfig.toml"), sys.stdin.read()
known, mark = path.read_text(), "parameter_overrides = ["
if block.startswith("["):
    path.write_text(known[: known.index(block.splitlines()[0])] + block)
else:
    before, _, after = known.rpartition(mark)
    path.write_text(before + mark + block.removeprefix(mark).rstrip().removesuffix("]") + after)
"""
