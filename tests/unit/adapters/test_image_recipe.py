"""The recipe of the container image. It is not built here; what can be held without building it is held."""

import re
import subprocess
import sys
from pathlib import Path

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


def test_it_runs_as_nobody_in_particular_and_holds_no_secret() -> None:
    assert "\nUSER agent\n" in RECIPE
    assert not re.search(r"^(ENV|ARG).*(KEY|TOKEN|SECRET|PASSWORD)", RECIPE, re.MULTILINE)
