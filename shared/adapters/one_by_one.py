"""Several objects for stores that create each with a request of its own."""

from collections.abc import Callable, Sequence

from shared.domain.errors import TownError


def created(create: Callable[[str, bytes], str], wanted: Sequence[tuple[str, bytes]]) -> Sequence[str | TownError]:
    """Create these objects one after the other; the answer for each is its ETag or its error."""
    return [_answer(create, key, body) for key, body in wanted]


def _answer(create: Callable[[str, bytes], str], key: str, body: bytes) -> str | TownError:
    try:
        return create(key, body)
    except TownError as error:
        return error
