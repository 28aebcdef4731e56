"""The bucket that holds the towns: in AWS S3, or in another S3-compatible store, which an endpoint names.

TOWNCTL_BUCKET, TOWNCTL_ENDPOINT and TOWNCTL_REGION name it for townctl and for local agents. The bucket of a deployment has a tag
with the name of the table in which its inboxes and due markers are kept; TOWNCTL_TABLE names it, or is `none`, if the tag cannot be
read. Local agents also inherit this process's settings of the AWS SDK, including credentials, because they are processes of the
same user. In a deployment, agents have no access to the bucket; they post through the API with a town token.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shared.domain.errors import AccessDenied

if TYPE_CHECKING:
    from shared.adapters.s3_objects import S3Objects
    from shared.adapters.table_objects import TableObjects

BUCKET_VARIABLE: Final = "TOWNCTL_BUCKET"
ENDPOINT_VARIABLE: Final = "TOWNCTL_ENDPOINT"
REGION_VARIABLE: Final = "TOWNCTL_REGION"
TABLE_VARIABLE: Final = "TOWNCTL_TABLE"
TABLE_ENDPOINT_VARIABLE: Final = "TOWNCTL_TABLE_ENDPOINT"

TABLE_TAG: Final = "waiting-table"
NO_TABLE: Final = "none"

_SDK_PREFIX: Final = "AWS_"
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket. Without an endpoint, it is in AWS S3. Without a region, the settings of the SDK name the region.

    Without a table, a bucket at AWS is asked for its tag; any other bucket keeps inboxes and due markers itself.
    """

    name: str
    endpoint_url: str | None = None
    region: str | None = None
    table: str | None = None
    table_endpoint: str | None = None

    def __str__(self) -> str:
        return f"s3://{self.name}" + (f" at {self.endpoint_url}" if self.endpoint_url else "")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Bucket | None":
        """The bucket that an environment names; None if it names none."""
        name = environment.get(BUCKET_VARIABLE)
        return cls(name).completed_from(environment) if name else None

    def completed_from(self, environment: Mapping[str, str]) -> "Bucket":
        """The same bucket. What is not known of it is taken from an environment."""
        return Bucket(
            self.name,
            self.endpoint_url or environment.get(ENDPOINT_VARIABLE) or None,
            self.region or environment.get(REGION_VARIABLE) or None,
            self.table or environment.get(TABLE_VARIABLE) or None,
            self.table_endpoint or environment.get(TABLE_ENDPOINT_VARIABLE) or None,
        )

    def objects(self) -> "S3Objects":
        """The object store in the bucket, with what waits in its table. Sends no request yet."""
        from shared.adapters.s3_objects import S3Objects
        from shared.storage import keys

        return S3Objects(
            self.name,
            endpoint_url=self.endpoint_url,
            region=self.region,
            kind_of=keys.kind_of,
            waiting=self._waiting,
        )

    def table_of(self, objects: "S3Objects") -> str | None:
        """The name of the table that keeps what waits; None if the bucket keeps it. Asks for the tag if nothing else says it."""
        table = self.table or (NO_TABLE if self.endpoint_url else _tagged(objects))
        return None if table == NO_TABLE else table

    def table_named(self, table: str, objects: "S3Objects") -> "TableObjects":
        """The table of this name, beside the bucket."""
        from shared.adapters.table_objects import TableObjects
        from shared.storage import keys
        from shared.storage.large_batches import BODIES

        return TableObjects(
            table, objects, spread=keys.DUE, large=BODIES, endpoint_url=self.table_endpoint, region=self.region
        )

    def _waiting(self, objects: "S3Objects") -> "TableObjects | None":
        table = self.table_of(objects)
        return None if table is None else self.table_named(table, objects)

    def way(self) -> dict[str, str]:
        """The environment variables with which another process of this user reaches the same bucket."""
        named = {
            BUCKET_VARIABLE: self.name,
            ENDPOINT_VARIABLE: self.endpoint_url or "",
            REGION_VARIABLE: self.region or "",
            TABLE_VARIABLE: self.table or "",
            TABLE_ENDPOINT_VARIABLE: self.table_endpoint or "",
        }
        sdk = {name: value for name, value in os.environ.items() if name.startswith(_SDK_PREFIX) or name in _PROXIES}
        return {**sdk, **named}

    def options(self) -> tuple[str, ...]:
        """The bucket as command-line options of townctl."""
        named = {"--bucket": self.name, "--endpoint": self.endpoint_url, "--region": self.region}
        return tuple(word for option, value in named.items() if value for word in (option, value))


def _tagged(bucket: "S3Objects") -> str:
    """The table that a tag of the bucket names. Raises AccessDenied with what to do instead."""
    try:
        return bucket.tags().get(TABLE_TAG, NO_TABLE)
    except AccessDenied as error:
        hint = (
            f"allow this identity s3:GetBucketTagging on the bucket: its tag {TABLE_TAG} says where events wait; or set"
            f" {TABLE_VARIABLE} to the name of the table, or to `{NO_TABLE}` if the bucket has none"
        )
        raise AccessDenied(error.message, hint=hint) from error
