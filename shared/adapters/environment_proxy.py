"""The proxy for a server, from the environment: HTTPS_PROXY or ALL_PROXY, unless NO_PROXY names the server.

Only https requests go through a proxy, inside an encrypted tunnel: the proxy learns the host and never a token.
"""

from typing import Final
from urllib.parse import unquote, urlsplit

from shared.adapters.http_exchange import Proxy

_UNUSABLE: Final = (
    "HTTPS_PROXY or ALL_PROXY is not an http:// address: correct it, or name the host in NO_PROXY. "
    "Special characters in its password must be percent-encoded"
)
"""The whole error: what the parser says of a wrong address may show parts of the password."""


def proxy_for(url: str) -> Proxy | None:
    """The proxy for a URL, None for a direct connection. Raises ValueError, without the address, if the proxy cannot be used."""
    from urllib.request import getproxies_environment, proxy_bypass  # noqa: PLC0415 - slow to import

    to = urlsplit(url)
    named = getproxies_environment()
    address = named.get("https") or named.get("all")
    if to.scheme != "https" or not address or proxy_bypass(to.netloc):
        return None
    try:
        return _proxy_at(address if "://" in address else f"http://{address}")
    except ValueError:
        raise ValueError(_UNUSABLE) from None


def _proxy_at(address: str) -> Proxy:
    parts = urlsplit(address)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(_UNUSABLE)
    return Proxy(parts.hostname, parts.port or 80, _credentials(parts.username, parts.password))


def _credentials(user: str | None, password: str | None) -> dict[str, str]:
    from urllib3.util import make_headers  # noqa: PLC0415 - a proxy is the exception

    if user is None:
        return {}
    return make_headers(proxy_basic_auth=f"{unquote(user)}:{unquote(password or '')}")
