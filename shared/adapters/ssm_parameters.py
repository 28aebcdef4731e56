"""Secrets as SSM parameters (SecureString) below one prefix, cached for five minutes. Standard parameters cost nothing.

A parameter holds one secret, under the secret's name; or all secrets of a town, as a JSON object, under `towns/TOWN`. One request
reads up to ten parameters, and SSM answers forty a second, in all of an account. Most towns have no secret of their own, so those
of all towns are listed together, and a listing that ends soon says of every other town that it has none. Where towns have so many
that it does not end, each secret is asked for, and a request for one reads what else is known to be old.
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
from shared.domain.errors import AccessDenied, Refused, SecretsUnavailable
from shared.ports.clock import Clock
from shared.ports.secrets import Secret

AT_ONCE: Final = 10
"""The most parameters of one request; the limit is that of SSM."""

LISTED: Final = 3
"""The most requests of one listing."""

LONGEST: Final = 8192
"""The most bytes of a parameter, of the advanced tier too."""

_OTHER: Final = re.compile(r"[^A-Za-z0-9./-]")
_OF_A_TOWN: Final = re.compile(r"(((?:agents/)?towns)/[^/]+)/(.+)")


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
        self._listed: dict[str, tuple[datetime, Mapping[str, str] | None]] = {}
        self._lock = Lock()

    def get(self, name: str) -> Secret | None:
        """The secret of that name. Raises SecretsUnavailable and AccessDenied."""
        together = _OF_A_TOWN.fullmatch(name)
        now = self._clock.now()
        with self._lock:
            if together is None:
                [text] = self._texts([name], now)
                return Secret(text) if text else None
            listed = self._of_all_towns(together[2], now)
            wanted = [name, together[1]]
            texts = self._texts(wanted, now) if listed is None else [listed.get(each) for each in wanted]
        text = _in_town(texts[1], together[3], name) if texts[0] is None else texts[0]
        return Secret(text) if text else None

    def _texts(self, wanted: Sequence[str], now: datetime) -> list[str | None]:
        """The texts of these parameters, asked for by name; None for one that does not exist."""
        if not all(each in self._known and _is_fresh(self._known[each][0], now) for each in wanted):
            old = [each for each, (read, _) in self._known.items() if not _is_fresh(read, now) and each not in wanted]
            asked = [*wanted, *(each for each in old if each in self._used)][:AT_ONCE]
            found = self._read(asked)
            for each in old:
                del self._known[each]  # what nobody has asked for since it was read is forgotten
            self._used -= {*old}
            self._known |= {each: (now, found.get(each)) for each in asked}
        self._used |= {*wanted}
        return [self._known[each][1] for each in wanted]

    def _of_all_towns(self, root: str, now: datetime) -> Mapping[str, str] | None:
        """The texts of all parameters of towns; None if they are too many, or this role may not list them."""
        if root not in self._listed or not _is_fresh(self._listed[root][0], now):
            self._listed[root] = (now, self._list(root))
        return self._listed[root][1]

    def _list(self, root: str) -> Mapping[str, str] | None:
        path = parameter_of(self._prefix, root)
        found: dict[str, str] = {}
        more: dict[str, str] = {}
        for _ in range(LISTED):
            try:
                answer = self._open().get_parameters_by_path(
                    Path=path, Recursive=True, WithDecryption=True, MaxResults=AT_ONCE, **more
                )
            except aws_sdk.sdk_errors() as error:
                problem = unreadable(error, root, allow=f"ssm:GetParametersByPath on parameter{path}")
                if isinstance(problem, AccessDenied):
                    return None
                raise problem from None
            found |= {name_of(self._prefix, each["Name"]): str(each["Value"]).strip() for each in answer["Parameters"]}
            if not answer.get("NextToken"):
                return found
            more = {"NextToken": answer["NextToken"]}
        return None

    def _read(self, names: Sequence[str]) -> Mapping[str, str]:
        """The texts of these parameters; those that do not exist are left out."""
        parameters = {parameter_of(self._prefix, name): name for name in names}
        try:
            answer = self._open().get_parameters(Names=list(parameters), WithDecryption=True)
        except aws_sdk.sdk_errors() as error:
            raise unreadable(error, names[0], allow=f"ssm:GetParameters on parameter/{self._prefix}/*") from None
        return {parameters[each["Name"]]: str(each["Value"]).strip() for each in answer["Parameters"]}

    def _open(self) -> AwsClient:
        if self._client is None:
            self._client = aws_sdk.client(
                "ssm", connect_seconds=2, read_seconds=3, attempts=3, endpoint_url=self._endpoint_url
            )
        return self._client


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
