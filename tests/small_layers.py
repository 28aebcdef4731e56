"""Layers of a few pages, so that a test of a few commits sees snapshots, patch files and spills."""

from typing import Any

from shared.storage import layers


def small_layers(patched: Any, size: int, *, patch_files: int = 0) -> None:  # Any: pytest's MonkeyPatch, or one like it
    """Make what leaves a head as small as `size` bytes; so many patch files come before a spill."""
    patched.setattr(layers, "WHOLE_UP_TO", size)
    patched.setattr(layers, "PATCH_FILE_ABOVE", size)
    patched.setattr(layers, "PATCH_FILES", patch_files)
