"""A shelf for start requests in a bucket: the task fetches its own by an address that is valid for a short while."""

from collections.abc import Callable
from typing import Any, Final

from shared.adapters import s3_errors
from shared.domain.errors import StoreUnavailable

_VALID_SECONDS: Final = 900


class S3Shelf:
    """Lays requests under `prefix` of a bucket, encrypted; a lifecycle rule of the bucket removes them after a day.

    Calling it as (name, body) returns the presigned address. Raises StoreUnavailable. `client` gives boto3's, which must
    sign by version 4, as that of `S3Objects` does.
    """

    def __init__(self, client: Callable[[], Any], bucket: str, *, prefix: str = "orders/") -> None:
        self._client = client
        self._bucket = bucket
        self._prefix = prefix

    def __call__(self, name: str, body: bytes) -> str:
        """Keep it, and say where it is to be fetched."""
        where = {"Bucket": self._bucket, "Key": f"{self._prefix}{name}.json"}
        try:
            client = self._client()
            client.put_object(**where, Body=body, ContentType="application/json", ServerSideEncryption="AES256")
            return str(client.generate_presigned_url("get_object", Params=where, ExpiresIn=_VALID_SECONDS))
        except s3_errors.sdk_errors() as error:
            hint = "see that the role may put objects under orders/"
            raise StoreUnavailable(f"a start request could not be stored: {type(error).__name__}", hint=hint) from error
