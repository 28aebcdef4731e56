"""The kinds of errors that a call to a forge can end with."""

from typing import Literal

ForgeErrorKind = Literal[
    "no_token", "unrecognized_url", "host_mismatch", "http", "rate_limited", "transient", "invalid_response"
]
