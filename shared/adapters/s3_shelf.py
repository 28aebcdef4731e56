"""Start requests of ECS tasks in a bucket: each task downloads its own through a presigned URL that soon expires."""

from collections.abc import Callable
from typing import Final

from shared.adapters.aws_sdk import AwsClient, sdk_errors
from shared.domain.errors import StoreUnavailable

_VALID_SECONDS: Final = 900


class S3Shelf:
    """Stores requests under `prefix` of a bucket, encrypted; a lifecycle rule of the bucket removes them after a day.

    `client` returns a boto3 client that signs with version 4, such as that of `S3Objects`.
    """

    def __init__(self, client: Callable[[], AwsClient], bucket: str, *, prefix: str = "orders/") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def __call__(self, name: str, body: bytes) -> str:
        """Store a request and return the URL from which it can be downloaded. Raises StoreUnavailable."""
        where = {"Bucket": self._bucket, "Key": f"{self._prefix}{name}.json"}
        try:
            client = self._client()
            client.put_object(**where, Body=body, ContentType="application/json", ServerSideEncryption="AES256")
            return str(client.generate_presigned_url("get_object", Params=where, ExpiresIn=_VALID_SECONDS))
        except sdk_errors() as error:
            hint = f"allow the role s3:PutObject on {self._prefix}*"
            raise StoreUnavailable(f"a start request could not be stored: {type(error).__name__}", hint=hint) from error
