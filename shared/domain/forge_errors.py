"""The kinds of errors that a call to a forge can end with, and the classes of reasons for which a forge refuses to merge."""

from typing import Literal

ForgeErrorKind = Literal[
    "no_token", "unrecognized_url", "host_mismatch", "http", "rate_limited", "transient", "invalid_response"
]
Refusal = Literal[
    "base_moved",
    "head_moved",
    "conflict",
    "behind",
    "draft",
    "review",
    "checks",
    "queue",
    "method",
    "rights",
    "identity",
    "judged_anew",
    "closed",
    "other",
]
"""`base_moved` is a race that is tried again and does not count; `judged_anew`: not green any more, so polls decide; `identity`:
not the MR's pull request; `rights`: the token may not merge into that branch; `method`: no way to merge is allowed.
"""
