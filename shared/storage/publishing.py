"""Publishing the newest commit at once, as an object that later states, and Litestream, can be rebuilt from."""

from functools import partial

from shared.domain.errors import StoreUnavailable
from shared.ports.object_store import ObjectStore
from shared.ports.steps import Call, Steps
from shared.ports.town_store import TownImage
from shared.storage import layers, publish


def publish_snapshot(objects: ObjectStore, image: TownImage) -> Steps[str]:
    """Publish a committed image as a snapshot. Later states can be rebuilt from it without any older object."""
    return (yield from create_once(objects, layers.snapshot_file(image.content, publish.manifest_of(image))))


def flush(objects: ObjectStore, image: TownImage) -> Steps[str]:
    """Publish the tail of the newest commit, however small, so that Litestream sees that commit; returns the key."""
    file = layers.tail_file(publish.layers_of(image), image.content, publish.manifest_of(image))
    return (yield from create_once(objects, file))


def create_once(objects: ObjectStore, wanted: layers.ImmutableObject) -> Steps[str]:
    """Create an immutable object, or find it with the same bytes. Raises StoreUnavailable, DamagedImage, AccessDenied."""
    answered: object = None
    try:
        yield Call(f"create {wanted.key}", partial(objects.create, wanted.key, wanted.body))
    except Exception as raised:  # noqa: BLE001 - settle_publication handles it, and raises it if it is final
        answered = raised
    if not (yield from layers.settle_publication(objects, wanted, answered)):
        raise StoreUnavailable(
            f"create {wanted.key}: it is unknown whether the object exists", hint="repeat the command; that is safe"
        )
    return wanted.key
