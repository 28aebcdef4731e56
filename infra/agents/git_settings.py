"""The variables with which git asks for the credential of its agent, and uses the deploy key of its rig.

They are added to what the operator gave: git reads GIT_CONFIG_COUNT, GIT_CONFIG_KEY_0 and so on. The helper is set for the host of
the one repository only: for other hosts, the helpers of the operator, or of the user of this machine, go on to count.
"""

import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from infra.agents.credentials import ForgeCredential

_COUNT: Final = "GIT_CONFIG_COUNT"
_MOST_PAIRS: Final = 1000
_LEAVES: Final = re.compile(r"(?:^|/)\.{1,2}(?:/|$)|//|[\\%]")
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
_USER_VARIABLE: Final = "TOWN_GIT_USERNAME"
_TOKEN_VARIABLE: Final = "TOWN_GIT_PASSWORD"  # noqa: S105 - a name
_FROM_VARIABLES: Final = (
    f'!f() {{ test "$1" != get || printf "username=%s\\npassword=%s\\n" "${_USER_VARIABLE}" "${_TOKEN_VARIABLE}"; }}; f'
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where git finds a repository over http(s). `path` has neither slashes at its ends nor `.git`."""

    protocol: str
    host: str
    path: str

    @property
    def origin(self) -> str:
        """The beginning of the URL: what credentials are configured for."""
        return f"{self.protocol}://{self.host}"

    def is_asked_for(self, asked: Mapping[str, str]) -> bool:
        """Whether git's question for a credential is about this repository, or about its host as a whole."""
        path = asked.get("path", "").strip("/").lower()
        of_lfs = f"{self.path}.git/info/lfs/"
        is_here = path in ("", self.path, f"{self.path}.git") or f"{path}/".startswith(of_lfs)
        leads_elsewhere = _LEAVES.search(path) is not None  # `x.git/info/lfs/../../../y`: the server sees y
        is_host = (asked.get("protocol"), asked.get("host", "").lower()) == (self.protocol, self.host)
        return is_host and is_here and not leads_elsewhere


def addresses(credential: ForgeCredential, environment: Mapping[str, str]) -> tuple[Address, ...]:
    """Where a credential may be shown: at its host over https, and at an address of this machine to which the variables of the
    operator lead git instead (`url.<base>.insteadOf`). A token is never shown to another machine than the forge.
    """
    url = f"https://{credential.host}/{credential.project}".lower()
    pairs = [(base, begin) for base, begin in _replacements(environment) if url.startswith(begin.lower())]
    found = [url]
    if pairs:
        base, begin = max(pairs, key=lambda pair: len(pair[1]))
        replaced = base + url[len(begin) :]
        if urlsplit(replaced).scheme in ("http", "https") and urlsplit(replaced).hostname in _LOOPBACK:
            found.append(replaced)
    parts = [urlsplit(each) for each in found]
    return tuple(Address(each.scheme, each.netloc.lower(), each.path.strip("/")) for each in parts)


def of_agent(credential: ForgeCredential, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of an agent: git asks `town-agent git-credential`. `environment` is what the agent gets besides."""
    helper = shlex.join([sys.executable, "-P", "-m", "infra.agents.town_agent.main", "git-credential"])
    return _with_helper(f"!{helper}", credential, environment)


def of_server(credential: ForgeCredential, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables of one git of the control server: the credential itself, which only processes of git's user can see."""
    shown = {_USER_VARIABLE: credential.username, _TOKEN_VARIABLE: credential.token.reveal()}
    return _with_helper(_FROM_VARIABLES, credential, environment) | shown


def with_key(key: Path, known_hosts: Path, *, is_given: bool) -> dict[str, str]:
    """The variables with which git uses a deploy key, and nothing else, over ssh. `is_given`: the operator gave the keys of the
    hosts, and no other is accepted; else a host that is new is accepted, and remembered in that file.
    """
    options = {
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "BatchMode": "yes",
        "ConnectTimeout": "20",
        "StrictHostKeyChecking": "yes" if is_given else "accept-new",
        "UserKnownHostsFile": str(known_hosts),
    }
    flags = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return {"GIT_SSH_COMMAND": shlex.join(["ssh", "-F", "none", "-i", str(key), *flags]), "GIT_SSH_VARIANT": "ssh"}


def _with_helper(helper: str, credential: ForgeCredential, environment: Mapping[str, str]) -> dict[str, str]:
    """An empty helper makes git forget those that were configured before."""
    settings: list[tuple[str, str]] = []
    for origin in dict.fromkeys(each.origin for each in addresses(credential, environment)):
        about = f"credential.{origin}"
        settings += [(f"{about}.helper", ""), (f"{about}.helper", helper), (f"{about}.useHttpPath", "true")]
    first = _count(environment)
    found = {_COUNT: str(first + len(settings)), "GIT_TERMINAL_PROMPT": "0"}
    for number, (name, value) in enumerate(settings, start=first):
        found |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return found


def _replacements(environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The bases that replace the beginnings of URLs, as the variables say: (base, beginning)."""
    for number in range(min(_count(environment), _MOST_PAIRS)):
        name = environment.get(f"GIT_CONFIG_KEY_{number}", "")
        section, _, rest = name.partition(".")
        base, _, variable = rest.rpartition(".")
        if (section.lower(), variable.lower()) == ("url", "insteadof") and base:
            yield base, environment.get(f"GIT_CONFIG_VALUE_{number}", "")


def _count(environment: Mapping[str, str]) -> int:
    """How many settings the variables have; 0 for what git would refuse too."""
    text = environment.get(_COUNT, "")
    return int(text) if text.isascii() and text.isdigit() else 0
