"""The brake: who paused a running town, as the image keeps it and the status shows it."""

from shared.domain.shapes import Time, answer


@answer
class Brake:
    """Who paused a running town, and when; and whether its agents were stopped."""

    by: str
    at: Time
    stopped_agents: bool
