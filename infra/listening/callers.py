"""Which callers a server on this machine answers: none that a web page sends.

A page that a developer opens can send requests to servers on the developer's machine, either across origins or, once its own name
points to 127.0.0.1 (DNS rebinding), as if it belonged to the server. Both are seen in the head of the request: a browser names the
page's origin in `Origin` and `Sec-Fetch-Site`, and the name in `Host` is the page's own.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

_HOST: Final = re.compile(
    r"(?P<name>\[[0-9a-f:.]{2,45}\]|[a-z0-9_][a-z0-9_.-]{0,252})(?::(?P<port>[0-9]{1,5}))?", re.IGNORECASE
)
_NAMED: Final = re.compile(
    r"(?:\*\.)?(?:\[[0-9a-f:.]{2,45}\]|[a-z0-9_][a-z0-9_.-]{0,252})(?::[0-9]{1,5})?", re.IGNORECASE
)
_IN_A_TAB: Final = ("navigate", "document")
_NO_OTHER_SITE: Final = ("none", "same-origin")


@dataclass(frozen=True, slots=True)
class Callers:
    """The rules of one server. `hosts` are the names that it answers to besides those of the loopback interface and the address
    that a connection reached; `*.example.com` stands for every name below it. Only if `own_pages`, its own pages may call it.
    """

    hosts: frozenset[str] = frozenset()
    own_pages: bool = False

    def problem(self, headers: Mapping[str, str], *, reached: str, linked: bool = False) -> str | None:
        """Why a request is refused; None if it is not. `reached` is the local address of its connection.

        `linked`: people follow links to it from pages of other sites, such as a mailbox. A browser then says that it navigates.
        """
        host = headers.get("host", "")
        if not self._is_own(host, reached):
            return "this server does not answer to that name; use an address of the machine that it runs on"
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        own = self.own_pages and origin is not None and origin.lower() == f"http://{host}".lower()
        if origin is not None and not own:
            return "requests of web pages are not answered"
        if linked and origin is None and (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")) == _IN_A_TAB:
            return None
        if site is not None and site.lower() not in (_NO_OTHER_SITE if self.own_pages else _NO_OTHER_SITE[:1]):
            return "requests of web pages are not answered"
        return None

    def _is_own(self, host: str, reached: str) -> bool:
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found["name"].lower()
        port = f":{found['port']}" if found["port"] else ""
        _, _, above = name.partition(".")
        if name == "localhost" or not self.hosts.isdisjoint({name, name + port, f"*.{above}", f"*.{above}{port}"}):
            return True
        try:
            address = ip_address(name.strip("[]"))
            return address.is_loopback or address == ip_address(reached.partition("%")[0])
        except ValueError:
            return False


def named_hosts(names: Iterable[str]) -> frozenset[str]:
    """Host names of an operator: `name`, `name:port` or `*.name`. Raises ValueError if one is something else, such as a URL."""
    found = frozenset(name.strip().lower() for name in names if name.strip())
    for name in sorted(found):
        if not _NAMED.fullmatch(name):
            raise ValueError(
                f"{name!r} is not the name of a host: use for example t1.agents.example.com or *.agents.example.com"
            )
    return found
