"""The wall between agents, and between an agent and the container that runs it (W5): an agent tries what it can.

Where the tests do not run as root, all agents have one user, and only the attacks that are marked for it are held off; the server
says what is weaker, and that is what the other tests look at then.
"""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.agents.control_server.clean_start import is_harmless
from infra.agents.control_server.requests import AgentToken, RefreshToken, SendMessage
from infra.agents.control_server.settings import USERS, ControlServerSettings
from infra.devstack import container
from shared.adapters import local_supervisor as supervisor
from shared.adapters.clock import wait_for
from shared.adapters.local_processes import NotPrepared
from shared.adapters.local_users import require_way_to
from tests.patience import PATIENCE_SECONDS
from tests.walled_agents import OWN_USERS, Walled, own_users, passable_directory, walled

needs_users = pytest.mark.parametrize("town", [True], ids=["own users"], indirect=True)
anywhere = pytest.mark.parametrize(
    "town", [True, False] if OWN_USERS else [False], ids=lambda own: "own users" if own else "one user", indirect=True
)


@pytest.fixture
def town(request: pytest.FixtureRequest) -> Iterator[Walled]:
    with walled(users=own_users() if request.param and OWN_USERS else None) as found:
        yield found


def is_weaker(town: Walled) -> bool:
    """Whether all agents have one user here; then the server says so."""
    if town.server.settings.users is not None:
        return False
    assert "can read one another's files and tokens" in town.server.settings.about_users
    return True


def with_two_agents(town: Walled) -> Walled:
    """Two agents at work, with everything that a container keeps for them."""
    for agent_id in ("a1", "a2"):
        town.runs(agent_id, token=f"token-of-{agent_id}")
        town.server.running.sessions.message(agent_id, SendMessage(prompt="psst"), message_id="m1", mode="queue")
        (town.tree(agent_id) / "draft.txt").write_text("mine")
    tokens = [AgentToken(agentId=each, generation=1, token=f"fresh-of-{each}") for each in ("a1", "a2")]
    town.server.running.sessions.refresh_token(RefreshToken(token="token-of-the-container", agentTokens=tokens))
    return town


def files_of(town: Walled) -> list[Path]:
    return [path for path in town.root.rglob("*") if path.is_file() and not path.is_symlink()]


# files ----------------------------------------------------------------------------------------------


@anywhere
def test_agents_pass_through_the_directory_of_the_server_and_cannot_list_it(town: Walled) -> None:
    own = town.server.settings.users is not None
    assert town.root.stat().st_mode & 0o777 == (0o711 if own else 0o700)
    assert "file_of_mine" in town.runs().does(f"touch file_of_mine; ls; ls {town.root}")
    assert ("denied" in town.does(f"ls {town.root}")) is own


@needs_users
def test_of_all_files_of_the_container_an_agent_reads_only_its_own(town: Walled) -> None:
    if is_weaker(town):
        return
    with_two_agents(town)
    files = files_of(town)
    found = town.does("\n".join(f"cat '{file}' > /dev/null 2>&1 && echo '{file}'" for file in files)).splitlines()
    own = str(town.home())
    desk, token = f"{own}/00000001/agent/", str(town.root / "tokens" / "a1.1")
    for file in found:
        mine = tuple(f"{own}/{name}/" for name in ("work", "home", "tmp", "lent.git"))
        assert file.startswith((*mine, desk)) or file == token, file
    assert token in found
    assert f"{desk}context.json" in found
    assert f"{desk}messages/m1.json" in found
    assert {"tokens/a2.1", "token", "agents/t1/a1/00000001/process.json"} <= {
        str(f.relative_to(town.root)) for f in files
    }


@needs_users
def test_an_agent_alters_nothing_but_what_is_its_own(town: Walled) -> None:
    """Records that an agent can write name processes that the server then kills, and ends that never were."""
    if is_weaker(town):
        return
    with_two_agents(town)
    own = (f"{town.work()}/", f"{town.home()}/home/", f"{town.home()}/tmp/")
    others = [file for file in files_of(town) if not str(file).startswith(own)]
    before = {file: file.read_bytes() for file in others if file.name != "agent.log"}
    tries = [
        f"echo x >> '{file}'; rm -f '{file}'; mv -f '{file}' ./stolen; ln -sf /etc/passwd '{file}'" for file in others
    ]
    records = town.home() / "00000001"
    tries += [
        f"echo '{{\"code\":0}}' > '{records}/exit.json'",
        f"mkdir '{records}/stopped.json' '{town.home()}/00000009'",
    ]
    tries += [f"mv '{records}/agent/messages' '{records}/agent/gone'", f"mv '{records}/agent' '{records}/gone'"]
    town.does("\n".join(tries))
    assert {file: file.read_bytes() for file in before} == before
    assert town.server.generations() == [1]


@needs_users
def test_two_agents_have_two_users_and_no_rights_besides(town: Walled) -> None:
    if is_weaker(town):
        return
    with_two_agents(town)
    status = "grep -E 'Uid|Gid|Groups|NoNewPrivs|CapEff' /proc/self/status; umask; pwd; echo $HOME $TMPDIR"
    said = [town.does(status, agent_id) for agent_id in ("a1", "a2")]
    users = [town.user(agent_id) for agent_id in ("a1", "a2")]
    assert len({*users, 0, town.server.settings.keeper}) == 4
    for text, user, home in zip(said, users, (town.home("a1"), town.home("a2")), strict=True):
        assert re.findall(r"[UG]id:\t(\d+)\t(\d+)\t(\d+)\t(\d+)", text) == [(str(user),) * 4] * 2
        assert re.search(r"Groups:\s*\n", text)
        assert "NoNewPrivs:\t1" in text
        assert "CapEff:\t0000000000000000" in text
        assert text.splitlines()[-3:] == ["0077", str(home / "work"), f"{home}/home {home}/tmp"]


# processes ------------------------------------------------------------------------------------------


@needs_users
def test_an_agent_can_neither_look_into_other_processes_nor_signal_them(town: Walled) -> None:
    if is_weaker(town):
        return
    with_two_agents(town)
    other = town.server.runtime.newest("t1", "a2").recorded()
    for pid in (os.getpid(), other.pid, other.supervisor_pid):
        tries = [f"cat /proc/{pid}/{name}" for name in ("environ", "mem", "maps", "auxv")]
        tries += [f"ls /proc/{pid}/{name}/" for name in ("fd", "cwd", "root")]
        tries += [f"kill -{number} {pid}" for number in (0, 15, 9, 19)]
        reached = town.does("\n".join(f"{each} > /dev/null 2>&1 && echo '{each}'" for each in tries))
        assert reached == ""
    assert town.server.generations("a2") == [1]


ESCAPE = """
for n in 1 2 3; do
    (setsid env -i sh -c 'trap "" 15; cd /; sleep 600 & sleep 600 & wait' > /dev/null 2>&1 < /dev/null &)
done
"""


@needs_users
@pytest.mark.parametrize("how", ["is stopped", "ends", "is superseded"])
def test_nothing_of_an_agent_outlives_it(town: Walled, how: str) -> None:
    """A child with a session and an environment of its own bears no mark of the agent, but it has its user."""
    if is_weaker(town):
        return
    town.runs("a1", rig=False).runs("a2", rig=False)
    town.does(ESCAPE)
    user = town.user()
    assert wait_for(lambda: len(list(supervisor.of_user(user))) > 6, seconds=PATIENCE_SECONDS)
    if how == "is stopped":
        town.server.runtime.stop("t1", "a1", generation=1, effect_id="s1")
    elif how == "ends":
        os.kill(town.server.runtime.newest("t1", "a1").recorded().pid, signal.SIGKILL)
        assert wait_for((town.home() / "00000001" / "exit.json").exists, seconds=PATIENCE_SECONDS)
    else:
        town.runs("a1", 2, rig=False)
        assert all("sleep\0600" not in Path(f"/proc/{p}/cmdline").read_text() for p in supervisor.of_user(user))
        return
    assert list(supervisor.of_user(user)) == []
    assert town.server.generations("a2") == [1]


@anywhere
def test_no_process_of_the_container_shows_its_keys(town: Walled) -> None:
    """The control key and an AWS secret stood in /proc/<pid>/environ of the server, for every agent to read."""
    secrets = {
        "TOWN_CONTROL_KEY": "sesame-control",
        "AWS_SECRET_ACCESS_KEY": "sesame-aws",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/sesame-uri",
        "TOWN_TOKEN": "sesame-token",
        "GIT_TOKEN": "sesame-git",
        "SENTRY_DSN": "sesame-sentry",
    }
    users = town.server.settings.users
    numbers = "none" if users is None else f"{users[-1] + 1}-{users[-1] + 4}"
    # The agent looks by itself: only its command is needed, and no caller with the key.
    look = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -a 'sesame-[a-z]' || echo none"
    (town.place / "towns").mkdir(mode=0o755)
    environment = {
        **secrets,
        "TOWN_AGENT_DATA": str(town.place / "towns"),
        "TOWN_AGENT_UIDS": numbers,
        "TOWN_EVICTION_SECONDS": "0",
    }
    disk = town.place / "disk"
    run = container.start("t1", disk, instance_id="one", key=secrets["TOWN_CONTROL_KEY"], command="", environment=environment | {
        "TOWN_AGENT_COMMAND": f'["/bin/sh", "-c", {_quoted("env; echo; " + look)}]',
    })  # fmt: skip
    try:
        _start(run.address, "sesame-control")
        log = disk / "agents/t1/a1/00000001/agent.log"
        assert wait_for((log.parent / "exit.json").exists, seconds=PATIENCE_SECONDS)
        variables, _, found = log.read_text().partition("\n\n")
        assert found == "none\n"
        names = {line.partition("=")[0] for line in variables.splitlines()}
        assert names & secrets.keys() == set()
        assert {name for name in names if not name.startswith(("TOWN", "GIT_"))} <= {
            *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "TERM", "PWD", "SHLVL", "_", "OLDPWD"),
            *("PYTHONPATH", "PYTHONDONTWRITEBYTECODE"),
            *(name for name in names if "proxy" in name.lower() or "CA" in name or "CERT" in name),
        }
        assert (Path(f"/proc/{run.process.pid}/environ").read_text().count("sesame")) == 0
    finally:
        run.close(seconds=PATIENCE_SECONDS)


def _quoted(text: str) -> str:
    import json

    return json.dumps(text)


def _start(address: str, key: str) -> None:
    from shared.adapters.control_server import ControlServerRuntime
    from shared.adapters.town_containers import FixedAddresses
    from shared.ports.runtime import Started
    from tests.control_servers import PATIENT
    from tests.walled_agents import order

    runtime = ControlServerRuntime(FixedAddresses(address), key_of=lambda _: key, seconds=PATIENT)
    answer = runtime.start(order(rig=False), effect_id="e1")
    assert isinstance(answer, Started), answer


def test_a_name_says_whether_a_variable_may_be_seen() -> None:
    assert all(map(is_harmless, ("PATH", "LC_ALL", "PYTHONPATH")))
    assert not any(
        map(is_harmless, ("TOWN_CONTROL_KEY", "AWS_SECRET_ACCESS_KEY", "TOWN_START_URL", "GIT_CONFIG_VALUE_0"))
    )


# git ------------------------------------------------------------------------------------------------

HOSTILE: dict[str, str] = {
    "core.fsmonitor": "{do}",
    "core.hooksPath": "{hooks}",
    "core.sshCommand": "{do}",
    "core.askPass": "{do}",
    "core.editor": "{do}",
    "core.pager": "{do}",
    "credential.helper": "!{do}",
    "filter.evil.clean": "{do}",
    "filter.evil.smudge": "{do}",
    "filter.evil.process": "{do}",
    "diff.external": "{do}",
    "diff.evil.textconv": "{do}",
    "gpg.program": "{do}",
    "commit.gpgSign": "true",
    "remote.origin.receivepack": "{do}",
    "remote.origin.uploadpack": "{do}",
    "remote.origin.vcs": "evil",
    "url.ext::{do}.insteadOf": "https://git.example.com/acme/",
    "url.ext::{do} .pushInsteadOf": "https://git.example.com/acme/",
    "include.path": "{more}",
    "alias.add": "!{do}",
    "alias.push": "!{do}",
    "core.alternateRefsCommand": "{do}",
    "push.recurseSubmodules": "on-demand",
    "core.worktree": "/",
}

PREPARE = """
mkdir -p "$TOWN_AGENT_HOME/hooks"
printf '#!/bin/sh\\nid -u >> {witness}\\ncat > /dev/null\\n' > "$TOWN_AGENT_HOME/do"
chmod 755 "$TOWN_AGENT_HOME/do"
for hook in pre-commit post-commit pre-push post-checkout reference-transaction post-index-change fsmonitor-watchman; do
    cp "$TOWN_AGENT_HOME/do" "$TOWN_AGENT_HOME/hooks/$hook"; cp "$TOWN_AGENT_HOME/do" tree/.git/hooks/$hook
done
printf '[core]\\n\\tfsmonitor = %s\\n' "$TOWN_AGENT_HOME/do" > "$TOWN_AGENT_HOME/more"
echo '* filter=evil diff=evil' > tree/.gitattributes
echo 'half done' > tree/half.txt
git init --quiet tree/inner; git -C tree/inner -c user.name=E -c user.email=e@e commit --quiet --allow-empty -m x
git -C tree/inner config core.fsmonitor "$TOWN_AGENT_HOME/do"
"""


@anywhere
def test_nothing_that_an_agent_configures_for_git_runs_when_its_work_is_saved(town: Walled) -> None:
    """`core.fsmonitor`, set in the clone that all agents shared, ran inside the control server."""
    town.runs()
    witness = town.work() / "witness"
    words = {"do": f"{town.work()}/do", "hooks": f"{town.work()}/hooks", "more": f"{town.work()}/more"}
    settings = [
        f"git -C tree config '{name.format(**words)}' '{value.format(**words)}'" for name, value in HOSTILE.items()
    ]
    town.does(PREPARE.format(witness=witness) + "\n".join(settings) + "\nrm -f witness")
    assert town.saves() == "saved on gt/a1"
    assert not witness.exists()


@anywhere
@pytest.mark.parametrize(
    "name", ["core.fsmonitor", "core.hooksPath", "filter.evil.process", "remote.origin.receivepack", "core.worktree"]
)
def test_no_single_setting_of_git_runs_either(town: Walled, name: str) -> None:
    """Together they might get in one another's way."""
    town.runs()
    witness = town.work() / "witness"
    words = {"do": f"{town.work()}/do", "hooks": f"{town.work()}/hooks", "more": f"{town.work()}/more"}
    setting = f"git -C tree config '{name.format(**words)}' '{HOSTILE[name].format(**words)}'"
    town.does(PREPARE.format(witness=witness) + setting + "\nrm -f witness")
    assert town.saves() == "saved on gt/a1"
    assert not witness.exists()


@needs_users
def test_what_an_agent_configures_for_its_user_runs_as_that_user_or_not_at_all(town: Walled) -> None:
    if is_weaker(town):
        return
    town.runs()
    witness = town.work() / "witness"
    do = f"{town.work()}/do"
    settings = (
        f"core.sshCommand {do}",
        f"credential.helper '!{do}'",
        f"filter.evil.clean {do}",
        f"core.fsmonitor {do}",
    )
    town.does(
        PREPARE.format(witness=witness)
        + "\n".join(f"git config --global {each}" for each in settings)
        + "\nrm -f witness"
    )
    town.saves()
    town.runs("a1", 2)
    assert set(witness.read_text().split() if witness.exists() else []) <= {str(town.user())}
    assert all(path.stat().st_uid == town.user() for path in town.tree().rglob("*"))


@needs_users
def test_the_objects_of_the_cache_are_lent_to_each_agent_and_can_be_changed_by_none(town: Walled) -> None:
    if is_weaker(town):
        return
    town.runs("a1").runs("a2")
    [cache] = (town.root / "clones").glob("*.git")
    mine, others = (town.home(agent_id) / "lent.git" for agent_id in ("a1", "a2"))
    places = (cache, mine, others)
    before = [sorted((path, path.stat().st_mtime_ns) for path in place.rglob("*")) for place in places]
    for place in places:
        town.does(
            f"git --git-dir '{place}' config core.fsmonitor x; git --git-dir '{place}' gc; touch '{place}/x'; rm -rf '{place}'"
        )
    assert [sorted((path, path.stat().st_mtime_ns) for path in place.rglob("*")) for place in places] == before
    assert (town.tree("a2") / ".git/objects/info/alternates").read_text().strip() == f"{others}/objects"
    packs = {path.stat().st_ino for path in others.rglob("*.pack")}
    assert packs == {path.stat().st_ino for path in cache.rglob("*.pack")} != set()
    assert town.does(f"ls '{cache}' '{others}' 2> /dev/null | wc -l").strip() == "0"
    assert town.does("git -C tree log --oneline | wc -l", "a2").strip() == "1"
    assert cache.stat().st_uid == town.server.settings.keeper


@anywhere
@pytest.mark.parametrize("url", ["ext::touch {}", "fd::17", "file:///etc", "--upload-pack=touch {}"])
def test_git_fetches_over_https_and_ssh_only(town: Walled, url: str) -> None:
    workspaces = town.server.running.sessions.workspaces
    workspaces._environment["GIT_ALLOW_PROTOCOL"] = "https:ssh"
    witness = town.place / "witness"
    with pytest.raises(NotPrepared):
        workspaces.fetch(url.format(witness))
    assert not witness.exists()


# links, pipes, logs ---------------------------------------------------------------------------------


@anywhere
@pytest.mark.parametrize("trick", ["tree", "tree/.git", "saving.git", "tree/.git/objects", "tree/.git/HEAD"])
def test_a_link_in_place_of_a_directory_leads_nowhere(town: Walled, trick: str) -> None:
    """Neither the save nor the next start touches what the link leads to."""
    victim = town.place / "victim"
    victim.mkdir()
    (victim / "precious").write_text("precious")
    town.runs()
    town.does(f"rm -rf '{trick}'; ln -s '{victim}' '{trick}'")
    town.saves()
    town.runs("a1", 2)
    assert [path.name for path in victim.iterdir()] == ["precious"]
    assert not (town.work() / "tree").is_symlink()


@anywhere
def test_what_an_agent_leaves_for_the_server_to_read_is_read_only_if_it_is_a_small_plain_file(town: Walled) -> None:
    """A pipe stopped the thread that observes all agents; a link showed what only the server may read."""
    secret = town.place / "secret"
    secret.write_text('{"since": "2026-01-10T12:00:00.000Z"} sesame')
    secret.chmod(0o600)
    town.runs("a1", rig=False).runs("a2", rig=False).runs("a3", rig=False)
    desk = 'cd "${TOWN_AGENT_CONTEXT%/*}"; '
    town.does(desk + f"ln -s '{secret}' exit-reason.txt; ln -s '{secret}' waiting.json; ln -s '{secret}' spoke")
    town.does(desk + "mkfifo exit-reason.txt waiting.json spoke", "a2")
    town.does(desk + "truncate -s 1T exit-reason.txt waiting.json", "a3")
    town.server.running.watch.look()
    for agent_id in ("a1", "a2", "a3"):
        town.server.runtime.stop("t1", agent_id, generation=1, effect_id="s")
        assert "sesame" not in str(town.server.runtime.status("t1", agent_id))
        assert len(str(town.server.runtime.status("t1", agent_id))) < 5_000


@anywhere
def test_an_agent_can_only_add_to_its_log(town: Walled) -> None:
    town.runs("a1", rig=False)
    log = town.home() / "00000001" / "agent.log"
    town.does("echo evidence > /proc/self/fd/3")
    assert wait_for(lambda: "evidence" in log.read_text(), seconds=PATIENCE_SECONDS)
    town.does("truncate -s 0 /proc/self/fd/3; : > /proc/self/fd/3; dd if=/dev/null of=/proc/self/fd/3 seek=0")
    if not is_weaker(town):
        town.does(f": > '{log}'; rm -f '{log}'; ln -sf /etc/passwd '{log}'")
    assert "evidence" in log.read_text()


@anywhere
def test_a_log_has_a_limit_at_any_moment(town: Walled) -> None:
    town.runs("a1", rig=False)
    log = town.home() / "00000001" / "agent.log"
    largest = 0

    def is_over() -> bool:
        nonlocal largest
        largest = max(largest, log.stat().st_size)
        return log.stat().st_size > 0 and b"over" in log.read_bytes()[-10:]

    town.does("head -c 30000000 /dev/zero > /proc/self/fd/3; echo over > /proc/self/fd/3")
    assert wait_for(is_over, seconds=PATIENCE_SECONDS)
    assert largest <= supervisor.LARGEST_LOG


# users ----------------------------------------------------------------------------------------------


@needs_users
def test_a_user_gets_a_new_agent_only_when_nothing_of_the_old_one_is_left(town: Walled) -> None:
    if is_weaker(town):
        return
    with walled(users=range(own_users(16)[8], own_users(16)[8] + 3)) as small:
        small.runs("a1", token="t").runs("a2", rig=False)
        old = small.user("a1")
        status, answer = small.starts("a3", rig=False)
        assert status in (409, 500, 503)
        assert "each of the 2 users for agents has an agent that runs" in answer["error"]
        small.does("touch /tmp/walls-$(id -u)")
        small.server.runtime.stop("t1", "a1", generation=1, effect_id="s1")
        small.runs("a3", rig=False)
        assert [small.server.runtime.user_of("t1", each) for each in ("a3", "a1")] == [old, None]
        assert [path for path in small.root.rglob("*") if path.lstat().st_uid == old and "a3" not in str(path)] == []
        assert not Path(f"/tmp/walls-{old}").exists()


def settings_of(monkeypatch: pytest.MonkeyPatch, *, is_root: bool = True, **more: str) -> ControlServerSettings:
    monkeypatch.setattr(os, "geteuid", lambda: 0 if is_root else 1000)
    return ControlServerSettings.from_environment({"TOWN_ID": "t1", "TOWN_AGENT_COMMAND": "x", **more})


def test_the_settings_say_as_whom_agents_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of(monkeypatch).users == USERS
    assert settings_of(monkeypatch, TOWN_AGENT_UIDS="3000-3009").users == range(3000, 3010)
    assert settings_of(monkeypatch, TOWN_AGENT_UIDS="none").users is None
    assert settings_of(monkeypatch, is_root=False).users is None
    assert settings_of(monkeypatch, TOWN_AGENT_DATA="/data").users is None
    assert settings_of(monkeypatch, TOWN_AGENT_DATA="/data", TOWN_API="https://x").users == USERS
    assert "20001 to 20255" in settings_of(monkeypatch).about_users
    assert "can read one another's files" in settings_of(monkeypatch, is_root=False).about_users


@pytest.mark.parametrize("wrong", ["all", "5", "0-9", "9-5", "7-7", "1-2-3", "-5"])
def test_users_that_cannot_be_are_refused(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    with pytest.raises(ValueError, match="TOWN_AGENT_UIDS"):
        settings_of(monkeypatch, TOWN_AGENT_UIDS=wrong)
    with pytest.raises(ValueError, match="only root"):
        settings_of(monkeypatch, is_root=False, TOWN_AGENT_UIDS="3000-3009")


def test_a_directory_that_other_users_cannot_reach_is_refused() -> None:
    with passable_directory() as place:
        require_way_to(place / "control")
        (place / "private").mkdir(mode=0o700)
        with pytest.raises(ValueError, match=r"cannot pass through .*/private"):
            require_way_to(place / "private" / "control")
