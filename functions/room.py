"""How large an image a function can hold. Memory, /tmp and the largest image follow from one another here and nowhere else.

Measured with images of 100, 200 and 300 MiB: loading one takes 5.8 times its size of memory if its pages compress to a half, and
its first commit writes it to /tmp twice. Warm images of other towns are in /tmp too.
"""

import shutil
import tempfile
from typing import Final

from shared.images.pages import LARGEST_IMAGE

RUNTIME_BYTES: Final = 200 << 20
"""Python, the libraries and the images in memory."""

MEMORY_OF_AN_IMAGE: Final = 7
"""Bytes of memory for each byte of the largest image: pages that do not compress at all take 6.3."""

FILES_OF_AN_IMAGE: Final = 2
"""Copies of the largest image in /tmp."""

WARM_FILES_BYTES: Final = 256 << 20
"""Warm images of other towns in /tmp: what `shared.runner.warm_images` keeps at most."""


def largest_image(memory_mib: int, scratch_bytes: int) -> int:
    """The bytes of the largest image that fits into this memory and this /tmp; 0 if none does."""
    by_memory = ((memory_mib << 20) - RUNTIME_BYTES) // MEMORY_OF_AN_IMAGE
    by_files = (scratch_bytes - WARM_FILES_BYTES) // FILES_OF_AN_IMAGE
    return max(0, min(LARGEST_IMAGE, by_memory, by_files))


def largest_here(memory_mib: int | None) -> int:
    """The bytes of the largest image in this environment. Outside Lambda, which tells its memory, only the general limit holds."""
    if memory_mib is None:
        return LARGEST_IMAGE
    return largest_image(memory_mib, shutil.disk_usage(tempfile.gettempdir()).total)
