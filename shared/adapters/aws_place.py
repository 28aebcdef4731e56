"""Where a service of AWS is, and who signs: found in the environment if it says all, as in Lambda, else by the SDK.

The SDK knows profiles, roles, SSO, instance metadata, other partitions and more. It takes a third of a second to be imported.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from shared.adapters import aws_sdk
from shared.adapters.aws_http import Place, SdkFailed
from shared.adapters.aws_sdk import AwsClient, AwsSession
from shared.adapters.aws_signature import Credentials, Scope

_ORDINARY_REGION: Final = re.compile(r"(?:us|us-gov|af|ap|ca|eu|il|me|mx|sa)-[a-z]+-[0-9]")
_ORDINARY_ENDPOINT: Final = re.compile(
    r"https?://(?:[^/?#@]*@)?(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[\w./-]*)?"
)
_OF_THE_SDK: Final = (
    "AWS_ACCOUNT_ID_ENDPOINT_MODE",
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_DEFAULT_PROFILE",
    "AWS_ENDPOINT_URL",
    "AWS_PROFILE",
    "AWS_SECURITY_TOKEN",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_USE_FIPS_ENDPOINT",
)
"""Variables that say more about credentials or endpoints than this module knows."""
_FILES: Final = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}


def in_environment(
    service: str, environment: Mapping[str, str], *, region: str | None, url_in: Callable[[str], str | None]
) -> Place | None:
    """The place of a service as the environment says it; None if it does not say all.

    `url_in` returns the service's URL in a region, or None if only the SDK knows it.
    """
    access, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    where = region or environment.get("AWS_DEFAULT_REGION")
    says_more = (*_OF_THE_SDK, f"AWS_ENDPOINT_URL_{service.upper()}")
    if not access or not secret or not where or any(environment.get(name) for name in says_more):
        return None
    if any(Path(environment.get(name) or usual).expanduser().is_file() for name, usual in _FILES.items()):
        return None
    url = url_in(where)
    if url is None:
        return None
    credentials = Credentials(access, secret, environment.get("AWS_SESSION_TOKEN") or None)
    return Place(url, Scope(where, service), lambda: credentials, environment.get("AWS_CA_BUNDLE") or None)


def has_ordinary_endpoints(region: str) -> bool:
    """Whether the endpoints of this region are below amazonaws.com, named after service and region."""
    return _ORDINARY_REGION.fullmatch(region) is not None


def ordinary_endpoint(endpoint_url: str) -> str | None:
    """An endpoint without a slash at its end; None if it is one that only the SDK may understand."""
    return endpoint_url.rstrip("/") if _ORDINARY_ENDPOINT.fullmatch(endpoint_url) else None


def found_by_sdk(
    client: Callable[[], AwsClient],
    session: Callable[[], AwsSession],
    operation: str,
    ask: Callable[[AwsClient], object],
) -> Place:
    """The place of a service as the SDK finds it: that of a request which `ask` makes and which is not sent. Raises SdkFailed."""
    try:
        url, authorization = _unsent(client(), operation, ask)
        credentials = session().get_credentials()
        ca_bundle = session().get_config_variable("ca_bundle") or None
    except aws_sdk.sdk_errors() as error:
        raise SdkFailed from error
    scope = authorization.partition("Credential=")[2].partition(",")[0]
    _, _, region, service, _ = scope.rsplit("/", 4)
    return Place(url, Scope(region, service), partial(_frozen, credentials), ca_bundle)


def _unsent(client: AwsClient, operation: str, ask: Callable[[AwsClient], object]) -> tuple[str, str]:
    """The URL and the authorization of a request."""
    found: list[tuple[str, str]] = []

    def keep(request: Any, **_: object) -> None:
        found.append((str(request.url), request.headers["Authorization"].decode()))
        raise aws_sdk.NotSent

    event = f"before-send.{client.meta.service_model.service_id.hyphenize()}.{operation}"
    client.meta.events.register_first(event, keep)
    try:
        ask(client)
    except aws_sdk.NotSent:
        [only] = found
        return only
    finally:
        client.meta.events.unregister(event, keep)
    raise AssertionError("the SDK has sent a request that it should not send")


def _frozen(credentials: AwsSession) -> Credentials:
    """Credentials that are valid now: the SDK renews those that end."""
    try:
        now = credentials.get_frozen_credentials()
    except aws_sdk.sdk_errors() as error:
        raise SdkFailed from error
    return Credentials(str(now.access_key), str(now.secret_key), str(now.token) if now.token else None)
