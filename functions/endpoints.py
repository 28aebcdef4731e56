"""A function uses AWS with AWS credentials, or local servers with their credentials, but never a mixture.

`sam local invoke` gives a function the credentials of the developer's shell. If an endpoint were missing, the function would
use the real bucket; if one were wrong, it would send signatures of a real account to another server. So every function compares
credentials and endpoints at start, before its first request.
"""

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

from shared.domain.errors import SettingsInvalid

Places = Mapping[str, str | None]
"""The address of each service by the variable that sets it; None means AWS."""

_AWS_KEY: Final = re.compile(r"A[KS]IA[A-Z0-9]{16}")
_AWS_HOST: Final = re.compile(
    r"(?:.+\.)?(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|api\.aws|api\.amazonwebservices\.com\.cn)"
)
_SDK_NAMES: Final = {
    "STORE_ENDPOINT": "S3",
    "TABLE_ENDPOINT": "DYNAMODB",
    "QUEUE_ENDPOINT": "SQS",
    "SECRETS_ENDPOINT": "SECRETS_MANAGER",
    "ECS": "ECS",
    "NOTICE_TOPIC": "SNS",
}
"""For each of our variables, the suffix of the SDK's own variable, as in AWS_ENDPOINT_URL_S3."""


def require_one_side(places: Places, environment: Mapping[str, str]) -> None:
    """Raises SettingsInvalid if the credentials in the environment are not for the services that the function would call with them.

    Without a key in the environment, the credentials are unknown, and nothing is compared.
    """
    key = environment.get("AWS_ACCESS_KEY_ID", "")
    if not key:
        return
    with_aws_key = _AWS_KEY.fullmatch(key) is not None
    wrong = [name for name, url in places.items() if _is_aws(_address(name, url, environment)) != with_aws_key]
    if not wrong:
        return
    named = ", ".join(wrong)
    if with_aws_key:
        problem = (
            f"the credentials are those of an AWS account, but these settings name servers that are not AWS: {named}"
        )
        hint = "use the credentials that `make sam-local` prints; for AWS, leave these settings empty"
        raise SettingsInvalid(problem, hint=hint)
    problem = f"the credentials are not those of an AWS account, but these settings mean AWS: {named}"
    raise SettingsInvalid(
        problem, hint="set them, as the env.json of `make sam-local` does; for AWS, use credentials of an account"
    )


def _address(name: str, url: str | None, environment: Mapping[str, str]) -> str | None:
    """The address that the SDK uses: the given one, otherwise the one in its own variables."""
    service = _SDK_NAMES.get(name)
    own = environment.get(f"AWS_ENDPOINT_URL_{service}") or environment.get("AWS_ENDPOINT_URL")
    return url or (own if service else None)


def _is_aws(url: str | None) -> bool:
    return url is None or _AWS_HOST.fullmatch(urlsplit(url).hostname or "") is not None
