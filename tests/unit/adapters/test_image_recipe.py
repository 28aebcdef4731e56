"""The recipe of the container image. It is not built here; what can be held without building it is held."""

import re
import subprocess
import sys
from pathlib import Path

from infra.agents.control_server.settings import USERS

ROOT = Path(__file__).parents[3]
RECIPE = (ROOT / "infra/agents/control_server/Dockerfile").read_text(encoding="utf-8")


def test_it_has_the_build_tools_that_agents_need() -> None:
    packages = set(re.findall(r"[a-z0-9][a-z0-9.+-]+", RECIPE.split("apt-get install")[1].split("rm -rf")[0]))
    wanted = {"build-essential", "autoconf", "ripgrep", "jq", "git", "gh", "tzdata"}
    libraries = {"libssl-dev", "libpq-dev", "libsqlite3-dev", "python3-dev", "libffi-dev", "ruby-full", "libyaml-dev"}
    images = {"libjpeg-dev", "libpng-dev", "libwebp-dev", "libvips-dev"}
    assert wanted | libraries | images <= packages


def test_whatever_it_copies_is_there_and_whatever_runs_in_it_is_copied() -> None:
    copied = [words.split()[:-1] for words in re.findall(r"^COPY (.+)$", RECIPE, re.MULTILINE)]
    sources = [source for each in copied for source in each]
    assert [source for source in sources if not (ROOT / source).exists()] == []
    script = "import sys, infra.agents.control_server.process, infra.agents.town_agent.main\n"
    script += (
        "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] in ('infra', 'shared')), sep='\\n')"
    )
    loaded = subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT, capture_output=True, text=True)
    files = [Path(line).relative_to(ROOT).as_posix() for line in loaded.stdout.split()]
    assert len(files) > 20
    assert [file for file in files if not any(f"{file}/".startswith(f"{source}/") for source in sources)] == []


def test_it_has_a_user_for_each_agent_and_holds_no_secret() -> None:
    """The server is root, so that agents are not; each may have any of the users that the settings name by default."""
    assert "USER " not in re.sub(r"^#.*$", "", RECIPE, flags=re.MULTILINE)
    assert f"seq {USERS[0]} {USERS[-1]}" in RECIPE
    assert not re.search(r"^(ENV|ARG).*(KEY|TOKEN|SECRET|PASSWORD)", RECIPE, re.MULTILINE)


def test_the_lines_about_users_make_entries_that_the_system_can_read(tmp_path: Path) -> None:
    """The image is not built here, so the step of the recipe runs on files of this test."""
    [loop] = re.findall(r"for number in .*? done", RECIPE.replace("\\\n", " "), re.DOTALL)
    script = loop.replace("/etc/passwd", str(tmp_path / "passwd")).replace("/etc/group", str(tmp_path / "group"))
    subprocess.run(["/bin/sh", "-c", script], check=True)
    entries = [line.split(":") for line in (tmp_path / "passwd").read_text().splitlines()]
    assert [(int(entry[2]), int(entry[3])) for entry in entries] == [(user, user) for user in USERS]
    assert {len(entry) for entry in entries} == {7}
    assert len((tmp_path / "group").read_text().splitlines()) == len(USERS)


def test_it_installs_what_the_control_server_needs_and_nothing_of_townctl() -> None:
    assert "--no-default-groups --group agents " in RECIPE
