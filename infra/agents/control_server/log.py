"""The log of a control server: its standard output, which a container keeps where many may read it."""

from shared.domain.quoting import cleaned
from shared.domain.secret_texts import masked


def say(text: str) -> None:
    """Write one line. Errors quote what git, agents and the town's API said, so secrets and control characters are left out."""
    print(" ".join(masked(cleaned(f"control server: {text}")).split()), flush=True)
