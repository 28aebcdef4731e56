"""Every port to the outside: a Protocol with the contract that its adapters and fakes keep.

A method says what it may raise and what its "unknown" means. Expected answers are values; an exception is only for
what the caller cannot act on (`shared.domain.errors`). The core imports none of these modules.
"""
