"""What the answers of AWS services, and requests without an answer, have in common, whatever the service."""

from typing import Final

from shared.domain.errors import AccessDenied, Refused, StoreNotFound, StoreUnavailable, TownError

PASSING: Final = frozenset({"RequestTimeout", "RequestTimeTooSlow", "SlowDown", "Throttling", "TooManyRequests"})
"""Codes of answers that may be different the next time."""

CREDENTIALS: Final = frozenset(
    {"ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "SignatureDoesNotMatch", "TokenRefreshRequired"}
)
"""Codes of answers that refuse the credentials themselves."""


def without_answer(error: Exception, at: str, kind: str, *, name: str, form: str) -> TownError:
    """A failure before an answer, or instead of one. `kind` is what was asked, such as a bucket, `form` says how its names look."""
    from botocore import exceptions as sdk  # noqa: PLC0415 - only once it was imported anyway

    what = type(error).__name__
    no_credentials = (sdk.NoCredentialsError, sdk.PartialCredentialsError, sdk.CredentialRetrievalError)
    if isinstance(error, (*no_credentials, sdk.ProfileNotFound, sdk.SSOError)):
        hint = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
        return AccessDenied(f"{at}: no usable credentials ({what})", hint=hint)
    if isinstance(error, sdk.NoRegionError):
        return StoreNotFound(
            f"{at}: no region is set", hint=f"name the {kind}'s region: --region, or AWS_DEFAULT_REGION"
        )
    if isinstance(error, (sdk.ParamValidationError, sdk.InvalidRegionError, ValueError)):
        problem = f"{at}: not a valid {kind}, region or endpoint ({what})"
        return Refused(problem, status=400, path=kind, hint=f"{form}; an endpoint is http(s)://HOST")
    if isinstance(
        error, (sdk.EndpointConnectionError, sdk.ConnectTimeoutError, sdk.SSLError, sdk.ProxyConnectionError)
    ):
        hint = f"the endpoint of {kind} {name} could not be reached; check endpoint, region and network, then try again"
        return StoreUnavailable(f"{at}: no connection ({what})", hint=hint)
    hint = "try again; the request may or may not have been carried out"
    return StoreUnavailable(f"{at}: no complete answer ({what})", hint=hint)
