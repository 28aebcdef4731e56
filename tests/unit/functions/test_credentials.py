"""The route from which an agent gets its credential: the credential of its rig, for itself and its generation only."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from functions.credentials import app
from functions.credentials.issuing import Issuing
from functions.pace import WINDOW
from shared.adapters.agent_credentials import AgentCredentials
from shared.adapters.forge_hosts import USUAL_HOSTS, ForgeHost
from shared.domain.errors import SecretsUnavailable
from tests.fakes import FakeSecrets
from tests.http_events import OPERATOR, Answer, Context, request
from tests.scenarios.table import scenario
from tests.towns import TownBuilder, a_town
from tests.worlds import World, a_world

TOKEN = "ghp_canaryOfAnAgentsToken0123456789abcd"
KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\ncanaryOfADeployKey\n-----END OPENSSH PRIVATE KEY-----"
DEPLOY_KEY, KNOWN_HOSTS = "agents/towns/t1/rigs/rig-1/deploy-key", "agents/towns/t1/rigs/rig-1/known-hosts"
OF_THE_TOWN = "agents/towns/t1/forges/github.com"
HOSTS = (
    *USUAL_HOSTS,
    ForgeHost.of("gitlab", "git.example.com"),
    ForgeHost.of("github", "ghe.example.com", "https://api.example.com/ghe"),
)


def a_town_at_work(access: str | None = "stored", git_url: str = "https://github.com/Acme/App.git") -> TownBuilder:
    town = a_town("t1").config(agent_forge_access=access).update("rigs", "rig-1", git_url=git_url)
    return town.bead("b1").agent("toast", status="working", hook="b1", generation=5).agent("other")


@dataclass
class Asked:
    """The function over a town, the secrets that it reads, and the lines that it writes."""

    world: World
    secrets: FakeSecrets = field(default_factory=lambda: FakeSecrets({OF_THE_TOWN: TOKEN}))
    lines: list[str] = field(default_factory=list)

    def ask(
        self,
        *,
        of: str = "toast",
        at: str = "t1",
        body: Any = None,
        caller: str | None = None,
        named: int | None = None,
        **claims: str | None,
    ) -> Answer:
        """The answer to toast's fifth generation, unless the claims of another token are given. `named` is in the query."""
        held = {"town": "t1", "scope": "agent", "agent": "toast", "generation": "5", "expires": "99999999999", **claims}
        shown = {name: value for name, value in held.items() if value is not None}
        query = {} if named is None else {"generation": str(named)}
        event = request(
            "POST", f"/api/towns/{at}/agents/{of}/refresh-token", body, claims=shown, caller=caller, query=query
        )
        return Answer.of(app.answered(event, self.lines.append))

    def container_asks(self, named: int | None, *, of: str = "toast") -> Answer:
        """The answer to the container of the town, for this generation."""
        return self.ask(of=of, named=named, scope="container", agent=None, generation=None)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    return deployed(monkeypatch, a_town_at_work())


def deployed(monkeypatch: pytest.MonkeyPatch, town: TownBuilder) -> Asked:
    made = Asked(a_world(town))
    issuing = Issuing(made.world.store, AgentCredentials(made.secrets, hosts=HOSTS))
    here = app.CredentialsDeployment(issuing, made.world.clock)
    monkeypatch.setattr(app, "deployment", lambda: here)
    return made


@scenario(540)
def test_an_agent_gets_the_token_that_was_stored_for_agents_of_its_town(asked: Asked) -> None:
    answer = asked.ask()
    assert answer.status == 200
    assert answer.document == {
        "forge": {
            "host": "github.com",
            "kind": "github",
            "project": "acme/app",
            "username": "x-access-token",
            "expiresAt": None,
            "apiUrl": "https://api.github.com",
            "token": TOKEN,
        },
        "reason": None,
        "knownHosts": None,
        "sshKey": None,
    }
    assert answer.headers["cache-control"] == "no-store"


def test_a_gitlab_takes_a_token_beside_another_user_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = deployed(monkeypatch, a_town_at_work(git_url="git@git.example.com:group/sub/app.git"))
    asked.secrets.stored = {"agents/towns/t1/rigs/rig-1/forges/git.example.com": "glpat-x"}
    forge = asked.ask().document["forge"]
    assert (forge["host"], forge["kind"], forge["project"]) == ("git.example.com", "gitlab", "group/sub/app")
    assert (forge["username"], forge["token"]) == ("oauth2", "glpat-x")
    assert forge["apiUrl"] == "https://git.example.com/api/v4"


def test_the_api_of_a_forge_is_where_the_deployment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = deployed(monkeypatch, a_town_at_work(git_url="https://ghe.example.com/acme/app.git"))
    asked.secrets.stored = {"agents/towns/t1/forges/ghe.example.com": "ghp_x"}
    assert asked.ask().document["forge"]["apiUrl"] == "https://api.example.com/ghe"


@scenario(542)
@pytest.mark.parametrize("access", ["stored", "app", None])
def test_agents_of_a_rig_with_an_ssh_address_get_its_deploy_key(
    monkeypatch: pytest.MonkeyPatch, access: str | None
) -> None:
    asked = deployed(monkeypatch, a_town_at_work(access, git_url="git@github.com:acme/app.git"))
    asked.secrets.stored = {DEPLOY_KEY: KEY}
    without_hosts = asked.ask().document
    asked.secrets.stored[KNOWN_HOSTS] = "github.com ssh-ed25519 AAAA"
    with_hosts = asked.ask().document
    assert (without_hosts["forge"], without_hosts["sshKey"], without_hosts["knownHosts"]) == (None, KEY, None)
    assert without_hosts["reason"]
    assert (with_hosts["sshKey"], with_hosts["knownHosts"]) == (KEY, "github.com ssh-ed25519 AAAA")


def test_a_deploy_key_is_issued_beside_a_token_and_for_a_forge_that_nobody_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = deployed(monkeypatch, a_town_at_work(git_url="git@github.com:acme/app.git"))
    asked.secrets.stored = {OF_THE_TOWN: TOKEN, DEPLOY_KEY: KEY}
    both = asked.ask().document
    assert (both["forge"]["token"], both["sshKey"], both["reason"]) == (TOKEN, KEY, None)
    elsewhere = deployed(monkeypatch, a_town_at_work(git_url="ssh://git@strange.example.com:2222/srv/app.git"))
    elsewhere.secrets.stored = {DEPLOY_KEY: KEY}
    assert elsewhere.ask().document["sshKey"] == KEY


@scenario(542)
@pytest.mark.parametrize(
    ("access", "git_url"),
    [
        ("none", "git@github.com:acme/app.git"),
        ("stored", "https://github.com/acme/app.git"),
        ("stored", "/srv/app.git"),
    ],
)
def test_there_is_no_deploy_key_with_the_setting_none_or_for_another_address(
    monkeypatch: pytest.MonkeyPatch, access: str, git_url: str
) -> None:
    asked = deployed(monkeypatch, a_town_at_work(access, git_url=git_url))
    asked.secrets.stored = {DEPLOY_KEY: KEY, KNOWN_HOSTS: "github.com ssh-ed25519 AAAA"}
    answer = asked.ask().document
    assert (answer["sshKey"], answer["knownHosts"]) == (None, None)
    assert DEPLOY_KEY not in asked.secrets.asked


def test_the_key_of_another_rig_is_not_issued(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = deployed(monkeypatch, a_town_at_work(git_url="git@github.com:acme/app.git"))
    asked.secrets.stored = {"agents/towns/t1/rigs/rig-2/deploy-key": KEY, "agents/towns/t2/rigs/rig-1/deploy-key": KEY}
    assert asked.ask().document["sshKey"] is None


def test_the_token_of_the_rig_comes_before_that_of_the_town_and_that_before_the_platforms(asked: Asked) -> None:
    of_the_rig, of_the_platform = "agents/towns/t1/rigs/rig-1/forges/github.com", "agents/platform/forges/github.com"
    asked.secrets.stored = {of_the_platform: json.dumps({"token": "platform's", "towns": {"t1": ["acme/app"]}})}
    assert asked.ask().document["forge"]["token"] == "platform's"
    asked.secrets.stored[OF_THE_TOWN] = "town's"
    assert asked.ask().document["forge"]["token"] == "town's"
    asked.secrets.stored[of_the_rig] = "rig's"
    assert asked.ask().document["forge"]["token"] == "rig's"


@pytest.mark.parametrize("towns", [{"t2": ["*"]}, {"t1": ["other", "acme/another"]}])
def test_the_platforms_token_for_agents_serves_the_towns_and_repositories_that_it_names(
    asked: Asked, towns: dict[str, list[str]]
) -> None:
    asked.secrets.stored = {"agents/platform/forges/github.com": json.dumps({"token": TOKEN, "towns": towns})}
    answer = asked.ask()
    assert answer.document["forge"] is None
    assert "does not serve acme/app" in answer.document["reason"]


def test_a_platforms_token_for_agents_that_names_no_towns_serves_none(asked: Asked) -> None:
    asked.secrets.stored = {"agents/platform/forges/github.com": TOKEN}
    answer = asked.ask()
    assert (answer.status, answer.document["forge"]) == (200, None)
    assert "does not say which towns it serves" in answer.document["reason"]


def test_the_token_with_which_the_town_merges_is_never_handed_out(asked: Asked) -> None:
    asked.secrets.stored = {
        "platform/forges/github.com": TOKEN,
        "towns/t1/forges/github.com": TOKEN,
        "towns/t1/rigs/rig-1/forges/github.com": TOKEN,
    }
    answer = asked.ask()
    assert answer.document["forge"] is None
    assert "no token for agents is stored for github.com" in answer.document["reason"]
    assert not set(asked.secrets.asked) & set(asked.secrets.stored)


@pytest.mark.parametrize(("access", "says"), [(None, "is not set"), ("none", "is none"), ("app", "no App is set")])
def test_without_the_setting_agents_get_nothing_and_are_told_why(
    monkeypatch: pytest.MonkeyPatch, access: str | None, says: str
) -> None:
    asked = deployed(monkeypatch, a_town_at_work(access))
    answer = asked.ask()
    assert (answer.status, answer.document["forge"]) == (200, None)
    assert says in answer.document["reason"]
    assert TOKEN not in json.dumps(answer.document)


def test_an_address_that_leads_to_no_forge_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = deployed(monkeypatch, a_town_at_work(git_url="/srv/app.git"))
    assert "not at a forge" in asked.ask().document["reason"]


def test_a_container_asks_for_any_agent_of_its_town_before_that_agent_has_a_token(asked: Asked) -> None:
    assert asked.container_asks(5).document["forge"]["token"] == TOKEN


def test_a_container_says_for_which_generation_it_asks(asked: Asked) -> None:
    answer = asked.container_asks(None)
    assert (answer.status, answer.document["path"]) == (422, "generation")
    assert "?generation=N" in answer.document["hint"]


def test_an_agent_may_name_the_generation_of_its_token(asked: Asked) -> None:
    assert asked.ask(named=5).document["forge"]["token"] == TOKEN


def test_an_agent_that_was_never_started_gets_nothing(asked: Asked) -> None:
    answer = asked.container_asks(1, of="mayor")
    assert (answer.status, answer.document["path"]) == (403, "agentId")
    assert "has not been started" in answer.document["detail"]


def test_what_cannot_be_read_now_is_asked_again(asked: Asked) -> None:
    asked.secrets.trouble = SecretsUnavailable("the secret could not be read", hint="try again")
    answer = asked.ask()
    assert (answer.status, answer.is_problem, answer.headers["retry-after"]) == (503, True, "5")


def test_a_body_is_refused(asked: Asked) -> None:
    assert asked.ask(body={"generation": 6}).status == 422
    assert asked.ask(body={}).status == 200


@scenario(544)
def test_an_agent_that_asks_too_often_waits_and_others_do_not(asked: Asked) -> None:
    assert {asked.ask().status for _ in range(app.MOST)} == {200}
    assert asked.ask().status == 429
    assert asked.container_asks(1, of="other").status == 403
    asked.world.clock.move(seconds=WINDOW.total_seconds() - 0.001)
    assert asked.ask().status == 429
    asked.world.clock.move(seconds=0.001)
    assert asked.ask().status == 200


def test_the_audit_line_says_who_asked_for_which_repository_and_never_the_token(asked: Asked) -> None:
    asked.ask()
    [line] = asked.lines
    said = json.loads(line)
    assert (said["event"], said["status"], said["town_id"]) == ("audit.request", 200, "t1")
    assert (said["agent"], said["generation"], said["scope"]) == ("toast", "5", "agent")
    assert (said["for_agent"], said["for_generation"], said["repository"]) == ("toast", 5, "github.com/acme/app")
    assert TOKEN not in line


def test_the_audit_line_says_that_a_deploy_key_was_issued_and_nothing_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = deployed(monkeypatch, a_town_at_work(git_url="git@github.com:acme/app.git"))
    asked.secrets.stored = {DEPLOY_KEY: KEY}
    asked.ask()
    [line] = asked.lines
    assert json.loads(line)["deploy_key_of"] == "rig-1"
    assert "canary" not in line


def test_what_is_issued_is_shown_nowhere_when_it_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = deployed(monkeypatch, a_town_at_work(git_url="git@github.com:acme/app.git"))
    asked.secrets.stored = {DEPLOY_KEY: KEY, OF_THE_TOWN: TOKEN}
    issued = app.deployment().issuing.credential_for("t1", "toast", 5)
    assert "canary" not in repr(issued) + repr(app.answer_of(issued))


def test_the_audit_line_says_why_nothing_was_issued(asked: Asked) -> None:
    asked.secrets.stored.clear()
    asked.ask()
    assert "no token for agents is stored" in json.loads(asked.lines[-1])["not_issued"]


def test_a_lambda_event_is_answered(asked: Asked) -> None:
    event = request("POST", "/api/towns/t1/agents/toast/refresh-token", caller=OPERATOR)
    assert Answer.of(app.lambda_handler(event, Context())).status == 401
