"""The largest image, the memory and the /tmp of each function fit each other, and a larger image is refused before it is opened."""

import errno
from pathlib import Path
from typing import Any

import pytest

from functions import room, wiring
from functions.settings import StoreSettings
from shared.domain.errors import ImageTooLarge
from shared.images.pages import LARGE_IMAGE, LARGEST_IMAGE
from shared.ports.steps import drive
from shared.runner.warm_images import WarmImages
from shared.storage.towns import ObjectTownStore
from shared.town import database
from tests.contracts.transformed import resources
from tests.towns import a_town
from tests.worlds import a_world

MIB = 1 << 20
LOADERS = ("WorkerFunction", "DebugFunction", "CredentialsFunction", "RedriveFunction", "ArchiveFunction")


def size_of(function: str) -> tuple[int, int]:
    """Memory and /tmp of a function in the template, in MiB."""
    properties = resources("AWS::Lambda::Function")[function]
    return properties["MemorySize"], properties.get("EphemeralStorage", {"Size": 512})["Size"]


@pytest.mark.parametrize("function", LOADERS)
def test_a_function_that_loads_images_holds_one_that_is_far_larger_than_the_alarm_says(function: str) -> None:
    """An image of 408 MB took 2 GB of a function with 1,769 MB, and one of 572 MB filled /tmp."""
    memory, scratch = size_of(function)
    largest = room.largest_image(memory, scratch * MIB)
    assert largest > 1.5 * LARGE_IMAGE
    assert room.RUNTIME_BYTES + room.MEMORY_OF_AN_IMAGE * largest <= memory * MIB
    assert WarmImages().limit_bytes == room.WARM_FILES_BYTES
    assert room.WARM_FILES_BYTES + room.FILES_OF_AN_IMAGE * largest <= scratch * MIB


def test_the_dispatcher_holds_the_usual_town_and_workers_hold_far_larger_ones() -> None:
    usual = room.largest_image(size_of("TickFunction")[0], size_of("TickFunction")[1] * MIB)
    largest = room.largest_image(size_of("WorkerFunction")[0], size_of("WorkerFunction")[1] * MIB)
    assert 32 * MIB <= usual < largest


def test_what_the_page_of_the_alarm_says_is_what_the_functions_hold() -> None:
    memory, scratch = size_of("WorkerFunction")
    page = (Path(__file__).parents[3] / "docs/runbook/image-large.md").read_text(encoding="utf-8")
    assert f"one of more than {room.largest_image(memory, scratch * MIB) // MIB} MiB is refused" in page


@pytest.mark.parametrize(
    ("memory", "scratch", "largest"),
    [(1769, 1024, 224), (10_240, 10_240, 1024), (1769, 512, 128), (512, 1024, 44), (128, 512, 0), (1769, 128, 0)],
)
def test_the_scarcer_of_memory_and_tmp_decides(memory: int, scratch: int, largest: int) -> None:
    assert room.largest_image(memory, scratch * MIB) // MIB == largest


def test_a_function_refuses_an_image_for_which_it_has_no_room_before_it_reads_its_pages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = a_world(a_town())
    monkeypatch.setattr(wiring, "objects_of", lambda *_: world.objects)
    told = {"STAGE": "test", "TOWN_BUCKET": "towns"}
    assert drive(wiring.store(StoreSettings.from_environment(told)).load("t1")).size > 0
    small = StoreSettings.from_environment(told | {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128"})
    with pytest.raises(ImageTooLarge, match="there is room for 0 MiB here") as refused:
        drive(wiring.store(small).load("t1"))
    assert "docs/runbook/image-large.md" in refused.value.hint


def test_outside_lambda_only_the_general_limit_holds() -> None:
    assert room.largest_here(None) == LARGEST_IMAGE


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_an_image_that_does_not_fit_into_a_full_tmp_is_a_typed_error(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    world = a_world(a_town())
    store = ObjectTownStore(world.objects, large_above=0)
    image = drive(store.load("t1"))
    whole = Path.write_bytes

    def full(path: Path, data: Any) -> int:
        whole(path, data[:100])
        raise OSError(number, "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        for _ in range(2):
            with pytest.raises(ImageTooLarge, match="does not fit into the directory for temporary files"):
                database.open_image(image.content)
    sql = database.open_image(image.content)  # once there is room again
    database.check_identity(sql, "t1")
    database.close(sql)


def test_a_failure_of_tmp_that_is_not_about_room_is_not_called_one(monkeypatch: pytest.MonkeyPatch) -> None:
    store = ObjectTownStore(a_world(a_town()).objects, large_above=0)
    image = drive(store.load("t1"))

    def broken(*_: Any) -> int:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(Path, "write_bytes", broken)
    with pytest.raises(OSError, match="broken"):
        database.open_image(image.content)
