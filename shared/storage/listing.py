"""All keys below a prefix, page after page."""

from functools import partial

from shared.domain.ports import Listing, ObjectStore
from shared.domain.steps import Call, Steps


def all_keys(objects: ObjectStore, prefix: str) -> Steps[list[str]]:
    """Every key that starts with `prefix`, ascending. Raises what listing raises."""
    found: list[str] = []
    while True:
        after = found[-1] if found else ""
        page: Listing = yield Call(f"list {prefix}", partial(objects.list, prefix, after=after))
        found += page.keys
        if not page.more:
            return found
