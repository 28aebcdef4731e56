"""Servers that say byte by byte what a test tells them, HTTP or not, with or without TLS, on this machine's loopback."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.devstack.s3_servers import Certificate
from tests.patience import PATIENCE_SECONDS

Talk = Callable[["Line"], None]
"""What a server does with one connection. It may raise OSError when the other side has gone."""


@dataclass
class Line:
    """One connection, as its server sees it. `number` counts connections from 1."""

    socket: socket.socket
    number: int
    ended: threading.Event
    sent: int = 0

    def request(self) -> bytes:
        """The head of the next request and its content, or nothing if there is no further one."""
        got = b""
        while b"\r\n\r\n" not in got:
            part = self.socket.recv(65536)
            if not part:
                return b""
            got += part
        head, _, content = got.partition(b"\r\n\r\n")
        announced = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(announced[0].split(b":")[1]) if announced else 0
        while len(content) < length:
            content += self.socket.recv(65536)
        return head + b"\r\n\r\n" + content

    def say(self, data: bytes) -> None:
        """Send it all."""
        self.socket.sendall(data)
        self.sent += len(data)

    def drip(self, data: bytes) -> None:
        """Send it now and then, for ever."""
        while not self.ended.wait(0.02):
            self.say(data)


@dataclass
class RawServer:
    """The server. `heard` is every request, `lines` every connection."""

    port: int
    is_tls: bool
    heard: list[bytes] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"{'https' if self.is_tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def sent(self) -> int:
        """The bytes that it could send."""
        return sum(line.sent for line in self.lines)


@contextmanager
def raw_server(talk: Talk, *, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """A server for as long as the block lasts. Whoever still talks when it ends is cut off."""
    ended = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    server = RawServer(listener.getsockname()[1], is_tls=tls is not None)
    talkers: list[threading.Thread] = []

    def talks(line: Line, plain: socket.socket) -> None:
        with suppress(OSError), plain:
            line.socket = plain if tls is None else tls.wrap_socket(plain, server_side=True)
            with line.socket:
                talk(line)

    def accepts() -> None:
        with suppress(OSError):
            while True:
                plain, _ = listener.accept()
                plain.settimeout(PATIENCE_SECONDS)
                line = Line(plain, len(server.lines) + 1, ended)
                server.lines.append(line)
                talkers.append(threading.Thread(target=talks, args=(line, plain)))
                talkers[-1].start()

    accepting = threading.Thread(target=accepts)
    accepting.start()
    try:
        yield server
    finally:
        ended.set()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for line in server.lines:
            with suppress(OSError):
                line.socket.shutdown(socket.SHUT_RDWR)
        for talker in talkers:
            talker.join()


@contextmanager
def answering(*answers: bytes, tls: ssl.SSLContext | None = None) -> Iterator[RawServer]:
    """A server that gives each request the next answer; after the last one it closes the connection."""
    left = list(answers)

    def talk(line: Line) -> None:
        while left and (request := line.request()):
            server.heard.append(request)
            line.say(left.pop(0))

    with raw_server(talk, tls=tls) as server:
        yield server


def answer(content: bytes = b"{}", *headers: str, status: int = 200, keeps: bool = False) -> bytes:
    """A whole answer."""
    head = [f"HTTP/1.1 {status} Something", f"Content-Length: {len(content)}", *headers]
    if not keeps:
        head.append("Connection: close")
    return "\r\n".join([*head, "", ""]).encode() + content


@dataclass(frozen=True)
class Certificates:
    """A certificate authority of this test, and a server's certificate for one name or address."""

    authority: Path
    server: ssl.SSLContext
    files: Certificate

    def trust(self) -> ssl.SSLContext:
        """A client that believes this authority and no other."""
        return ssl.create_default_context(cafile=str(self.authority))


def certificates(directory: Path, *, host: str = "127.0.0.1") -> Certificates:
    """Make them in a directory."""
    authority_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "The authority of a test")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "A server of a test")])
    named = x509.IPAddress(ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
    authority = (
        _begun(issuer, issuer, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        _begun(subject, issuer, server_key)
        .add_extension(x509.SubjectAlternativeName([named]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    files = {name: directory / f"{name}.pem" for name in ("authority", "server", "key")}
    files["authority"].write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    files["server"].write_bytes(server.public_bytes(serialization.Encoding.PEM))
    files["key"].write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files["server"], files["key"])
    return Certificates(files["authority"], context, Certificate(files["server"], files["key"]))


def _begun(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
