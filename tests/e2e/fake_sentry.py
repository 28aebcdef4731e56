"""A fake Sentry that keeps the envelopes that it receives, so that tests can inspect them."""

import gzip
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from infra.devstack.gateway import serving


@dataclass
class FakeSentry:
    """The received items of envelopes, as (type, payload)."""

    url: str = ""
    items: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def dsn(self) -> str:
        """The DSN for the functions' settings."""
        return self.url.replace("http://", "http://public@") + "/1"

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The payloads of one type, in order."""
        return [payload for found, payload in self.items if found == kind]

    def take(self, envelope: bytes) -> None:
        """Keep the items of one envelope: a header line, then for each item a header line and its payload."""
        rest = envelope.split(b"\n", 1)[1] if b"\n" in envelope else b""
        while rest.strip():
            head, _, rest = rest.partition(b"\n")
            about = json.loads(head)
            length = about.get("length")
            payload, rest = (rest[:length], rest[length + 1 :]) if length is not None else rest.partition(b"\n")[::2]
            try:
                self.items.append((str(about["type"]), json.loads(payload)))
            except json.JSONDecodeError:
                self.items.append((str(about["type"]), {}))


@contextmanager
def fake_sentry() -> Iterator[FakeSentry]:
    """A fake Sentry that listens on the loopback interface while the block runs."""
    kept = FakeSentry()

    class Door:
        def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
            kept.take(gzip.decompress(body) if headers.get("content-encoding") == "gzip" else body)
            return {"statusCode": 200, "body": "{}"}

    with serving(Door()) as kept.url:
        yield kept
