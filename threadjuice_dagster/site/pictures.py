"""A story's picture as a page shows it, and how its files get into the site.

Choosing, licensing and encoding pictures belong in ``domain/pictures/images.py`` and ``resources/``.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from threadjuice_dagster.domain.pictures.images import Format, StoryImage, Variant
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure
from threadjuice_dagster.site.links import origin, safe_link

ReadPicture = Callable[[Variant], bytes]
"""Reads the bytes of a stored variant. Raises ``FileNotFoundError`` where storage has none."""

FORMATS: tuple[Format, ...] = ("avif", "webp", "jpeg")
"""Formats, best first. An old browser gets the last one that a picture has."""

BLUR_SIDE = 8
"""Pixels on the longer side of a placeholder. A ThumbHash holds no finer detail, and browsers smooth it."""

_KEY = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class StoryPicture:
    """One story's picture with the address of each variant, narrowest first: a path in the site, or a URL."""

    image: StoryImage
    places: tuple[tuple[Variant, str], ...]

    @cached_property
    def formats(self) -> tuple[Format, ...]:
        """The formats that it has, best first."""
        return tuple(name for name in FORMATS if any(variant.format == name for variant, _ in self.places))

    @property
    def local(self) -> Iterator[tuple[Variant, str]]:
        """The variants whose files belong into the site, with their paths in it."""
        return ((variant, place) for variant, place in self.places if "://" not in place)

    @property
    def origins(self) -> set[str]:
        """Outside origins that variants are fetched from."""
        return {origin(place) for _, place in self.places if "://" in place}

    def srcset(self, name: Format, root: str, widest: int = 100_000) -> str:
        """Return the ``srcset`` of a format for a page at ``root``: the narrowest, and those up to ``widest``."""
        first, *more = self._of(name)
        shown = [first, *(choice for choice in more if choice[0].width <= widest)]
        return ", ".join(f"{_from(root, place)} {variant.width}w" for variant, place in shown)

    def fallback(self, root: str, widest: int = 1200) -> str:
        """Return the ``src`` for a browser that reads no ``srcset``."""
        return _from(root, self.share(widest)[1])

    def share(self, width: int = 1200) -> tuple[Variant, str]:
        """Return the variant for link previews: the oldest format, nearest to ``width`` pixels."""
        return min(self._of(self.formats[-1]), key=lambda place: abs(place[0].width - width))

    @cached_property
    def blur(self) -> str:
        """A preview of a few pixels as a data URI, shown until the picture is loaded. It may be empty."""
        from threadjuice_dagster.domain.pictures.thumbhash import to_data_url

        # A broken placeholder is no reason to fail: the picture itself still loads.
        with contextlib.suppress(ValueError, IndexError):
            return to_data_url(self.image.placeholder, BLUR_SIDE) if self.image.placeholder else ""
        return ""

    def _of(self, name: Format) -> list[tuple[Variant, str]]:
        return [place for place in self.places if place[0].format == name]


def picture_of(image: StoryImage) -> StoryPicture | None:
    """Return the picture with each variant's address, or None without a variant. Raises ``PermanentFailure``."""
    ordered = sorted(image.variants, key=lambda variant: variant.width)
    places = tuple((variant, _place(image.story_id, variant)) for variant in ordered)
    return StoryPicture(image, places) if places else None


def place_picture(variant: Variant, target: Path, storage_root: Path | None, read_picture: ReadPicture | None) -> None:
    """Put a stored variant at ``target``: link it from the storage folder, else copy it, else read it.

    Raises ``FileNotFoundError`` where storage has no such file, ``ConfigurationError`` without a storage to ask.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    stored = _stored(variant, storage_root)
    if stored is not None:
        try:
            os.link(stored, target)
        except OSError:  # another file system, or one without links
            shutil.copyfile(stored, target)
    elif read_picture is not None:
        target.write_bytes(read_picture(variant))
    elif storage_root is None:
        raise ConfigurationError(
            f"The picture {variant.key} lies in a folder, but no picture folder was named.",
            "Pass the folder that pictures are stored in.",
        )
    else:
        raise FileNotFoundError(variant.key)


def _stored(variant: Variant, storage_root: Path | None) -> Path | None:
    if storage_root is None:
        return None
    root = storage_root.resolve()
    path = (root / variant.key).resolve()
    return path if path.is_relative_to(root) and path.is_file() else None


def _place(story_id: str, variant: Variant) -> str:
    if variant.url.startswith("file:"):
        if _KEY.fullmatch(variant.key):
            return variant.key if variant.key.startswith("img/") else f"img/{variant.key}"
    elif safe_link(variant.url) and not variant.url.endswith(","):
        return variant.url
    raise PermanentFailure(
        f"Story {story_id}: the {variant.width} px {variant.format} of its picture has no usable address.",
        "Choose its picture again by materializing story_image for this story.",
    )


def _from(root: str, place: str) -> str:
    return place if "://" in place else root + place
