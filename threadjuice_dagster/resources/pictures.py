"""The picture desk: a story's picture from the first provider that has one, encoded and stored.

What each provider offers and asks for belongs in ``resources/picture_providers.py``, how a picture is
read and encoded in ``domain/images.py``.
"""

import logging

import dagster as dg
from pydantic import Field

from threadjuice_dagster.domain.images import (
    CONTENT_TYPES,
    EncodedPicture,
    StoryImage,
    Variant,
    content_key,
    encode_variants,
    placeholder,
    read_picture,
    upright,
    variant_key,
)
from threadjuice_dagster.domain.stories import Category
from threadjuice_dagster.domain.text import cut
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, ThreadJuiceError
from threadjuice_dagster.resources.picture_providers import (
    Candidate,
    Openverse,
    PictureProvider,
    TitleCard,
    Unsplash,
    Wanted,
)
from threadjuice_dagster.resources.storage import IMMUTABLE, Storage, Upload

log = logging.getLogger(__name__)

PROVIDERS = ("openverse", "unsplash", "title_card")
_SHOWN = {"source_id", "source_url", "title", "creator", "creator_url", "licence", "credit"}
MAX_TRIED = 5
"""Pictures of one provider that are fetched before the next provider is asked."""


class PictureDesk(dg.ConfigurableResource):
    """Chooses pictures. ``providers`` in order; ``quality`` and ``speed`` as in ``encode_variants``."""

    providers: list[str]
    openverse_url: str = "https://api.openverse.org"
    unsplash_url: str = "https://api.unsplash.com"
    unsplash_key: str = ""
    unsplash_unattended: bool = False
    allowed_origins: list[str] = Field([])
    quality: int = 85
    speed: int = 6

    def choose(
        self,
        story_id: str,
        query: str,
        title: str,
        alt_text: str,
        category: Category,
        storage: Storage,
        used: frozenset[str],
    ) -> StoryImage:
        """The story's picture, its variants stored and readable.

        A provider that is down, finds nothing or offers only pictures that are refused or ``used``
        (source ids) is passed over, and why is noted. Raises ``PermanentFailure`` when none is left,
        and whatever ``storage`` raises: that is no reason to choose another picture.
        """
        wanted = Wanted(query.strip() or title, title, alt_text, category)
        notes: list[str] = []
        for provider in [self._provider(name) for name in self.providers]:
            try:
                candidate, encoded = self._pick(provider, wanted, used)
            except ThreadJuiceError as failure:
                notes.append(f"{provider.name}: {failure}")
                log.warning("story %s: %s passed over: %s", story_id, provider.name, failure)
                continue
            variants = provider.hotlinks(candidate, encoded.height, self.quality) or self._store(
                provider, encoded, storage
            )
            return _story_image(story_id, provider, candidate, wanted, encoded, variants, " ".join(notes))
        next_step = "Put title_card last in IMAGE_PROVIDERS: it always has one."
        raise PermanentFailure(f"No provider has a picture for this story. {' '.join(notes)}", next_step)

    def _provider(self, name: str) -> PictureProvider:
        if name == "openverse":
            return Openverse(self.openverse_url, self.allowed_origins)
        if name == "unsplash":
            return Unsplash(self.unsplash_url, self.unsplash_key, self.unsplash_unattended, self.allowed_origins)
        if name == "title_card":
            return TitleCard()
        raise ConfigurationError(f"{name!r} is no picture provider.", f"IMAGE_PROVIDERS takes {', '.join(PROVIDERS)}.")

    def _pick(
        self, provider: PictureProvider, wanted: Wanted, used: frozenset[str]
    ) -> tuple[Candidate, EncodedPicture]:
        """The provider's first picture that can be had and read."""
        found = provider.find(wanted)
        fresh = [candidate for candidate in found if not candidate.source_id or candidate.source_id not in used]
        problem = f"Nothing usable was found for {cut(wanted.query, 60)!r}."
        if found and not fresh:
            problem = "Other stories show all the pictures it found."
        for candidate in fresh[:MAX_TRIED]:
            try:
                encoded = self._read(provider, candidate, wanted)
                provider.chosen(candidate)
            except ThreadJuiceError as failure:
                problem = f"{min(len(fresh), MAX_TRIED)} pictures were tried; the last: {failure.message}"
                continue
            return candidate, encoded
        raise PermanentFailure(problem)

    def _read(self, provider: PictureProvider, candidate: Candidate, wanted: Wanted) -> EncodedPicture:
        """The picture encoded, or where it is hotlinked only measured by its rendition."""
        source = provider.fetch(candidate, wanted)
        if provider.policy.delivery == "rehost":
            return encode_variants(source, self.quality, self._speed(provider))
        rendition = read_picture(source) if isinstance(source, bytes) else source
        small = upright(rendition, min(rendition.width, 320))
        height = round(candidate.width * rendition.height / rendition.width)
        return EncodedPicture(candidate.width, height, rendition.sha256, placeholder(small), ())

    def _speed(self, provider: PictureProvider) -> int:
        return max(self.speed, provider.policy.speed)

    def _store(self, provider: PictureProvider, encoded: EncodedPicture, storage: Storage) -> tuple[Variant, ...]:
        content = content_key(encoded.sha256, self.quality, self._speed(provider))
        variants, uploads = [], []
        for width, height, kind, data in encoded.variants:
            key = variant_key(content, width, kind)
            uploads.append(Upload(key, data, CONTENT_TYPES[kind], IMMUTABLE))
            url = storage.url(key)
            variants.append(Variant(width=width, height=height, format=kind, key=key, url=url, bytes=len(data)))
        storage.put_many(uploads)
        return tuple(variants)


def _story_image(
    story_id: str,
    provider: PictureProvider,
    candidate: Candidate,
    wanted: Wanted,
    encoded: EncodedPicture,
    variants: tuple[Variant, ...],
    note: str,
) -> StoryImage:
    return StoryImage(
        story_id=story_id,
        provider=provider.name,
        **candidate.model_dump(include=_SHOWN),
        alt_text=candidate.alt_text or wanted.alt_text or wanted.title,
        delivery=provider.policy.delivery,
        sha256=encoded.sha256,
        width=encoded.width,
        height=encoded.height,
        placeholder=encoded.placeholder,
        variants=variants,
        note=note,
    )
