"""The boundary of functions that are not asked by a person: their errors leave them without text.

The runtime of Lambda logs the text and the traceback of every error with which a function ends, and returns the text to whoever
called it. Such a text may quote what others wrote. So the error is reported first, and the function ends with one of our own.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from shared.domain.errors import AlreadyTold

Handler = Callable[[Any, Any], dict[str, Any]]


def told(tell: Callable[[Exception | SystemExit], object]) -> Callable[[Handler], Handler]:
    """Report errors of a handler with `tell`; the call still fails, so that it is counted and repeated."""

    def with_boundary(handler: Handler) -> Handler:
        @wraps(handler)
        def guarded(event: Any, context: Any) -> dict[str, Any]:
            try:
                return handler(event, context)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the boundary: the error is reported, and its text stays here
                tell(error)
                name = type(error).__name__
            raise AlreadyTold(
                f"the function ended with {name}", hint="its log names the place in a line `function.failed`"
            )

        return guarded

    return with_boundary
