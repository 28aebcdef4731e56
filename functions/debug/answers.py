"""The shapes of the debug API's answers that no question defines. OpenAPI is generated from them."""

from shared.domain.shapes import answer


@answer
class Health:
    """Which deployment answers."""

    stage: str
    release: str
    code_version: str
