"""The debug API's answer that no question defines. OpenAPI is generated from it."""

from shared.domain.shapes import answer


@answer
class Health:
    """Which deployment answers."""

    stage: str
    release: str
    code_version: str
