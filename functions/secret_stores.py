"""Which service keeps the secrets of a deployment: its prefix says so, in the functions, in the stack's output and in `townctl`.

A prefix that begins with a slash, as the names of SSM parameters do, means parameters; any other means AWS Secrets Manager.
"""

from shared.ports.clock import Clock
from shared.ports.secrets import Secrets


def are_parameters(prefix: str) -> bool:
    """Whether the secrets below this prefix are SSM parameters."""
    return prefix.startswith("/")


def secrets_below(prefix: str, clock: Clock, *, endpoint_url: str | None = None) -> Secrets:
    """The secrets below a prefix, with a cache. Makes no request."""
    if are_parameters(prefix):
        from shared.adapters.ssm_parameters import SsmParameters  # noqa: PLC0415 - only one of the two is used

        return SsmParameters(prefix, clock, endpoint_url=endpoint_url)
    from shared.adapters.secrets_manager import SecretsManager  # noqa: PLC0415 - as above

    return SecretsManager(prefix, clock, endpoint_url=endpoint_url)
