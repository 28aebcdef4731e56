"""The wall around the platform's token: it works for the towns and repositories that stand beside it, and for nobody else.

Seen: a town without a token of its own merged a pull request of another tenant's private repository with the platform's token.
Kind: a deputy with more rights than the one who asks, who alone says what it is asked for.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.devstack.fake_forge import TOKEN
from infra.devstack.fake_github import FakeGitHub
from infra.devstack.fake_gitlab import FakeGitLab
from infra.townctl import main
from infra.townctl.platform_tokens import unsafe
from shared.adapters.forge_tokens import NamedToken, NotServed, PlatformToken, token_for, with_towns
from shared.adapters.secret_files import SecretFiles
from shared.domain.errors import Terminal
from shared.ports.forge import Accepted, Asker, ForgeError, MergeClaim, Merged, Proof, PullRequest, SourceForge
from shared.ports.secrets import Secret
from shared.questions.rosters import RigSettings, TownSettings
from tests.fakes import FakeSecrets
from tests.forge_sites import Served, served

CANARY = "canary-of-the-platform-0451"


def listed(**towns: list[str]) -> str:
    return json.dumps({"token": TOKEN, "towns": towns})


@pytest.fixture(params=["github", "gitlab"])
def site(request: pytest.FixtureRequest) -> Iterator[Served]:
    with served(FakeGitHub() if request.param == "github" else FakeGitLab()) as made:
        yield made


def stored_for(site: Served, text: str) -> str:
    """Store the platform's token of this forge; returns the host."""
    site.secrets.stored = {f"platform/forges/{site.server.host}": text}
    return str(site.server.host)


HEAD = "1" * 40
CALLS: dict[str, Callable[[SourceForge, Asker, str], Any]] = {
    "poll": lambda forge, asker, url: forge.pull_request(asker, url, want_feedback=True),
    "merge": lambda forge, asker, url: forge.merge(asker, url, head_sha=None, effect_id="e"),
    "merge of a head": lambda forge, asker, url: forge.merge(asker, url, head_sha=HEAD, effect_id="e"),
    "update": lambda forge, asker, url: forge.update_branch(asker, url, head_sha=HEAD),
    "dequeue": lambda forge, asker, url: forge.dequeue(asker, url),
    "review": lambda forge, asker, url: forge.request_review(asker, url, reviewers=("ann",)),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("towns", "asker"),
    [
        ({"t2": ["acme"]}, Asker("t1", "rig-1")),
        ({"t1": ["other"]}, Asker("t1", "rig-1")),
        ({"t1": ["acme/another"]}, Asker("t1", "rig-1")),
        ({"t1": ["acme/ap"]}, Asker("t1", "rig-1")),
        ({"t1": ["ac"]}, Asker("t1", "rig-1")),
        ({"t1": ["acme/app/more"]}, Asker("t1", "rig-1")),
        ({"t1": ["acme"]}, Asker("t1", "rig-1", repository="victim/private")),
        ({"t1": ["acme"]}, Asker("t1", "rig-1", repository="acme/app", upstream="victim/private")),
        ({"t1": ["acme"]}, Asker("t11", "rig-1")),
        ({"t1": ["acme"]}, Asker("T1", "rig-1")),
    ],
    ids=str,
)
def test_who_is_not_named_reaches_nothing_whatever_the_call(
    site: Served, call: str, towns: dict[str, list[str]], asker: Asker
) -> None:
    url = site.opens()
    host = stored_for(site, listed(**towns))
    before = len(site.server.requests)
    answer = CALLS[call](site.forge, asker, url)
    assert isinstance(answer, ForgeError)
    assert (answer.kind, answer.secret, answer.is_platform) == (
        "no_token",
        f"towns/{_part(asker)}/rigs/rig-1/forges/{host}",
        False,
    )
    assert "does not serve it" in answer.message
    assert len(site.server.requests) == before
    assert site.merges(url) == 0


def _part(asker: Asker) -> str:
    return asker.town_id.replace("T", "=54")


def test_a_merge_is_not_proven_for_a_town_that_is_not_named(site: Served) -> None:
    site.opens()
    host = stored_for(site, listed(t2=["acme"]))
    claim = MergeClaim(f"https://{host}/acme/app.git", "main", "work-0", head=HEAD)
    before = len(site.server.requests)
    answer = site.forge.proof(Asker("t1", "rig-1"), claim)
    assert isinstance(answer, Proof)
    assert (answer.contained, len(site.server.requests)) == (None, before)
    assert "does not serve" in answer.says


@pytest.mark.parametrize("entry", ["acme", "ACME", "acme/app", "Acme/App", "*"])
def test_who_is_named_polls_and_merges(site: Served, entry: str) -> None:
    url = site.opens()
    stored_for(site, listed(t1=["other", entry], t2=["x"]))
    asker = Asker("t1", "rig-1", repository="acme/app")
    assert isinstance(seen := site.forge.pull_request(asker, url, want_feedback=False), PullRequest)
    assert seen.is_platform
    assert isinstance(site.forge.merge(asker, url, head_sha=site.head(url), effect_id="e"), Merged)
    assert site.merges(url) == 1


def test_a_town_with_a_token_of_its_own_needs_no_entry(site: Served) -> None:
    url = site.opens()
    host = stored_for(site, listed(t2=["acme"]))
    site.secrets.stored[f"towns/t1/forges/{host}"] = TOKEN
    assert isinstance(site.forge.pull_request(Asker("t1", "rig-1"), url, want_feedback=False), PullRequest)
    assert site.forge.request_review(Asker("t1", "rig-1"), url, reviewers=()) == Accepted()


def test_a_plain_token_serves_every_town_until_the_next_release(site: Served) -> None:
    url = site.opens()
    stored_for(site, TOKEN)
    assert isinstance(site.forge.pull_request(Asker("any", "rig-1"), url, want_feedback=False), PullRequest)


MALFORMED = [
    "{",
    "[]",
    "{}",
    f'{{"token": "{CANARY}"}}',
    f'{{"token": "{CANARY}", "towns": null}}',
    f'{{"token": "{CANARY}", "towns": []}}',
    f'{{"token": "{CANARY}", "towns": {{"t1": "acme"}}}}',
    f'{{"token": "{CANARY}", "towns": {{"t1": []}}}}',
    f'{{"token": "{CANARY}", "towns": {{"t1": [1]}}}}',
    f'{{"token": "{CANARY}", "towns": {{"t1": [""]}}}}',
    f'{{"token": "{CANARY}", "towns": {{"t1": ["acme/*"]}}}}',
    f'{{"token": "{CANARY}", "towns": {{"t1": ["../x"]}}}}',
    f'{{"token": "{CANARY}", "towns": {{"t1": ["/acme"]}}}}',
    f'{{"token": "{CANARY}", "towns": {{"t1": ["acme/"]}}}}',
    f'{{"token": "{CANARY}", "towns": {{"*": ["acme"]}}}}',
    f'{{"token": "{CANARY}", "towns": {{"T1": ["acme"]}}}}',
    f'{{"token": "{CANARY}", "towns": {{"t1": ["acme"]}}, "more": 1}}',
    f'{{"token": "{CANARY}", "towns": {{"t1": ["a"], "t1": ["b"]}}}}',
    f'{{"token": 5, "towns": {{"{CANARY}": ["acme"]}}}}',
    f'{{"token": "", "towns": {{"{CANARY}": ["acme"]}}}}',
    '{"token": ' + "[" * 5000,
    f"{CANARY[:0]}{{'token': '{CANARY}'}}",
]


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_list_is_a_clear_error_without_its_content(site: Served, text: str) -> None:
    """It must not serve everybody, and neither be sent as it is."""
    url = site.opens()
    host = stored_for(site, text)
    answer = site.forge.pull_request(Asker("t1", "rig-1"), url, want_feedback=False)
    assert isinstance(answer, ForgeError)
    assert (answer.kind, answer.secret, answer.is_platform) == ("no_token", f"platform/forges/{host}", True)
    assert "the platform's token cannot be used" in answer.message
    assert CANARY not in repr(answer)
    assert site.server.requests == []


_NAME = st.from_regex(r"[a-zA-Z0-9_-]{1,8}", fullmatch=True)
_PATH = st.lists(_NAME, min_size=1, max_size=4).map("/".join)


@given(entry=_PATH, project=st.lists(_NAME, min_size=2, max_size=5).map("/".join), case=st.booleans())
def test_an_entry_is_whole_segments_from_the_start_and_case_does_not_matter(
    entry: str, project: str, case: bool
) -> None:
    token = PlatformToken.read(Secret(listed(t1=[entry])))
    asked = project.upper() if case else project
    starts = project.lower().split("/")[: entry.count("/") + 1] == entry.lower().split("/")
    assert token.serves("t1", asked) is starts
    assert not token.serves("t2", asked)
    assert token.serves("t1", f"{entry}/more")


@given(st.text(max_size=60))
def test_whatever_is_stored_it_is_a_plain_token_or_an_error_and_never_serves_by_accident(text: str) -> None:
    try:
        found = PlatformToken.read(Secret(text))
    except Terminal as error:
        shown = f"{error.message} {error.hint}"
        assert len(text) < 12 or text not in shown
        return
    assert found.towns is None
    assert not text.lstrip().startswith(("{", "["))


def test_no_field_of_a_request_changes_which_town_asks() -> None:
    """Ids of rigs are chosen by events: none of them leads to the token of another town or to another name."""
    secrets = FakeSecrets({"platform/forges/github.com": listed(t1=["acme"]), "towns/t2/forges/github.com": "of-t2"})
    for rig in ("../t2", "../../towns/t2", "t2", "/", "", "forges/github.com"):
        found = token_for(Asker("t3", rig), "github.com", secrets, project="acme/app")
        assert found == NotServed("acme/app")
    served_one = token_for(Asker("t1", "../t2"), "github.com", secrets, project="acme/app")
    assert isinstance(served_one, NamedToken)
    assert served_one.is_platform


# --- townctl -----------------------------------------------------------------------------------------------------


def of_town(town_id: str, *git_urls: str) -> TownSettings:
    rigs = tuple(RigSettings(f"rig-{n}", "work", url, "main", ()) for n, url in enumerate(git_urls))
    return TownSettings(town_id, 1, False, (), rigs)


class Kept(FakeSecrets):
    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.stored))


def test_the_doctor_names_the_towns_that_use_a_token_without_a_list() -> None:
    github = "https://github.com/acme/app.git"
    towns = [
        of_town("uses", "git@github.com:acme/app.git"),
        of_town("has-own", github),
        of_town("has-own-for-rig", github),
        of_town("elsewhere", "https://gitlab.com/acme/app.git", "/srv/work.git"),
    ]
    kept = Kept(
        {
            "platform/forges/github.com": CANARY,
            "platform/forges/gitlab.com": listed(elsewhere=["acme"]),
            "platform/forges/git.example.com": "{" + CANARY,
            "platform/control-key": CANARY,
            "towns/has-own/forges/github.com": "x",
            "towns/has-own-for-rig/rigs/rig-0/forges/github.com": "x",
        }
    )
    found = {each.name: each.problem for each in unsafe(kept, lambda: towns)}
    assert set(found) == {"platform/forges/github.com", "platform/forges/git.example.com"}
    assert found["platform/forges/github.com"].endswith("these towns use it: uses")
    assert "cannot be used" in found["platform/forges/git.example.com"]
    assert CANARY not in repr(list(unsafe(kept, lambda: towns)))


def test_townctl_stores_the_towns_beside_the_token_and_changes_them_without_the_token(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOWNCTL_SECRETS_PREFIX", raising=False)
    files = SecretFiles(tmp_path / ".secrets")

    def townctl(*words: str, given: str = "") -> int:
        (tmp_path / "input").write_text(given)
        with (tmp_path / "input").open() as source:
            monkeypatch.setattr("sys.stdin", source)
            code = main.run(["--data", str(tmp_path), "secret", "set-platform", "github", *words])
        said = capsys.readouterr()
        assert CANARY not in said.out + said.err
        return code

    def kept() -> PlatformToken:
        stored = files.get("platform/forges/github.com")
        assert stored is not None
        return PlatformToken.read(stored)

    assert townctl("--keep-token", "--serves", "t1=acme") == 2
    assert townctl("--serves", "t1=acme", "--serves", "t1=Other/App", "--serves", "t2=*", given=CANARY) == 0
    assert kept().token.reveal() == CANARY
    assert kept().towns == {"t1": ("acme", "other/app"), "t2": ("*",)}
    assert townctl("--keep-token", "--serves", "t3=acme") == 0
    assert (kept().token.reveal(), kept().towns) == (CANARY, {"t3": ("acme",)})
    for wrong in ("t1", "t1=", "T1=acme", "t1=acme/*", "t1=/", "=acme"):
        assert townctl("--serves", wrong, given=CANARY) == 2
    assert townctl(given=json.dumps({"token": CANARY, "towns": {}}).replace(" ", "")) == 2
    assert kept().towns == {"t3": ("acme",)}
    assert townctl(given=CANARY) == 0
    assert kept().towns is None


def test_the_written_list_is_the_one_that_is_read() -> None:
    made = with_towns(Secret(CANARY), [("t1", "acme"), ("t2", "other/app"), ("t1", "*")])
    assert PlatformToken.read(made).towns == {"t1": ("acme", "*"), "t2": ("other/app",)}
