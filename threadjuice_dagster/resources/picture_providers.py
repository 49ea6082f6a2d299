"""The picture providers: Openverse, Unsplash, and title cards that this package draws.

Their terms belong in ``domain/pictures/licences.py``; trying them in order, encoding and storing in
``resources/pictures.py``. Answers of a provider are not trusted: text is cleaned and bounded, links must be http(s),
and pictures that do not meet the provider's terms are never offered.
"""

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from threadjuice_dagster.domain.language.text import clean, cut
from threadjuice_dagster.domain.pictures.images import (
    FAST,
    FORMATS,
    MAX_PIXELS,
    MIN_WIDTH,
    Credited,
    DecodedPicture,
    Licence,
    StoryImage,
    Variant,
    drawn_picture,
    format_quality,
    variant_widths,
)
from threadjuice_dagster.domain.pictures.licences import POLICIES, Policy, terms_problem
from threadjuice_dagster.domain.pictures.title_card import draw_title_card
from threadjuice_dagster.domain.story.stories import Category
from threadjuice_dagster.failures import PermanentFailure
from threadjuice_dagster.resources.http import ATTEMPTS, MAX_PICTURE, download_picture, fetch, fetch_json

OPENVERSE_HOSTS = (
    "upload.wikimedia.org", "api.openverse.org", "inaturalist-open-data.s3.amazonaws.com", ".staticflickr.com",
    ".wordpress.org", ".rawpixel.com", ".stocksnap.io", ".si.edu", ".metmuseum.org", ".clevelandart.org", ".nasa.gov",
    ".rijksmuseum.nl", ".europeana.eu", ".nypl.org", ".sciencemuseum.org.uk", ".inaturalist.org",
)  # fmt: skip
"""Hosts of the collections that Openverse indexes; pictures on other hosts are skipped."""

UNSPLASH_HOSTS = ("images.unsplash.com", "plus.unsplash.com")

_PAGE = 20
_RENDITION = 640


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The search for a picture, and the story that it is for."""

    query: str
    title: str
    alt_text: str
    category: Category


class Candidate(Credited):
    """A picture that a provider offers. ``width`` is in pixels as the provider states it, 0 if it does not."""

    alt_text: str = ""
    picture_url: str = ""
    width: int = 0
    chosen_url: str = ""
    """Address that the provider wants to be called when its picture is chosen."""


class PictureProvider(ABC):
    """One source of pictures. Every method raises ``TransientFailure`` or ``PermanentFailure``."""

    name: ClassVar[str]
    speed: ClassVar[int] = 0
    """The lowest encoding speed of its pictures (as in ``encode_variants``)."""

    @property
    def policy(self) -> Policy:
        """The provider's terms."""
        return POLICIES[self.name]

    @abstractmethod
    def find(self, wanted: Wanted) -> list[Candidate]:
        """Return pictures that fit and may be used, best first."""

    @abstractmethod
    def fetch(self, candidate: Candidate, wanted: Wanted) -> bytes | DecodedPicture:
        """Return the picture's bytes, not decoded; for a hotlinked picture a small rendition."""

    @abstractmethod
    def original(self, image: StoryImage, wanted: Wanted) -> bytes | DecodedPicture:
        """Return the original of a picture that a story shows, if it may still be used."""

    def chosen(self, candidate: Candidate) -> None:  # noqa: B027
        """Report to the provider that its picture was chosen, where its terms ask for that."""

    def hotlinks(self, candidate: Candidate, height: int, quality: int) -> tuple[Variant, ...]:
        """Return the provider's own addresses of a hotlinked picture's variants; none for re-hosted pictures."""
        return ()


@dataclasses.dataclass(frozen=True)
class Openverse(PictureProvider):
    """Openly licensed pictures of many collections (https://api.openverse.org/v1/), re-hosted with credit."""

    name: ClassVar[str] = "openverse"

    api_url: str
    allowed_origins: Sequence[str] = ()

    def find(self, wanted: Wanted) -> list[Candidate]:
        """Return results whose licence allows commercial use and adaptation and whose credit is complete."""
        return _usable(_openverse_candidate, self.ask(wanted.query), self.policy)

    def ask(self, query: str, attempts: int = ATTEMPTS) -> Any:
        """Return the API's answer to a search."""
        terms = {"license_type": "commercial,modification", "page_size": _PAGE, "mature": "false"}
        address = f"{self.api_url.rstrip('/')}/v1/images/"
        return fetch_json(address, params={"q": cut(query, 120), **terms}, attempts=attempts)

    def fetch(self, candidate: Candidate, wanted: Wanted) -> bytes:
        """Download the original from the collection that holds it."""
        return download_picture(candidate.picture_url, OPENVERSE_HOSTS, self.allowed_origins)

    def original(self, image: StoryImage, wanted: Wanted) -> bytes:
        """Download the same original, if Openverse still lists it under a usable licence."""
        result = fetch_json(f"{self.api_url.rstrip('/')}/v1/images/{quote(image.source_id, safe='')}/")
        candidate = _openverse_candidate(result)
        if candidate is None or (problem := terms_problem(candidate, self.policy)):
            reason = f": {problem}" if candidate else ""
            raise PermanentFailure(f"Openverse offers the picture no more{reason}.", "Choose another picture.")
        return self.fetch(candidate, wanted)


@dataclasses.dataclass(frozen=True)
class Unsplash(PictureProvider):
    """Unsplash's photographs, shown from Unsplash's own addresses as its API guidelines ask.

    Their use is to be non-automated: nothing is asked for unless ``unattended_allowed`` says that
    the owner has Unsplash's agreement.
    """

    name: ClassVar[str] = "unsplash"

    api_url: str
    access_key: str = dataclasses.field(repr=False)
    unattended_allowed: bool = False
    allowed_origins: Sequence[str] = ()

    def find(self, wanted: Wanted) -> list[Candidate]:
        """Photographs whose page, photographer and addresses are complete."""
        if self.policy.unattended == "by agreement" and not self.unattended_allowed:
            next_step = "Set UNSPLASH_UNATTENDED=true once Unsplash has agreed."
            raise PermanentFailure("Choosing its pictures unattended is not agreed with Unsplash.", next_step)
        if not self.access_key:
            raise PermanentFailure("It has no access key.", "Set UNSPLASH_ACCESS_KEY.")
        return _usable(_unsplash_candidate, self.ask(wanted.query), self.policy)

    def ask(self, query: str, attempts: int = ATTEMPTS) -> Any:
        """Return the API's answer to a search."""
        params = {"query": cut(query, 120), "per_page": _PAGE, "content_filter": "high"}
        address = f"{self.api_url.rstrip('/')}/search/photos"
        return fetch_json(address, params=params, headers=self._headers, attempts=attempts)

    def fetch(self, candidate: Candidate, wanted: Wanted) -> bytes:
        """A small rendition, to know the picture by; it is not kept."""
        small = _with_params(candidate.picture_url, {"w": _RENDITION, "fm": "jpg", "q": 80, "fit": "max"})
        return download_picture(small, UNSPLASH_HOSTS, self.allowed_origins)

    def original(self, image: StoryImage, wanted: Wanted) -> bytes:
        """Nothing is encoded of a hotlinked photograph: its address asks Unsplash for another quality."""
        raise PermanentFailure("Photographs of Unsplash are not kept.", "Choose another picture.")

    def chosen(self, candidate: Candidate) -> None:
        """Count the download, as the guidelines ask; the key is sent to the configured API and nowhere else."""
        url, api = urlsplit(candidate.chosen_url), urlsplit(self.api_url)
        if url.netloc not in (api.netloc, "api.unsplash.com"):
            raise PermanentFailure("The photograph's download address is not Unsplash's.", "Choose another picture.")
        fetch(url._replace(scheme=api.scheme, netloc=api.netloc).geturl(), headers=self._headers)

    def hotlinks(self, candidate: Candidate, height: int, quality: int) -> tuple[Variant, ...]:
        """Return every width and format, made by the address's parameters; sizes in bytes are unknown (0)."""
        variants = []
        for kind in FORMATS:
            name, number = "jpg" if kind == "jpeg" else kind, format_quality(quality, kind)
            for width in reversed(variant_widths(candidate.width)):
                url = _with_params(candidate.picture_url, {"w": width, "fm": name, "q": number, "fit": "max"})
                tall = max(1, round(height * width / candidate.width))
                variants.append(Variant(width=width, height=tall, format=kind, key="", url=url, bytes=0))
        return tuple(variants)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Client-ID {self.access_key}", "Accept-Version": "v1"}


@dataclasses.dataclass(frozen=True)
class TitleCard(PictureProvider):
    """Cards drawn from the headline, which need neither network nor licence."""

    name: ClassVar[str] = "title_card"
    speed: ClassVar[int] = FAST

    def find(self, wanted: Wanted) -> list[Candidate]:
        """Return the one card of this headline."""
        alt_text = f"Title card: {wanted.title.strip() or wanted.category.name}"
        return [Candidate(licence=Licence(code="own"), credit="Illustration: ThreadJuice", alt_text=alt_text)]

    def fetch(self, candidate: Candidate, wanted: Wanted) -> DecodedPicture:
        """Draw the card."""
        return self._drawn(wanted)

    def original(self, image: StoryImage, wanted: Wanted) -> DecodedPicture:
        """Draw the card again."""
        return self._drawn(wanted)

    def _drawn(self, wanted: Wanted) -> DecodedPicture:
        return drawn_picture(draw_title_card(wanted.title, wanted.category.name, wanted.category.colour))


def of_quality(variant: Variant, quality: int) -> Variant:
    """Return a hotlinked variant with its provider's address for this quality."""
    return variant.model_copy(update={"url": _with_params(variant.url, {"q": format_quality(quality, variant.format)})})


def _usable(read: Callable[[Any], Candidate | None], answer: Any, policy: Policy) -> list[Candidate]:
    results = _at(answer, "results")
    candidates = filter(None, map(read, results if isinstance(results, list) else []))
    return [candidate for candidate in candidates if terms_problem(candidate, policy) is None]


def _openverse_candidate(result: Any) -> Candidate | None:
    """Return one result, or None if it cannot be shown."""
    picture_url, source_id = _link(result, "url"), _text(result, "id")
    width, height = _pixels(result, "width"), _pixels(result, "height")
    oversize = width * height > MAX_PIXELS or _pixels(result, "filesize") > MAX_PICTURE
    unfit = oversize or 0 < width < MIN_WIDTH or _at(result, "mature") is True
    if not (picture_url and source_id) or unfit:
        return None
    version, licence_url = _text(result, "license_version"), _text(result, "license_url")
    return Candidate(
        source_id=source_id,
        source_url=_link(result, "foreign_landing_url") or picture_url,
        title=_text(result, "title"),
        creator=_text(result, "creator"),
        creator_url=_link(result, "creator_url"),
        licence=Licence(code=_text(result, "license").lower(), version=version, url=licence_url),
        picture_url=picture_url,
        width=width,
    )


def _unsplash_candidate(result: Any) -> Candidate | None:
    """Return one photograph, or None if it cannot be shown or its use cannot be reported."""
    raw, page = _link(result, "urls", "raw"), _link(result, "links", "html")
    chosen, user = _link(result, "links", "download_location"), _text(result, "user", "username")
    source_id, width = _text(result, "id"), _pixels(result, "width")
    if not (raw and chosen and source_id and width >= MIN_WIDTH):
        return None
    profile = _link(result, "user", "links", "html") or (
        f"https://unsplash.com/@{quote(user, safe='')}" if user else ""
    )
    referral = POLICIES["unsplash"].referral
    return Candidate(
        source_id=source_id,
        source_url=_with_params(page, referral) if page else "",
        title=_text(result, "description"),
        creator=_text(result, "user", "name"),
        creator_url=_with_params(profile, referral) if profile else "",
        licence=Licence(code="unsplash", url="https://unsplash.com/license"),
        alt_text=_text(result, "alt_description"),
        picture_url=raw,
        width=width,
        chosen_url=chosen,
    )


def _at(data: Any, *path: str) -> Any:
    for name in path:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data


def _text(data: Any, *path: str, limit: int = 300) -> str:
    value = _at(data, *path)
    return cut(clean(value), limit) if isinstance(value, str) else ""


def _link(data: Any, *path: str) -> str:
    """Return an http(s) address that cannot break out of an HTML attribute, else an empty string."""
    value = _at(data, *path)
    fine = isinstance(value, str) and re.fullmatch(r"https?://[^\s\"'<>\\`\x00-\x1f\x7f]{1,2000}", value)
    return value if fine and value.isprintable() else ""


def _pixels(data: Any, name: str) -> int:
    value = _at(data, name)
    return value if isinstance(value, int) and value > 0 else 0


def _with_params(url: str, params: Mapping[str, Any]) -> str:
    """Return the address with these parameters set and its others kept (Unsplash's ``ixid`` has to stay)."""
    import httpx2

    return str(httpx2.URL(url).copy_merge_params(dict(params)))
