"""The images that an environment remembers between its calls."""

from dataclasses import dataclass, field

from shared.ports.town_store import TownImage


@dataclass(slots=True)
class WarmImages:
    """The newest known image of each town, to ask the store only whether it changed; at most `limit` of them.

    They hold at most `limit_bytes` together, or one image: that is what a Lambda has of memory and of /tmp.
    """

    limit: int = 32
    limit_bytes: int = 256 << 20
    images: dict[str, TownImage] = field(default_factory=dict)

    def get(self, town_id: str) -> TownImage | None:
        """The image that the last run of this town left."""
        return self.images.get(town_id)

    def keep(self, image: TownImage) -> None:
        """Remember an image; the town that was not used for the longest time goes."""
        self.images.pop(image.town_id, None)
        self.images[image.town_id] = image
        held = sum(each.size for each in self.images.values())
        while len(self.images) > self.limit or (held > self.limit_bytes and len(self.images) > 1):
            held -= self.images.pop(next(iter(self.images))).size

    def forget(self, town_id: str) -> None:
        """After an error nothing is assumed."""
        self.images.pop(town_id, None)
