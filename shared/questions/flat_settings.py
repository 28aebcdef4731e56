"""Settings under the names with which people call them, as in `refinery.review_mode`."""

from collections.abc import Iterable, Iterator, Mapping


def flat(
    defaults: Mapping[str, object], stored: Mapping[str, object], within: str = ""
) -> Iterator[tuple[str, object, bool]]:
    """Every setting with its value and whether it is stored, in order of names; each part of a section is a setting."""
    for name in sorted({*defaults, *stored}):
        default, value, given = defaults.get(name), stored.get(name), name in stored
        if isinstance(default, Mapping) and default:
            yield from flat(default, value if isinstance(value, Mapping) else {}, f"{within}{name}.")
        else:
            yield f"{within}{name}", value if given else default, given


def part_of(value: object, path: Iterable[str]) -> object:
    """The part of a value to which a path of names leads; None if there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
