"""Kinds of secrets to plant, and the forms in which one may be written down."""

import base64
import html
import json
import string
from collections.abc import Callable
from typing import Final, NamedTuple
from urllib.parse import quote

from hypothesis import strategies as st

_LETTERS: Final = string.ascii_letters + string.digits
_HEX: Final = "0123456789abcdef"


class Planted(NamedTuple):
    """A secret as it stands in a text, and the part of it that nobody may see."""

    kind: str
    text: str
    core: str


def _core(length: int, alphabet: str = _LETTERS) -> st.SearchStrategy[str]:
    """Random characters. If they may be of any kind, all kinds are among them."""
    drawn = st.text(alphabet, min_size=length, max_size=length)
    if alphabet is not _LETTERS:
        return drawn
    return drawn.map(
        lambda text: "".join("a0Bz1Cy2"[place % 8] if place % 3 == 0 else each for place, each in enumerate(text))
    )


_TOKENS: Final = {
    **{prefix: (prefix + "{}", _core(36)) for prefix in ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")},
    "github_pat_": ("github_pat_{}", _core(70)),
    **{
        prefix: (prefix + "{}", _core(20))
        for prefix in ("glpat-", "gldt-", "glptt-", "glrt-", "glcbt-", "glsoat-", "glimt-", "glft-", "GR1348941")
    },
    "npm_": ("npm_{}", _core(36)),
    "pypi-": ("pypi-{}", _core(60)),
    "AIza": ("AIza{}", _core(35)),
    "sk-": ("sk-{}", _core(40)),
    "sk-ant-": ("sk-ant-api03-{}", _core(40)),
    **{prefix: (prefix + "{}", _core(30)) for prefix in ("xoxb-", "xoxa-", "xoxp-")},
    "AKIA": ("AKIA{}", _core(16, string.ascii_uppercase)),
    "ASIA": ("ASIA{}", _core(16, string.ascii_uppercase)),
    "JWT": ("eyJhbGciOiJIUzI1NiJ9.eyJ0b3duIjoib25lIn0{}.c2ln", _core(12)),
}
_HEADERS: Final = {
    "Bearer": ("Bearer {}", _core(20)),
    "Authorization: Bearer": ("Authorization: Bearer {}", _core(20)),
    "Basic": ("Basic {}=", _core(19)),
    "token ...": ("token {}", _core(40, _HEX).map(lambda text: f"0{text[1:]}")),
    "PRIVATE-TOKEN": ("PRIVATE-TOKEN: {}", _core(20)),
    "X-Api-Key": ("X-Api-Key: {}", _core(20)),
    "Cookie": ("Cookie: session={}; theme=dark", _core(20)),
}
_ADDRESSES: Final = {
    "user and password": ("https://anna:{}@git.example.com/x", _core(14)),
    "password with a slash": ("postgres://anna:aa/{}@db/x", _core(14)),
    "token as user": ("https://{}@github.com/o/r.git", _core(24)),
    "ssh": ("ssh://{}:x@host/x", _core(24)),
    "X-Amz-Signature": ("https://b.example.com/k?X-Amz-Expires=60&X-Amz-Signature={}", _core(64, _HEX)),
    "X-Amz-Credential": ("https://b.example.com/k?X-Amz-Credential={}%2F20260101", _core(20)),
    "X-Amz-Security-Token": ("https://b.example.com/k?X-Amz-Security-Token={}", _core(60)),
    "sig": ("https://a.example.com/b?sv=1&sig={}", _core(30)),
    "Signature": ("https://a.example.com/b?Expires=1&Signature={}", _core(30)),
    "Sentry DSN": ("https://{}@o1.ingest.example.com/2", _core(32, _HEX)),
    "Slack hook": ("https://hooks.slack.com/services/T000/B000/{}", _core(24)),
}
_KEYS: Final = {
    "AWS secret key": ("{}", _core(40)),
    "AWS secret key, named": ("aws_secret_access_key = {}", _core(40)),
    "PEM": ("-----BEGIN RSA PRIVATE KEY-----\n{}\nAAAA\n-----END RSA PRIVATE KEY-----", _core(64)),
    "PEM on one line": ("-----BEGIN EC PRIVATE KEY-----\\n{}\\n-----END EC PRIVATE KEY-----", _core(64)),
    "PEM that was cut": ("-----BEGIN OPENSSH PRIVATE KEY-----\n{}", _core(64)),
    "control key, hexadecimal": ("{}", _core(64, _HEX)),
    "control key, base64": ("{}=", _core(43)),
    "password=": ("password={}", _core(10)),
    "password in JSON": ('{{"password": "{}"}}', _core(10)),
    "api_key:": ("api_key: {}", _core(10)),
    "--token": ("run --token {} now", _core(12)),
}
_OF_OTHER_SERVICES: Final = {
    "Databricks": ("dapi{}", _core(32, _HEX)),
    "Mailgun": ("key-{}", _core(32, _HEX)),
    "Mailchimp": ("{}-us12", _core(32, _HEX)),
    "New Relic": ("NRAK-{}", _core(27, string.ascii_uppercase)),
    "Sonar": ("squ_{}", _core(40, _HEX)),
    "Supabase": ("sbp_{}", _core(40, _HEX)),
    "Twilio": ("SK{}", _core(32, _HEX)),
    "Vault": ("hvb.{}", _core(30)),
}
_WORD: Final = _core(10, "bdfghjklmqvwxz")
"""A secret that looks like any word: only its surroundings say what it is."""
_SAID: Final = {
    "Digest": ('Authorization: Digest username="bob", nonce="abc", response="{}"', _core(32, _HEX)),
    "netrc": ("machine git.example.com login bob password {}", _WORD),
    "a sentence": ("the password is {}", _WORD),
    "a prompt": ("password for bob: {}", _WORD),
    "_auth of npm": ("_auth={}", _WORD),
    "curl -u": ("curl -u bob:{} https://example.com", _WORD),
    "curl -u, as a list": ("['curl', '-u', 'bob:{}']", _WORD),
    "mysql -p": ("mysql -uroot -p{} db", _WORD),
    "sshpass": ("sshpass -p {} ssh x", _WORD),
    "an option in a list": ("['run', '--password', '{}']", _WORD),
    "a pair": ("('password', '{}')", _WORD),
    "a header as a pair": ("[('PRIVATE-TOKEN', '{}')]", _WORD),
    "a header in bytes": ("(b'authorization', b'Negotiate {}')", _WORD),
    "a variable of a container": ("{{'name': 'DB_PASSWORD', 'value': '{}'}}", _WORD),
    "a variable, with its key": ('{{"key": "DB_PASSWORD", "value": "{}"}}', _WORD),
    "a call": ('Password("{}")', _WORD),
    "a value in a call": ("password=SecretValue('{}')", _WORD),
    "XML": ("<password>{}</password>", _WORD),
    "an attribute of XML": ('<login password="{}"/>', _WORD),
}
KINDS: Final = {**_TOKENS, **_HEADERS, **_ADDRESSES, **_KEYS, **_OF_OTHER_SERVICES, **_SAID}


def secrets(kinds: tuple[str, ...] = tuple(KINDS)) -> st.SearchStrategy[Planted]:
    """A secret of one of these kinds."""

    def of(kind: str) -> st.SearchStrategy[Planted]:
        form, core = KINDS[kind]
        return core.map(lambda drawn: Planted(kind, form.format(drawn), drawn))

    return st.sampled_from(kinds).flatmap(of)


FORMS: Final[dict[str, Callable[[str], str]]] = {
    "as it is": str,
    "percent-encoded": lambda text: quote(text, safe=""),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "escaped": lambda text: "".join(f"\\u{ord(each):04x}" for each in text),
    "HTML": lambda text: html.escape(text, quote=False),
    "hexadecimal": lambda text: text.encode().hex(),
    "over two lines": lambda text: f"{text[: len(text) // 2]}\n{text[len(text) // 2 :]}",
}


def pieces(planted: Planted, form: str) -> list[str]:
    """The parts of a written secret of which none may be seen: long enough that nothing else contains them by accident."""
    written = FORMS[form](planted.core)
    found = [part for part in written.replace('"', "").split("\n") if len(part) >= 8]
    return found or [written]
