"""Secrets as SSM parameters (SecureString) below one prefix, cached for five minutes. Standard parameters cost nothing.

A parameter holds one secret, under the secret's name; or all secrets of a town, as a JSON object, under `towns/TOWN`. One request
reads up to ten parameters, and SSM answers forty a second. So a request for one secret reads what else it knows to be old, too.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from shared.adapters import aws_sdk
from shared.adapters.aws_sdk import AwsClient
from shared.adapters.aws_secrets import KEPT_FOR, unreadable
from shared.domain import strict_json
from shared.domain.errors import Refused, SecretsUnavailable
from shared.ports.clock import Clock
from shared.ports.secrets import Secret

AT_ONCE: Final = 10
"""The most parameters of one request; the limit is that of SSM."""

LONGEST: Final = 8192
"""The most bytes of a parameter, of the advanced tier too."""

_OTHER: Final = re.compile(r"[^A-Za-z0-9./-]")
_OF_A_TOWN: Final = re.compile(r"((?:agents/)?towns/[^/]+)/(.+)")


def parameter_of(prefix: str, name: str) -> str:
    """The name of the parameter. SSM knows letters, digits and `.-_/` only, so every other character is `_` and its code."""
    return "/".join(("", prefix.strip("/"), _OTHER.sub(lambda found: f"_{ord(found[0]):x}_", name)))


def name_of(prefix: str, parameter: str) -> str:
    """The name of the secret that a parameter holds."""
    below = parameter.removeprefix(f"/{prefix.strip('/')}/")
    return re.sub(r"_([0-9a-f]{1,6})_", lambda found: chr(int(found[1], 16)), below)


class SsmParameters:
    """The secrets below a prefix such as `/town-reconciler/prod`.

    The client is created when the first secret is read, unless one is given. `endpoint_url` is for services that are not AWS.
    """

    def __init__(self, prefix: str, clock: Clock, *, client: AwsClient = None, endpoint_url: str | None = None) -> None:
        self._prefix = prefix.strip("/")
        self._clock = clock
        self._endpoint_url = endpoint_url
        self._client = client
        self._known: dict[str, tuple[datetime, str | None]] = {}
        self._used: set[str] = set()
        self._lock = Lock()

    def get(self, name: str) -> Secret | None:
        """The secret of that name. Raises SecretsUnavailable and AccessDenied."""
        together = _OF_A_TOWN.fullmatch(name)
        wanted = [name] if together is None else [name, together[1]]
        now = self._clock.now()
        with self._lock:
            if not all(each in self._known and _is_fresh(self._known[each][0], now) for each in wanted):
                old = [
                    each for each, (read, _) in self._known.items() if not _is_fresh(read, now) and each not in wanted
                ]
                asked = [*wanted, *(each for each in old if each in self._used)][:AT_ONCE]
                found = self._read(asked)
                for each in old:
                    del self._known[each]  # what nobody has asked for since it was read is forgotten
                self._used -= {*old}
                self._known |= {each: (now, found.get(each)) for each in asked}
            self._used |= {*wanted}
            texts = [self._known[each][1] for each in wanted]
        text = texts[0]
        if text is None and together is not None:
            text = _in_town(texts[1], together[2], name)
        return Secret(text) if text else None

    def _read(self, names: Sequence[str]) -> Mapping[str, str]:
        """The texts of these parameters; those that do not exist are left out."""
        parameters = {parameter_of(self._prefix, name): name for name in names}
        try:
            if self._client is None:
                self._client = aws_sdk.client(
                    "ssm", connect_seconds=2, read_seconds=3, attempts=3, endpoint_url=self._endpoint_url
                )
            answer = self._client.get_parameters(Names=list(parameters), WithDecryption=True)
        except aws_sdk.sdk_errors() as error:
            raise unreadable(error, names[0], allow=f"ssm:GetParameters on parameter/{self._prefix}/*") from None
        return {parameters[each["Name"]]: str(each["Value"]).strip() for each in answer["Parameters"]}


def _is_fresh(read: datetime, now: datetime) -> bool:
    return timedelta(0) <= now - read < KEPT_FOR


def _in_town(text: str | None, name: str, whole: str) -> str | None:
    """One secret of the parameter that has all secrets of a town. Raises SecretsUnavailable if it is no JSON object of texts."""
    if not text:
        return None
    try:
        held = strict_json.parse(text.encode(), limit=LONGEST, depth=2)
    except Refused:
        held = None
    found = held.get(name) if isinstance(held, dict) else None
    if not isinstance(held, dict) or not isinstance(found, str | None):
        place = whole.removesuffix(f"/{name}")
        hint = 'store a JSON object, as in {"forges/github.com": "..."}, or remove the parameter'
        raise SecretsUnavailable(f"the parameter {place} holds no JSON object of texts", hint=hint)
    return None if found is None else found.strip()
