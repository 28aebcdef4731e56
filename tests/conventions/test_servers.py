"""Whatever listens on a port does it with `infra.listening`: nobody else opens a port or reads HTTP by hand."""

import ast
from collections.abc import Iterator
from typing import Final

import pytest

from tests.conventions.sources import files_under, imports_of, name_of

HOME: Final = "infra/listening/"
SERVERS: Final = (
    "aiohttp.web",
    "asyncio.start_server",
    "asyncio.start_unix_server",
    "h11",
    "http.server",
    "httptools",
    "hypercorn",
    "socketserver",
    "uvicorn",
    "waitress",
    "werkzeug.serving",
    "wsgiref",
    "xmlrpc.server",
)
CALLS: Final = ("create_server", "listen", "start_server", "start_unix_server", "create_unix_server", "serve_forever")
RAW: Final = {
    "infra/devstack/containers_of_sam.py": "carries bytes between a container and the loopback interface, and reads none of them",
    "tests/benchmarks/serve.py": "is the baseline beside which `townctl serve` is measured",
    "tests/e2e/stalling_proxy.py": "carries bytes, and cuts the connection where a test says so",
    "tests/integration/test_control_server_faults.py": "answers one byte at a time",
    "tests/integration/test_sam_local.py": "gives back the bytes that come",
    "tests/soak/proxy.py": "carries bytes, and treats connections as a bad network does",
    "tests/ui/test_places.py": "hands requests to the application that stands for API Gateway in tests",
    "tests/raw_servers.py": "says byte by byte what a hostile server says",
}
"""What opens a port of its own, and why. Only the baseline and that application answer honest requests."""


def openings(tree: ast.AST) -> Iterator[str]:
    """Imports of servers, and calls that open a port."""
    for _, name in imports_of(tree):
        if any(name == each or name.startswith(f"{each}.") for each in SERVERS):
            yield f"imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CALLS:
            yield f"calls {ast.unparse(node.func)}"


def test_only_one_package_listens() -> None:
    found = {
        name_of(path)
        for path in files_under("functions", "infra", "shared", "tests")
        if not name_of(path).startswith(HOME) and any(openings(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found == set(RAW)


@pytest.mark.parametrize(
    "code",
    [
        "import http.server",
        "from http.server import BaseHTTPRequestHandler",
        "from http import server",
        "import socketserver",
        "from wsgiref.simple_server import make_server",
        "import asyncio\nasyncio.start_server(f)",
        "import socket\nsocket.create_server(at)",
        "s.listen(5)",
    ],
)
def test_each_way_to_listen_is_seen(code: str) -> None:
    assert list(openings(ast.parse(code)))
