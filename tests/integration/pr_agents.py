"""An agent that calls `town-agent pr` at a fake forge, with the credential that the town issued."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import pytest

from infra.agents.town_agent import main
from infra.devstack.fake_git_http import Gate
from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_gitlab import FakeGitLab
from infra.devstack.fake_site import Pull
from infra.devstack.github_api import contract as github_api
from infra.devstack.gitlab_api import contract as gitlab_api
from infra.listening.door import opened
from infra.listening.guard import Guard
from tests.forge_credentials import HOST, IssuingTown

Kind = Literal["github", "gitlab"]
PROJECTS: Final[dict[Kind, str]] = {"github": "acme/app", "gitlab": "group/sub/app"}
_CONTRACTS: Final = {"github": github_api, "gitlab": gitlab_api}


@dataclass
class PrAgent:
    """An agent that works on the branch `work` into `main`."""

    forge: FakeGitHub | FakeGitLab
    project: str
    town: IssuingTown
    environment: dict[str, str]
    capsys: pytest.CaptureFixture[str]

    def says(self, *words: str) -> str:
        """What a command that succeeds prints."""
        assert main.run(["pr", *words], self.environment) == 0, self.capsys.readouterr().err
        return self.capsys.readouterr().out

    def fails(self, *words: str) -> tuple[int, str]:
        """The exit code and the complaint of a command."""
        code = main.run(["pr", *words], self.environment)
        return code, self.capsys.readouterr().err

    def pull(self, **more: str) -> Pull:
        """The pull request of its branch."""
        return self.forge.site.opens(self.project, head="work", base="main", **more)


@contextmanager
def a_pr_agent(kind: Kind, place: Path, capsys: pytest.CaptureFixture[str]) -> Iterator[PrAgent]:
    """An agent at this kind of forge. In the end, every answer of the forge is held to the forge's own description."""
    project = PROJECTS[kind]
    forge = FakeGitHub() if kind == "github" else FakeGitLab()
    forge.host = HOST
    forge.site.home(project)
    town = IssuingTown(Gate(), {"a1": project}, kind=kind)
    context = {"town_id": "t1", "agent_id": "a1", "generation": 1, "role": "polecat", "bead": {"id": "b1"}}
    (place / "context.json").write_text(json.dumps({**context, "branch": "work", "target_branch": "main"}))

    def accept(token: str) -> None:
        forge.tokens = (*forge.tokens, token)

    with forge.serving(), opened(Guard(town)) as api:
        town.api_url, town.listener = forge.api_url, accept
        environment = {
            "TOWN_AGENT_CONTEXT": str(place / "context.json"),
            "TOWN_API": api.url,
            "TOWN_TOKEN": "town-token",
        }
        yield PrAgent(forge, project, town, environment, capsys)
        for reply in forge.replies:
            if reply.operation:
                assert _CONTRACTS[kind].problems_of(reply.operation, reply.status, reply.body) == []
