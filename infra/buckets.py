"""The bucket that holds the towns: in AWS S3, or in another S3-compatible store, which an endpoint names.

TOWNCTL_BUCKET, TOWNCTL_ENDPOINT and TOWNCTL_REGION name it for townctl and for local agents. Local agents also inherit this
process's settings of the AWS SDK, including credentials, because they are processes of the same user. In a deployment,
agents have no access to the bucket; they post through the API with a town token.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from shared.adapters.s3_objects import S3Objects

BUCKET_VARIABLE: Final = "TOWNCTL_BUCKET"
ENDPOINT_VARIABLE: Final = "TOWNCTL_ENDPOINT"
REGION_VARIABLE: Final = "TOWNCTL_REGION"

_SDK_PREFIX: Final = "AWS_"
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket. Without an endpoint, it is in AWS S3. Without a region, the settings of the SDK name the region."""

    name: str
    endpoint_url: str | None = None
    region: str | None = None

    def __str__(self) -> str:
        return f"s3://{self.name}" + (f" at {self.endpoint_url}" if self.endpoint_url else "")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Bucket | None":
        """The bucket that an environment names; None if it names none."""
        name = environment.get(BUCKET_VARIABLE)
        endpoint_url, region = environment.get(ENDPOINT_VARIABLE), environment.get(REGION_VARIABLE)
        return cls(name, endpoint_url or None, region or None) if name else None

    def objects(self) -> "S3Objects":
        """The object store in the bucket. Sends no request yet."""
        from shared.adapters.s3_objects import S3Objects
        from shared.storage import keys

        return S3Objects(self.name, endpoint_url=self.endpoint_url, region=self.region, kind_of=keys.kind_of)

    def way(self) -> dict[str, str]:
        """The environment variables with which another process of this user reaches the same bucket."""
        named = {
            BUCKET_VARIABLE: self.name,
            ENDPOINT_VARIABLE: self.endpoint_url or "",
            REGION_VARIABLE: self.region or "",
        }
        sdk = {name: value for name, value in os.environ.items() if name.startswith(_SDK_PREFIX) or name in _PROXIES}
        return {**sdk, **named}

    def options(self) -> tuple[str, ...]:
        """The bucket as command-line options of townctl."""
        named = {"--bucket": self.name, "--endpoint": self.endpoint_url, "--region": self.region}
        return tuple(word for option, value in named.items() if value for word in (option, value))
