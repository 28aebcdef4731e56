"""Putting the layers of an image together again: snapshot, spills, patch files, and the tail in the head."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Protocol

from shared.images import image_digest
from shared.ports.object_store import StoredObject
from shared.ports.steps import Call, Steps, Together
from shared.storage import keys, ltx, patch_files, patches
from shared.storage.head import Head, Manifest
from shared.storage.layers import Layers
from shared.storage.mending import damaged
from shared.storage.patches import resize


class Readable(Protocol):
    """Whatever has the objects of a town."""

    def get(self, key: str) -> StoredObject | None:
        """The object; None if it does not exist."""
        ...


def read_layers(objects: Readable, head: Head, *, key: str) -> Steps[tuple[bytes, Layers]]:
    """The whole image of a head and its layers, verified by the image digest of the manifest.

    Raises DamagedImage, which names the object that is missing or damaged.
    """
    manifest = head.manifest
    below = tuple(_below(manifest))
    answers: list[Any] = []
    if below:
        answers = yield Together(tuple(Call(f"get {ref}", partial(objects.get, ref)) for ref, _ in below))
    files: list[ltx.LtxFile] = []
    patched: list[tuple[str, patches.Patches]] = []
    for (ref, span), answer in zip(below, answers, strict=True):
        body = _body_of(answer, ref)
        if keys.patched_txids_of(ref) is None:
            files.append(_file(body, ref, span))
        else:
            patched.append((ref, _patches(body, ref, span, manifest.page_size)))
    tail = _tail_of(head, key)
    size = manifest.page_size
    image = bytearray()
    for file in files:
        _lay(image, file)
    numbers: set[int] = set()
    for ref, each in patched:
        _patch(image, each, key=ref, page_size=size)
        numbers.update(each.numbers)
    if isinstance(tail, patches.Patches):
        pages_below, tail_pages = tail.pages_below, frozenset(tail.numbers)
        originals = _patch(image, tail, key=key, page_size=size)
    else:
        pages_below, tail_pages = min(len(image) // size, manifest.pages), frozenset(tail.pages)
        originals = _replace(image, tail, pages_below=pages_below)
    found = bytes(image)
    if image_digest.digest_of(found, size) != manifest.image_digest:
        raise damaged(key, "its pages do not match the image digest of its manifest")
    whole = manifest.tail_start == 1
    return found, Layers(
        manifest.snapshot,
        manifest.base,
        manifest.spills,
        manifest.tail_start,
        head.tail,
        tail_pages,
        0 if whole else pages_below,
        {} if whole else originals,
        manifest.patch_files,
        frozenset(numbers),
        manifest.patched,
    )


def names_below(manifest: Manifest) -> set[str]:
    """The keys of the objects that the image of a head needs besides the head."""
    return {key for key, _ in _below(manifest)}


def _below(manifest: Manifest) -> Sequence[tuple[str, tuple[int, int]]]:
    town_id = manifest.town
    found: list[tuple[str, tuple[int, int]]] = []
    if manifest.snapshot is not None:
        found.append((keys.snapshot(town_id, manifest.snapshot.txid), (1, manifest.snapshot.txid)))
    spans = [(spill.min_txid, spill.max_txid) for spill in manifest.spills]
    found += [(keys.spill(town_id, *span), span) for span in spans]
    spans = [(file.min_txid, file.max_txid) for file in manifest.patch_files]
    return (*found, *((keys.patch_file(town_id, *span), span) for span in spans))


def _tail_of(head: Head, key: str) -> patches.Patches | ltx.LtxFile:
    """The patches of a tail; or its whole pages, as an LTX file: the whole image, or, in older heads, the pages that changed."""
    manifest = head.manifest
    if manifest.patched:
        try:
            found = patches.decoded(head.tail, most_pages=manifest.pages)
        except ValueError as error:
            raise damaged(key, f"its patches cannot be read ({error})") from error
        if found.pages != manifest.pages:
            raise damaged(key, "its manifest and its patches belong to different commits")
        return found
    tail = ltx.decode(head.tail, key)
    expected = (manifest.page_size, manifest.pages, manifest.tail_start, manifest.txid)
    if (tail.header.page_size, tail.header.pages, tail.header.min_txid, tail.header.max_txid) != expected:
        raise damaged(key, "its manifest and its pages belong to different commits")
    return tail


def _body_of(answer: StoredObject | Exception | None, key: str) -> bytes:
    if isinstance(answer, Exception):
        raise answer
    if answer is None:
        raise damaged(key, "it is missing, but the head of its town needs it")
    return answer.body


def _file(body: bytes, key: str, span: tuple[int, int]) -> ltx.LtxFile:
    file = ltx.decode(body, key)
    if (file.header.min_txid, file.header.max_txid) != span:
        raise damaged(key, "its transactions are not those in its name")
    return file


def _patches(body: bytes, key: str, span: tuple[int, int], page_size: int) -> patches.Patches:
    file = patch_files.decode(body, key)
    if (file.min_txid, file.max_txid, file.page_size) != (*span, page_size):
        raise damaged(key, "its transactions are not those in its name, or it is of another town")
    return file.patches


def _patch(image: bytearray, found: patches.Patches, *, key: str, page_size: int) -> dict[int, bytes]:
    try:
        return patches.laid(image, found, page_size=page_size)
    except ValueError as error:
        raise damaged(key, f"its patches do not fit the layers below it ({error})") from error


def _replace(image: bytearray, file: ltx.LtxFile, *, pages_below: int) -> dict[int, bytes]:
    """Put the pages of a tail into the image of the layers below; returns the originals of those that are there."""
    size = file.header.page_size
    originals = {number: image[(number - 1) * size : number * size] for number in file.pages if number <= pages_below}
    _lay(image, file)
    return {number: bytes(page) for number, page in originals.items()}


def _lay(image: bytearray, file: ltx.LtxFile) -> None:
    """Make the image of the layers below the one after this file."""
    size = file.header.page_size
    resize(image, file.header.pages * size)
    for number, page in file.pages.items():
        image[(number - 1) * size : number * size] = page
