"""The images that a process keeps between runs."""

from dataclasses import dataclass, field

from shared.ports.town_store import TownImage


@dataclass(slots=True)
class WarmImages:
    """The newest known image of each recent town, at most `limit` of them: a run only asks the store whether it changed.

    Together they take at most `limit_bytes`, unless the only image is larger: memory and /tmp of a Lambda are limited.
    """

    limit: int = 32
    limit_bytes: int = 256 << 20
    images: dict[str, TownImage] = field(default_factory=dict)

    def get(self, town_id: str) -> TownImage | None:
        """The image that the last run of this town left, if it is still kept."""
        return self.images.get(town_id)

    def keep(self, image: TownImage) -> None:
        """Keep an image, and drop the least recently kept ones beyond the limits."""
        self.images.pop(image.town_id, None)
        self.images[image.town_id] = image
        held = sum(each.size for each in self.images.values())
        while len(self.images) > self.limit or (held > self.limit_bytes and len(self.images) > 1):
            held -= self.images.pop(next(iter(self.images))).size

    def forget(self, town_id: str) -> None:
        """Drop the image of a town after an error, so that the next run loads it anew."""
        self.images.pop(town_id, None)
