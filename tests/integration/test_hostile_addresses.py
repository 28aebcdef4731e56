"""Addresses of pull requests that an attacker would send: nothing leaves for anything but the configured hosts.

The network is a stub below HTTP: whoever looks a name up or connects is written down and let nowhere but to the fake
servers of this machine.
"""

import socket
from typing import Any

import pytest

from infra.devstack.fake_forge import TOKEN
from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_gitlab import FakeGitLab
from shared.adapters.forge_hosts import USUAL_HOSTS, ForgeHost, ForgeHosts, Target
from shared.adapters.forges import Forges
from shared.domain.errors import Refused
from shared.ports.forge import Asker, ForgeError, Merged
from tests.fakes import FakeClock, FakeSecrets
from tests.towns import T

HOSTILE = [
    "",
    " ",
    "github.com/acme/app/pull/1",
    "//github.com/acme/app/pull/1",
    "http://github.com/acme/app/pull/1",
    "ftp://github.com/acme/app/pull/1",
    "file:///etc/passwd",
    "javascript://github.com/acme/app/pull/1",
    "https:github.com/acme/app/pull/1",
    "https:///github.com/acme/app/pull/1",
    "https://github.com@evil.example/acme/app/pull/1",
    "https://github.com:443@evil.example/acme/app/pull/1",
    "https://github.com%40evil.example/acme/app/pull/1",
    "https://user:secret@github.com/acme/app/pull/1",
    "https://@github.com/acme/app/pull/1",
    "https://github.com:443/acme/app/pull/1",
    "https://github.com:8443/acme/app/pull/1",
    "https://github.com:/acme/app/pull/1",
    "https://github.com.evil.example/acme/app/pull/1",
    "https://evil-github.com/acme/app/pull/1",
    "https://github.com./acme/app/pull/1",
    "https://.github.com/acme/app/pull/1",
    "https://api.github.com/repos/acme/app/pulls/1",
    "https://gist.github.com/acme/app/pull/1",
    "https://www.github.com/acme/app/pull/1",
    "https://127.0.0.1/acme/app/pull/1",
    "https://127.1/acme/app/pull/1",
    "https://2130706433/acme/app/pull/1",
    "https://0x7f000001/acme/app/pull/1",
    "https://0177.0.0.1/acme/app/pull/1",
    "https://[::1]/acme/app/pull/1",
    "https://[::ffff:169.254.169.254]/acme/app/pull/1",
    "https://169.254.169.254/latest/meta-data/pull/1",
    "https://localhost/acme/app/pull/1",
    "https://metadata.google.internal/acme/app/pull/1",
    "https://evil.example/https://github.com/acme/app/pull/1",
    "https://evil.example/?u=https://github.com/acme/app/pull/1",
    "https://evil.example#https://github.com/acme/app/pull/1",
    "https://evil.example\\@github.com/acme/app/pull/1",
    "https://github.com\\acme\\app\\pull\\1",
    "https://github.com/acme\\app/pull/1",
    "https://github.com/acme/app/pull/1\r\nHost: evil.example",
    "https://github.com/acme/app\r\nX-Evil: 1/pull/1",
    "https://github.com/acme/app\t/pull/1",
    "https://github.com/acme/app\x00/pull/1",
    "https://github.com/acme/app%00/pull/1",
    "https://github.com/acme/app%0d%0aX-Evil:1/pull/1",
    "https://github.com/acme/%2e%2e/pull/1",
    "https://github.com/../acme/app/pull/1",
    "https://github.com/acme/../app/pull/1",
    "https://github.com/acme/./app/pull/1",
    "https://github.com/acme//app/pull/1",
    "https://github.com/acme/app/pull/1e9",
    "https://github.com/acme/app/pull/-1",
    "https://github.com/acme/app/pull/0",
    "https://github.com/acme/app/pull/99999999999",
    "https://github.com/acme/app/pull/١",
    "https://github.com/acme/app/pull/",
    "https://github.com/acme/app/pull/1/../../../../user",
    "https://github.com/a/b/c/d/pull/1",
    "https://github.com/acme/app/issues/1",
    "https://github.com/acme/app/-/merge_requests/1",
    "https://gitlab.com/acme/app/pull/1",
    "https://gitlab.com/acme/app/-/merge_requests/1?private_token=x@evil.example",
    "https://ｇithub.com/acme/app/pull/1",
    "https://gıthub.com/acme/app/pull/1",
    "https://git\u200bhub.com/acme/app/pull/1",
    "https://github.com\u2215acme/app/pull/1",
    "https://github\u3002com/acme/app/pull/1",
    "https://github.com/acme/" + "a" * 5000 + "\n/pull/1",
]
HARMLESS = {
    "https://github.com/acme/app/pull/1/../../../../user": ("github.com", "acme/app", 1),
    "https://gitlab.com/acme/app/-/merge_requests/1?private_token=x@evil.example": ("gitlab.com", "acme/app", 1),
}
"""Two of them name a pull request beyond doubt; what follows its number goes nowhere."""


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every host and port that anybody looked up or connected to. Only this machine's loopback answers."""
    met: list[tuple[str, int]] = []
    really_connect, really_look_up = socket.socket.connect, socket.getaddrinfo

    def connect(self: socket.socket, address: Any) -> None:
        met.append((address[0], address[1]))
        if address[0] != "127.0.0.1":
            raise OSError("the stub network leads nowhere")
        really_connect(self, address)

    def look_up(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if (host, port) != ("127.0.0.1", None):  # a server that looks up where it listens
            met.append((str(host), int(port or 0)))
        if host != "127.0.0.1":
            raise socket.gaierror("the stub network knows no names")
        return really_look_up(host, port, *args, **kwargs)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return met


def test_there_are_sixty_of_them() -> None:
    assert len(set(HOSTILE)) >= 60


@pytest.mark.parametrize("address", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_address_names_nothing_or_the_pull_request_that_anybody_reads_in_it(address: str) -> None:
    found = ForgeHosts().target(address, Asker("t1"))
    if address in HARMLESS:
        assert isinstance(found, Target)
        assert (found.at.host, found.project, found.number) == HARMLESS[address]
    else:
        assert isinstance(found, ForgeError)
        assert found.kind == "unrecognized_url"


def test_no_request_leaves_for_anything_but_the_configured_hosts(connections: list[tuple[str, int]]) -> None:
    github, gitlab = FakeGitHub(), FakeGitLab()
    with github.serving(), gitlab.serving():
        hosts = [
            ForgeHost.of("github", "github.com", github.api_url),
            ForgeHost.of("gitlab", "gitlab.com", gitlab.api_url),
        ]
        everything = {f"platform/forges/{host}": TOKEN for host in ("github.com", "gitlab.com", "evil.example")}
        forges = Forges(FakeSecrets(everything), FakeClock(T), hosts=hosts)
        for address in HOSTILE:
            forges.pull_request(Asker("t1"), address, want_feedback=True)
            forges.merge(Asker("t1"), address, head_sha="1" * 40, effect_id="e")
        assert set(connections) <= {("127.0.0.1", github.port), ("127.0.0.1", gitlab.port)}
        variables = [request.body["variables"] for request in github.requests]
        assert {request.path for request in github.requests} == {"/api/graphql"}
        assert {(each["owner"], each["name"], each["number"]) for each in variables} == {("acme", "app", 1)}
        assert {request.path for request in gitlab.requests} == {"/api/graphql", "/api/v4/projects/acme%2Fapp"}


def test_the_usual_hosts_are_asked_at_their_own_api_and_nowhere_else(connections: list[tuple[str, int]]) -> None:
    secrets = FakeSecrets({"platform/forges/github.com": TOKEN, "platform/forges/gitlab.com": TOKEN})
    forges = Forges(secrets, FakeClock(T), hosts=USUAL_HOSTS)
    for address in ("https://github.com/acme/app/pull/1", "https://gitlab.com/acme/app/-/merge_requests/1"):
        answer = forges.pull_request(Asker("t1"), address, want_feedback=True)
        assert isinstance(answer, ForgeError)
        assert answer.kind == "transient"
    assert set(connections) == {("api.github.com", 443), ("gitlab.com", 443)}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_unless_it_names_a_repository_by_its_id(
    connections: list[tuple[str, int]], status: int
) -> None:
    from infra.devstack.fake_forge import Trouble

    for server, kind in ((FakeGitHub(), "github"), (FakeGitLab(), "gitlab")):
        with server.serving():
            url = server.url_of(server.site.opens("acme/app"))
            host = ForgeHost.of(kind, server.host, server.api_url)  # type: ignore[arg-type]
            forges = Forges(FakeSecrets({f"platform/forges/{server.host}": TOKEN}), FakeClock(T), hosts=[host])
            for location in ("http://169.254.169.254/latest", f"{server.api_url}/user", "//evil.example/"):
                server.trouble.plan(Trouble(status, {"location": location}))
                answer = forges.pull_request(Asker("t1"), url, want_feedback=False)
                assert isinstance(answer, ForgeError)
                assert answer.kind == "invalid_response"
            assert {host for host, _ in connections} == {"127.0.0.1"}
            assert len(server.requests) == 3


def test_a_token_is_for_its_host_alone() -> None:
    secrets = FakeSecrets({"towns/t1/forges/github.com": TOKEN})
    forges = Forges(secrets, FakeClock(T), hosts=[*USUAL_HOSTS, ForgeHost.of("github", "ghe.example")])
    answer = forges.pull_request(Asker("t1"), "https://ghe.example/acme/app/pull/1", want_feedback=False)
    assert isinstance(answer, ForgeError)
    assert answer.kind == "no_token"
    assert all(name.endswith("ghe.example") for name in secrets.asked)


def test_a_pull_request_at_another_host_than_its_rigs_is_not_even_read() -> None:
    secrets = FakeSecrets({"platform/forges/gitlab.com": TOKEN})
    forges = Forges(secrets, FakeClock(T))
    asker = Asker("t1", "rig-1", "github.com")
    answer = forges.pull_request(asker, "https://gitlab.com/acme/app/-/merge_requests/1", want_feedback=False)
    assert isinstance(answer, ForgeError)
    assert (answer.kind, secrets.asked) == ("host_mismatch", [])


def test_a_self_hosted_forge_is_known_by_configuration_only() -> None:
    github = FakeGitHub()
    github.host = "ghe.example:8443"
    with github.serving():
        url = github.url_of(github.site.opens("acme/app"))
        secrets = FakeSecrets({"towns/t1/forges/ghe.example=3A8443": TOKEN})
        hosts = [ForgeHost.of("github", "GHE.example:8443", github.api_url)]
        head = github.site.pulls[0].sha
        unknown = Forges(secrets, FakeClock(T)).merge(Asker("t1"), url, head_sha=head, effect_id="e")
        assert isinstance(unknown, ForgeError)
        assert unknown.kind == "unrecognized_url"
        known = Forges(secrets, FakeClock(T), hosts=hosts).merge(Asker("t1"), url, head_sha=head, effect_id="e")
        assert isinstance(known, Merged)


@pytest.mark.parametrize(
    ("host", "api_url"),
    [
        ("ghe.example/path", ""),
        ("", ""),
        ("user@ghe.example", ""),
        ("[::1]", ""),
        ("ghe.example", "http://ghe.example/api/v3"),
        ("ghe.example", "https://user:secret@ghe.example/api/v3"),
        ("ghe.example", "ftp://ghe.example"),
        ("ghe.example", "http://127.0.0.1.evil.example/api"),
        ("ghe.example", "https://:secret@ghe.example/api/v3"),
        ("ghe.example", "https://ghe.example:port/api/v3"),
        ("ghe.example", "https://ghe.example:99999/api/v3"),
        ("ghe.example", "https://[ghe.example/api/v3"),
        ("ghe.example:99999", ""),
    ],
)
def test_a_forge_that_cannot_be_meant_is_refused(host: str, api_url: str) -> None:
    with pytest.raises(Refused):
        ForgeHost.of("github", host, api_url)
