"""The XML of S3: pages of listings, tags, errors. Attributes that an answer lacks are a sign that it is not whole."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import unquote
from xml.etree import ElementTree as ET
from xml.etree.ElementTree import Element

from shared.adapters.aws_http import RefusedRequest
from shared.adapters.aws_transport import HttpAnswer, NoWholeAnswer
from shared.ports.object_store import Listing, ObjectVersion

_TRUE: Final = "true"


@dataclass(frozen=True, slots=True)
class VersionsPage:
    """Some versions of objects, each with its key; `next` has the parameters of the next page, None if there is none."""

    versions: tuple[tuple[str, ObjectVersion], ...]
    next: Mapping[str, str] | None


def page_in(answer: HttpAnswer) -> Listing:
    """A page of ListObjectsV2."""
    with _whole():
        page = _Page.of(answer)
        found = [*page.each("Contents")]
        return Listing(
            tuple(page.key_of(each) for each in found),
            more=page.text(page.root, "IsTruncated") == _TRUE,
            sizes=tuple(int(page.text(each, "Size")) for each in found),
            times=tuple(page.time_of(each) for each in found),
        )


def versions_in(answer: HttpAnswer) -> VersionsPage:
    """A page of ListObjectVersions."""
    with _whole():
        page = _Page.of(answer)
        found = tuple((page.key_of(each), _version(page, each)) for each in page.each("Version"))
        if page.text(page.root, "IsTruncated") != _TRUE:
            return VersionsPage(found, None)
        key = page.decoded(page.text(page.root, "NextKeyMarker"))
        following = {"key-marker": key, "version-id-marker": page.text(page.root, "NextVersionIdMarker")}
        return VersionsPage(found, following)


def _version(page: "_Page", each: Element) -> ObjectVersion:
    return ObjectVersion(
        version_id=page.text(each, "VersionId"),
        etag=page.text(each, "ETag"),
        at=page.time_of(each),
        size=int(page.text(each, "Size")),
        current=page.text(each, "IsLatest") == _TRUE,
    )


def tags_in(answer: HttpAnswer) -> dict[str, str]:
    """The tags of GetBucketTagging."""
    with _whole():
        page = _Page.of(answer)
        tags = (tag for tags in page.each("TagSet") for tag in tags)
        return {page.text(tag, "Key"): page.text(tag, "Value") for tag in tags}


def refusal_in(answer: HttpAnswer) -> RefusedRequest:
    """The error of an answer. One without a readable body, as after HEAD, has its status as its code."""
    try:
        page = _Page.of(answer)
    except ET.ParseError:
        return RefusedRequest(answer, str(answer.status), "")
    code, message, region = (
        page.root.findtext(f"{page.namespace}{name}") or "" for name in ("Code", "Message", "Region")
    )
    return RefusedRequest(answer, code or str(answer.status), message, region)


@dataclass(frozen=True, slots=True)
class _Page:
    """A document. Stores differ in whether its names have a namespace, and whether keys are percent-encoded."""

    root: Element
    namespace: str
    is_encoded: bool = False

    @classmethod
    def of(cls, answer: HttpAnswer) -> "_Page":
        """The document of an answer. Raises ParseError."""
        root = ET.fromstring(answer.body)  # noqa: S314 - of the store that keeps the towns; expat limits expansion
        namespace, brace, _ = root.tag.rpartition("}")
        namespace += brace
        return cls(root, namespace, root.findtext(f"{namespace}EncodingType") == "url")

    def each(self, name: str) -> Iterator[Element]:
        """The elements of this name below the root."""
        return self.root.iterfind(f"{self.namespace}{name}")

    def text(self, of: Element, name: str) -> str:
        """What an element says. Raises KeyError if it is missing."""
        found = of.findtext(f"{self.namespace}{name}")
        if found is None:
            raise KeyError(name)
        return found

    def key_of(self, each: Element) -> str:
        """The key of an object."""
        return self.decoded(self.text(each, "Key"))

    def decoded(self, key: str) -> str:
        """A key, or the start of one, as it is."""
        return unquote(key) if self.is_encoded else key

    def time_of(self, each: Element) -> datetime:
        """When an object was written."""
        return datetime.fromisoformat(self.text(each, "LastModified")).astimezone(UTC)


@contextmanager
def _whole() -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise NoWholeAnswer(f"it lacks {error.args[0]}") from error
    except (ET.ParseError, ValueError) as error:
        raise NoWholeAnswer(type(error).__name__) from error
