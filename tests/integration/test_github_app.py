"""Installation tokens of a GitHub App, at a fake GitHub that holds each of them to its repository, its permissions and its end."""

import base64
import json
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from infra.devstack import fake_git_http
from infra.devstack.fake_forge import Trouble
from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_site import Pull, Site
from shared.adapters.agent_credentials import AgentCredentials, ForgeCredential, NoCredential
from shared.adapters.clock import Budget
from shared.adapters.forge_hosts import ForgeHost, ForgeHosts, Place
from shared.adapters.forge_tokens import NotServed
from shared.adapters.forges import Forges
from shared.adapters.github.app import FOR_AGENTS, FOR_MERGES, FOR_POLLS, AppSecret, AppToken, GitHubApps, Rights
from shared.adapters.http_exchange import HttpPeer, HttpRequest
from shared.domain.config import AgentForgeAccess
from shared.domain.errors import Retryable, Terminal
from shared.ports.forge import Asker, ForgeError, Merged, PullRequest
from shared.ports.secrets import Secret
from tests.fakes import FakeClock, FakeSecrets
from tests.key_pairs import key_pair
from tests.patience import PATIENCE_SECONDS
from tests.scenarios.table import scenario
from tests.towns import T

APP = "12345"
ALL = {"contents": "write", "pull_requests": "write", "issues": "write", "checks": "read", "actions": "read"}
ALL |= {"statuses": "read", "merge_queues": "write"}
ASKER = Asker("t1", "rig-1", host="github.com", repository="acme/app")


class AtGitHub:
    """A fake GitHub with an App that is installed on acme/app, and a deployment that has its key."""

    def __init__(self) -> None:
        self.clock = FakeClock(T)
        self.server = FakeGitHub(Site(now=self.clock.now), tokens=("the-platforms",))
        private, public = key_pair()
        self.server.apps.create(APP, public, permissions=ALL)
        self.installation = self.server.apps.install(APP, "acme", repositories={"acme/app"})
        self.secrets = FakeSecrets()
        self.stores(private)

    def stores(self, private: str, *, app_id: str = APP, towns: dict[str, list[str]] | None = None) -> None:
        """An operator stores the App."""
        document = {"app_id": app_id, "private_key": private, "towns": towns or {"t1": ["acme"]}}
        self.secrets.stored["apps/github.com"] = json.dumps(document)

    def starts(self) -> None:
        """The deployment starts, now that the address is known."""
        self.host = ForgeHost("github.com", "github", self.server.api_url)
        self.apps = GitHubApps(self.secrets, self.clock)
        self.forge = Forges(self.secrets, self.clock, hosts=(self.host,), apps=self.apps)
        self.credentials = AgentCredentials(self.secrets, hosts=(self.host,), apps=self.apps)

    def token(self, rights: Rights = FOR_POLLS, *, project: str = "acme/app", holder: str = "") -> object:
        place = ForgeHosts((self.host,)).place(f"https://github.com/{project}.git")
        assert place is not None
        return self.apps.token(place, Asker("t1", "rig-1"), rights, holder=holder)

    def made(self) -> int:
        """How many tokens were made."""
        return len(self.server.apps.grants)

    def opens(self) -> tuple[Pull, str]:
        pull = self.server.site.opens("acme/app", head="work")
        return pull, self.server.url_of(pull)


@pytest.fixture
def at() -> Iterator[AtGitHub]:
    made = AtGitHub()
    made.server.site.home("acme/app")
    made.server.site.home("acme/other")
    with made.server.serving():
        made.starts()
        yield made


def issued(answer: object) -> AppToken:
    assert isinstance(answer, AppToken), answer
    return answer


def refusal(answer: object) -> ForgeError:
    assert isinstance(answer, ForgeError), answer
    return answer


def test_a_token_is_for_one_repository_with_the_rights_of_its_purpose(at: AtGitHub) -> None:
    for rights, wanted in (
        (FOR_AGENTS, {"contents": "write", "pull_requests": "write", "issues": "write"}),
        (
            FOR_POLLS,
            {"contents": "read", "pull_requests": "read", "checks": "read", "actions": "read", "statuses": "read"},
        ),
    ):
        token = issued(at.token(rights)).token.reveal()
        grant = at.server.apps.grants[token]
        assert dict(grant.permissions) == wanted
        assert at.server.apps.may(token, "acme/app")
        assert not at.server.apps.may(token, "acme/other")
    assert at.server.apps.verdict(issued(at.token(FOR_AGENTS)).token.reveal(), "acme/app", "write") == "yes"
    assert at.server.apps.verdict(issued(at.token(FOR_POLLS)).token.reveal(), "acme/app", "write") == "hidden"


def test_what_an_installation_was_not_granted_and_a_purpose_only_wants_is_left_out(at: AtGitHub) -> None:
    at.installation.permissions = {"contents": "write", "pull_requests": "write"}
    token = issued(at.token(FOR_MERGES)).token.reveal()
    assert dict(at.server.apps.grants[token].permissions) == {"contents": "write", "pull_requests": "write"}


def test_a_token_is_kept_until_shortly_before_its_end_and_each_holder_has_its_own(at: AtGitHub) -> None:
    first = issued(at.token(FOR_AGENTS, holder="toast 5"))
    assert issued(at.token(FOR_AGENTS, holder="toast 5")).token is first.token
    assert issued(at.token(FOR_AGENTS, holder="toast 6")).token is not first.token
    at.clock.move(minutes=40)
    assert issued(at.token(FOR_AGENTS, holder="toast 5")).token is first.token
    at.clock.move(seconds=0.001)
    second = issued(at.token(FOR_AGENTS, holder="toast 5"))
    assert second.expires_at - at.clock.now() > timedelta(minutes=59)
    assert at.made() == 3


def test_polls_and_merges_work_with_the_app_alone(at: AtGitHub) -> None:
    pull, url = at.opens()
    seen = at.forge.pull_request(ASKER, url, want_feedback=True)
    assert isinstance(seen, PullRequest), seen
    assert (seen.secret, seen.is_platform) == ("apps/github.com", True)
    assert isinstance(at.forge.merge(ASKER, url, head_sha=pull.sha, effect_id="e1"), Merged)
    assert pull.state == "merged"


@scenario(543)
@pytest.mark.parametrize(
    ("stored", "used"),
    [
        ({}, "apps/github.com"),
        ({"platform/forges/github.com": "the-platforms"}, "apps/github.com"),
        ({"towns/t1/forges/github.com": "the-platforms"}, "towns/t1/forges/github.com"),
        ({"towns/t1/rigs/rig-1/forges/github.com": "the-platforms"}, "towns/t1/rigs/rig-1/forges/github.com"),
    ],
)
def test_the_order_is_rig_town_app_platform(at: AtGitHub, stored: dict[str, str], used: str) -> None:
    at.secrets.stored |= stored
    _, url = at.opens()
    seen = at.forge.pull_request(ASKER, url, want_feedback=False)
    assert isinstance(seen, PullRequest), seen
    assert seen.secret == used


def test_an_app_that_does_not_serve_the_town_leaves_it_to_the_platforms_token(at: AtGitHub) -> None:
    at.stores(key_pair()[0], towns={"t2": ["*"]})
    _, url = at.opens()
    assert refusal(at.forge.pull_request(ASKER, url, want_feedback=False)).kind == "no_token"
    at.secrets.stored["platform/forges/github.com"] = "the-platforms"
    assert isinstance(at.forge.pull_request(ASKER, url, want_feedback=False), PullRequest)
    assert at.made() == 0


@scenario(543)
def test_an_app_that_is_refused_is_an_error_and_no_reason_to_use_a_token_that_may_do_more(at: AtGitHub) -> None:
    at.secrets.stored["platform/forges/github.com"] = "the-platforms"
    at.installation.repositories = {"acme/other"}
    _, url = at.opens()
    error = refusal(at.forge.pull_request(ASKER, url, want_feedback=False))
    assert (error.kind, error.http_status, error.secret, error.is_platform) == ("http", 403, "apps/github.com", True)
    assert "is not installed on acme/app" in error.message


def test_a_suspended_installation_says_so_and_its_tokens_end_at_once(at: AtGitHub) -> None:
    token = issued(at.token()).token.reveal()
    at.installation.suspended = True
    assert not at.server.apps.may(token, "acme/app")
    assert "is suspended for acme" in refusal(at.token(FOR_MERGES)).message


def test_a_missing_permission_is_named(at: AtGitHub) -> None:
    at.installation.permissions = {"contents": "write", "pull_requests": "read"}
    message = refusal(at.token(FOR_AGENTS)).message
    assert "lacks issues (write), pull_requests (write)" in message
    assert "contents" not in message


def test_another_key_a_clock_that_is_wrong_and_a_text_that_is_no_key_are_told_apart(at: AtGitHub) -> None:
    at.stores(key_pair("another")[0])
    assert "the private key is not one of this App's" in refusal(at.token()).message
    at.stores(key_pair()[0])
    at.apps = GitHubApps(at.secrets, FakeClock(T + timedelta(minutes=7)))
    assert "is 420 s ahead of GitHub's" in refusal(at.token()).message
    at.apps = GitHubApps(at.secrets, FakeClock(T - timedelta(minutes=12)))
    assert "is 720 s behind GitHub's" in refusal(at.token()).message
    at.stores("no key at all")
    assert refusal(at.token()).kind == "no_token"


@pytest.mark.parametrize("seconds", [-60, 60])
def test_a_clock_that_is_a_minute_off_does_not_matter(at: AtGitHub, seconds: int) -> None:
    at.apps = GitHubApps(at.secrets, FakeClock(T + timedelta(seconds=seconds)))
    issued(at.token())


def test_a_renamed_repository_is_found_by_its_id(at: AtGitHub) -> None:
    home = at.server.site.renames("acme/app", "acme/renamed")
    at.installation.repositories = {"acme/renamed"}
    token = issued(at.token()).token.reveal()
    assert at.server.apps.grants[token].repositories == frozenset({home.id})


@scenario(542)
def test_an_agent_gets_the_apps_token_where_the_setting_says_nothing(at: AtGitHub) -> None:
    settings: tuple[AgentForgeAccess | None, ...] = (None, "app")
    for access in settings:
        found = at.credentials.credential_for(ASKER, "git@github.com:acme/app.git", access, holder="toast 5")
        assert isinstance(found, ForgeCredential), found
        assert (found.username, found.project) == ("x-access-token", "acme/app")
        assert found.expires_at == T + timedelta(hours=1)
        assert at.server.apps.verdict(found.token.reveal(), "acme/app", "write") == "yes"
        assert at.server.apps.verdict(found.token.reveal(), "acme/other", "read") == "hidden"


def test_what_keeps_an_agent_from_its_credential_is_said_and_a_failure_that_passes_is_asked_again(at: AtGitHub) -> None:
    def ask() -> ForgeCredential | NoCredential:
        return at.credentials.credential_for(ASKER, "https://github.com/acme/app", "app", holder="toast 5")

    at.installation.repositories = set()
    found = ask()
    assert isinstance(found, NoCredential)
    assert "is not installed on acme/app" in found.reason
    at.server.trouble.plan(Trouble(status=502))
    with pytest.raises(Retryable, match="got no token"):
        ask()


@pytest.mark.parametrize(
    "stored",
    [
        "x",
        "{}",
        '{"app_id": "1", "private_key": "PEM-CANARY", "towns": []}',
        '{"app_id": 1, "private_key": "PEM-CANARY", "towns": {}}',
    ],
)
def test_a_malformed_secret_is_said_without_its_text(at: AtGitHub, stored: str) -> None:
    at.secrets.stored["apps/github.com"] = stored
    with pytest.raises(Terminal) as error:
        at.token()
    assert "CANARY" not in error.value.message + error.value.hint
    _, url = at.opens()
    assert refusal(at.forge.pull_request(ASKER, url, want_feedback=False)).kind == "no_token"


def test_neither_the_key_nor_a_token_stands_in_an_error_or_in_a_text(at: AtGitHub) -> None:
    private = key_pair()[0]
    line = private.splitlines()[5]
    at.stores(private.replace("BEGIN", "BEGUN"))
    assert line not in refusal(at.token()).message
    at.stores(private)
    token = issued(at.token())
    assert token.token.reveal() not in repr(token)
    assert isinstance(at.token(project="acme/other"), ForgeError | NotServed)
    assert line not in repr(AppSecret.read(Secret(at.secrets.stored["apps/github.com"])))


def test_the_place_of_an_enterprise_server_is_asked_at_its_own_api(at: AtGitHub) -> None:
    at.host = ForgeHost("git.example.com", "github", at.server.api_url)
    at.secrets.stored["apps/git.example.com"] = at.secrets.stored.pop("apps/github.com")
    place = Place(at.host, "acme", "app")
    issued(at.apps.token(place, Asker("t1"), FOR_POLLS))
    assert at.server.requests[0].path == "/api/v3/repos/acme/app/installation"


def test_git_over_http_opens_to_a_token_within_its_repository_its_rights_and_its_time(
    at: AtGitHub, tmp_path: Path
) -> None:
    bare = tmp_path / "app.git"
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    writes, reads = issued(at.token(FOR_AGENTS)).token.reveal(), issued(at.token(FOR_POLLS)).token.reveal()

    def asks(url: str, token: str, service: str) -> int:
        credential = base64.b64encode(f"x-access-token:{token}".encode()).decode()
        peer = HttpPeer(url, connect_seconds=PATIENCE_SECONDS, largest=1 << 20)
        target = f"/acme/app.git/info/refs?service={service}"
        with peer:
            return peer.exchange(
                HttpRequest("GET", target, {"Authorization": f"Basic {credential}"}), Budget(PATIENCE_SECONDS)
            ).status

    with fake_git_http.serving({"acme/app": bare}, at.server.apps.verdict) as door:
        assert asks(door.url, writes, "git-receive-pack") == 200
        assert asks(door.url, reads, "git-upload-pack") == 200
        assert asks(door.url, reads, "git-receive-pack") == 404
        at.clock.move(hours=1)
        assert asks(door.url, writes, "git-upload-pack") == 401
