"""A town as in a deployment: an API that knows tokens, a container with a control server, and a private repository at a forge.

The forge is the fake GitHub with an App; git reaches its repository over HTTP, and only with a credential of that App. Nothing
leads from the agents to the files of the town.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import pytest

from functions.credentials import app as credentials
from functions.debug import app as debug
from functions.events import app as events
from infra.devstack import container as containers
from infra.devstack import fake_git_http, git_seed
from infra.devstack.container import Container, NewestAddresses
from infra.devstack.fake_git import GitRepository
from infra.devstack.fake_git_http import Level, Verdict
from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_site import Site
from infra.devstack.gateway import serving
from infra.devstack.model_server.scripts import Script
from infra.devstack.model_server.server import KEY, MODEL, ModelServer
from infra.townctl import forges, serve, wiring
from infra.townctl.context import Context
from infra.townctl.provers import prover_of
from shared.adapters import clock as clocks
from shared.adapters import ids
from shared.adapters.clock import ScaledClock, SystemClock
from shared.adapters.control_server import ControlServerRuntime
from shared.adapters.github.app import app_secret
from shared.adapters.local_processes import LocalProcessRuntime
from shared.adapters.town_tokens import Mint
from shared.ports.secrets import Secret
from shared.ports.steps import drive
from shared.runner import founding
from tests.e2e_agents.real_towns import RIG, ROOT, TOWN, RealTown, Watcher, made, ticking
from tests.key_pairs import key_pair

HOST: Final = "github.e2e.invalid"
PROJECT: Final = "acme/work"
URL: Final = f"https://{HOST}/{PROJECT}.git"
CONTROL_KEY: Final = "canary-key-of-the-control-server-0123456789"
SPEED: Final = 15.0
_APP: Final = "12345"
_MAY: Final = {
    "contents": "write",
    "pull_requests": "write",
    "issues": "write",
    "checks": "read",
    "actions": "read",
    "statuses": "read",
}
REFINERY: Final = {"review_mode": "comments", "auto_merge_delay_minutes": 0, "auto_resolve_pr_feedback": True}
_CONFIG: Final[dict[str, Any]] = {
    "merge_strategy": "pr",
    "staged_convoys_default": False,
    "agent_runtime": {"kind": "control_server"},
    "default_model": MODEL,
    "refinery": REFINERY,
}


@dataclass
class ForgeTown(RealTown):
    """A town whose agents work in a container. `runtime` shows what runs there."""

    github: FakeGitHub = field(kw_only=True)
    git_url: str = field(kw_only=True)
    container: Container = field(kw_only=True)
    refused: list[Verdict] = field(kw_only=True)
    """The questions of git that the forge refused although they had a token."""
    another: Callable[[str], Container] = field(kw_only=True)
    minted: list[str] = field(kw_only=True)
    """The tokens of the town that were made."""

    def replace_container(self, instance_id: str) -> None:
        """Evict the container, as a platform does, and start another instance with its disk."""
        self.container.close()
        self.container = self.another(instance_id)

    def logs(self) -> list[Path]:
        """The output of every agent."""
        return sorted(self.container.disk.rglob("*.log"))

    def story(self) -> str:
        """What the town, its container, its agents and the forge did."""
        asked = [f"{each.method} {each.path}" for each in self.github.requests[-20:]]
        reviews = self.rows("SELECT * FROM review_metadata")
        return "\n".join(
            [super().story(), *self.container.said[-30:], *asked, *map(str, self.github.site.pulls), *map(str, reviews)]
        )

    def opens_to(self, token: str) -> bool:
        """Whether the forge shows its repository to git with this token, or, if it is empty, without one."""
        at = urlsplit(self.git_url)._replace(path=f"/{PROJECT}.git")
        url = urlunsplit(at._replace(netloc=f"x-access-token:{token}@{at.netloc}") if token else at)
        around = {**os.environ, **git_seed.OFFLINE, "GIT_ALLOW_PROTOCOL": "http"}
        return subprocess.run(["git", "ls-remote", url], check=False, capture_output=True, env=around).returncode == 0

    def arrives(self, file: str, text: str) -> None:
        """Somebody else's work arrives in the main branch."""
        tree = self.data.parent / "other-work"
        around = {**os.environ, **git_seed.OFFLINE, **git_seed.IDENTITY}
        subprocess.run(["git", "clone", "--quiet", str(self.repository), str(tree)], check=True, env=around)
        (tree / file).write_text(f"{text}\n", encoding="utf-8")
        for words in (["add", "."], ["commit", "--quiet", "-m", "Other work"], ["push", "--quiet"]):
            subprocess.run(["git", *words], check=True, cwd=tree, env=around)


def agents(name: str) -> dict[str, str]:
    """The variables of a container whose agents are one coding agent."""
    return {"TOWN_AGENT": name, "TOWN_AGENT_COMMAND": ""}


def agents_by_role(**programs: str) -> dict[str, str]:
    """The variables of a container whose agents are another program for each role."""
    words = [f"{role}={name}" for role, name in programs.items()]
    return {"TOWN_AGENT_COMMAND": json.dumps([sys.executable, "-m", "tests.e2e_agents.by_role", *words])}


@contextmanager
def a_forge(repository: Path, refused: list[Verdict]) -> Iterator[tuple[FakeGitHub, str]]:
    """The fake GitHub with its App, and the URL at which git finds its repositories. What it answers to tokens that it refuses is
    added to `refused`.
    """
    github = FakeGitHub(Site(repository=GitRepository(repository), projects={PROJECT}, now=SystemClock().now))
    github.host = HOST
    github.apps.create(_APP, key_pair()[1], permissions=_MAY)
    github.apps.install(_APP, "acme", repositories={PROJECT})

    def judge(token: str, project: str, level: Level) -> Verdict:
        verdict = github.apps.verdict(token, project, level)
        if verdict != "yes":
            refused.append(verdict)
        return verdict

    with github.serving(), fake_git_http.serving({PROJECT: repository}, judge) as door:
        yield github, door.url


@contextmanager
def a_town_at_a_forge(
    root: Path,
    programs: Mapping[str, str],
    scripts: Sequence[Script],
    *,
    speed: float = SPEED,
    config: Mapping[str, Any] | None = None,
) -> Iterator[ForgeTown]:
    """A town with its API, its container and its forge; everything ends with the block."""
    with ExitStack() as running:
        model = ModelServer(scripts, models=(MODEL,))
        running.enter_context(model.serving())
        repository = git_seed.create_repository(root / "work.git")
        refused: list[Verdict] = []
        github, git_url = running.enter_context(a_forge(repository, refused))
        clock = ScaledClock.starting_now(speed=speed)
        data = root / "data"
        _store_app(data, github)
        context, watcher = Context(named_data=data), Watcher()
        store = context.founding_store()
        keys = serve.keys_of(context)
        forge = forges.forge_of(data, clock, hosts=forges.hosts_of(data, ()))
        around = wiring.surroundings(store, clock=clock, runtime=None, forge=forge, write_line=watcher.lines.append)
        drive(founding.found_town(TOWN, around, worker_id=ids.worker_id(), config={**_CONFIG, **(config or {})}))
        api = running.enter_context(_api(context, around, keys))
        around_agents = {
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(made(root / "home")),
            "PATH": f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}",
            "TOWN_API": api,
            "TOWN_AGENT_UIDS": "none",
            "TOWN_AGENT_ENV": "OPENAI_API_KEY,ANTHROPIC_API_KEY",
            "TOWN_AGENT_MODEL_URL": model.url,
            "OPENAI_API_KEY": KEY,
            "ANTHROPIC_API_KEY": KEY,
            clocks.CLOCK_VARIABLE: clock.to_text(),
            **git_seed.OFFLINE,
            **fake_git_http.leading_to(git_url, HOST),
            **git_seed.IDENTITY,
            **programs,
        }
        addresses: dict[str, str] = {}
        minted: list[str] = []

        def another(instance_id: str) -> Container:
            found = containers.start(
                TOWN, root / "disk", instance_id=instance_id, key=CONTROL_KEY, command="", environment=around_agents
            )
            running.callback(found.close)
            addresses[TOWN] = found.address
            return found

        def mint(*asked: Any, **more: Any) -> str:
            minted.append(Mint(keys, clock)(*asked, **more))
            return minted[-1]

        container = another("one")
        runtime = ControlServerRuntime(NewestAddresses(addresses), mint=mint, key_of=lambda _: CONTROL_KEY, api=api)
        prover = prover_of(data, forge=forge, runtime=runtime, environment=git_seed.OFFLINE)
        around = wiring.surroundings(
            store, clock=clock, runtime=runtime, forge=forge, prover=prover, write_line=watcher.lines.append
        )
        running_there = LocalProcessRuntime(root / "disk" / "agents", command=())
        town = ForgeTown(
            data,
            clock,
            store,
            running_there,
            model,
            repository,
            watcher,
            github=github,
            git_url=git_url,
            container=container,
            refused=refused,
            another=another,
            minted=minted,
        )
        town.post("rig_registered", {"rig_id": RIG, "name": "work", "git_url": URL})
        running.enter_context(ticking(around, watcher, speed=speed))
        yield town


def _store_app(data: Path, github: FakeGitHub) -> None:
    """What an operator does: the App with its key and the towns that it serves, and where the forge's API is."""
    files = forges.secret_files(data)
    files.put(f"apps/{HOST}", app_secret(_APP, Secret(key_pair()[0]), [(TOWN, "acme")]))
    forges.hosts_of(data, [f"github={HOST}={github.api_url}"])


@contextmanager
def _api(context: Context, around: Any, keys: Any) -> Iterator[str]:
    """The routes of `townctl serve` on this machine. The functions get their deployments back at the end."""
    with pytest.MonkeyPatch.context() as patch:
        for function in (credentials, debug, events):
            patch.setattr(function, "deployment", function.deployment)
        with serving(serve.served_from(context, around, keys=keys)) as url:
            yield url
