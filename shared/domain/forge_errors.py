"""Why a call to a forge can fail."""

from typing import Literal

ForgeErrorKind = Literal[
    "no_token", "unrecognized_url", "host_mismatch", "http", "rate_limited", "transient", "invalid_response"
]
