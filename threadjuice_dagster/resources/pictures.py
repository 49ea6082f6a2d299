"""Chooses a story's picture from the first provider that has one, encodes it and stores it.

The providers belong in ``resources/picture_providers.py``, their terms in ``domain/pictures/licences.py``, reading and
encoding a picture in ``domain/pictures/images.py``.
"""

import functools
import logging
from collections.abc import Callable, Container, Iterable
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from pydantic import Field

from threadjuice_dagster.domain.language.text import cut
from threadjuice_dagster.domain.pictures.images import (
    CONTENT_TYPES,
    Credited,
    DecodedPicture,
    EncodedPicture,
    PictureRefused,
    StoryImage,
    Variant,
    content_key,
    encode_variants,
    placeholder,
    read_picture,
    rendition,
    upright,
    variant_key,
)
from threadjuice_dagster.domain.pictures.licences import credit_text
from threadjuice_dagster.domain.story.stories import Category
from threadjuice_dagster.failures import ConfigurationError, PermanentFailure, ThreadJuiceError, TransientFailure
from threadjuice_dagster.resources.picture_providers import (
    Candidate,
    Openverse,
    PictureProvider,
    TitleCard,
    Unsplash,
    Wanted,
    of_quality,
)
from threadjuice_dagster.resources.storage import IMMUTABLE, Storage, Upload

log = logging.getLogger(__name__)

PROVIDERS = ("openverse", "unsplash", "title_card")
Inspect = Callable[[bytes], str | None]
"""Given a small JPEG, says why the picture must not be shown, or None."""

MAX_TRIED = 5
"""Pictures of one provider that are tried before the next provider is asked."""


class NoVerdict(TransientFailure):
    """Pictures cannot be inspected at the moment, so none that must be inspected is shown."""


class PictureService(dg.ConfigurableResource):
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
        used: Container[str],
        inspect: Inspect | None = None,
        now: Callable[[], datetime] = functools.partial(datetime.now, UTC),
    ) -> StoryImage:
        """Choose the story's picture and store its variants.

        A provider that is down, or whose pictures are all refused (by ``inspect`` too) or ``used`` (source ids), is
        skipped, and the picture's ``note`` says why. Raises ``PermanentFailure`` when none is left, and
        whatever ``storage`` raises: that is no reason to choose another picture.
        """
        wanted = Wanted(query.strip() or title, title, alt_text, category)
        notes: list[str] = []
        for provider in [self._provider(name) for name in self.providers]:
            try:
                candidate, encoded = self._pick(provider, wanted, used, inspect)
            except ThreadJuiceError as failure:
                notes.append(f"{provider.name}: {failure}")
                log.warning("story %s: %s passed over: %s", story_id, provider.name, failure)
                continue
            told_at = now() if provider.policy.reports_use else None
            return _story_image(
                provider,
                candidate,
                encoded,
                story_id=story_id,
                alt_text=candidate.alt_text or wanted.alt_text or wanted.title,
                variants=self._variants(provider, candidate, encoded, storage),
                use_reported_at=told_at,
                note=" ".join(notes),
            )
        next_step = "Put title_card last in IMAGE_PROVIDERS: it always has one."
        raise PermanentFailure(f"No provider has a picture for this story. {' '.join(notes)}", next_step)

    def is_current(self, image: StoryImage, storage: Storage) -> bool:
        """Whether a picture has the present quality and its variants have the addresses of ``storage``."""
        if image.delivery == "hotlink":
            return all(of_quality(variant, self.quality) == variant for variant in image.variants)
        return self.is_encoded(image) and all(variant.url == storage.url(variant.key) for variant in image.variants)

    def is_encoded(self, image: StoryImage) -> bool:
        """Whether a picture's files were encoded with the present quality and speed."""
        if image.delivery == "hotlink":
            return True
        content = content_key(image.sha256, self.quality, self._speed(self._provider(image.provider)))
        return all(variant.key == variant_key(content, variant.width, variant.format) for variant in image.variants)

    def renew(self, image: StoryImage, title: str, category: Category, storage: Storage, former: Storage) -> StoryImage:
        """Return the same picture with the present encoding and its files in ``storage``.

        Files that are right already are copied from ``former``. Raises ``ThreadJuiceError`` where the original is
        gone, or is another picture now.
        """
        if image.delivery == "hotlink":
            return image.model_copy(
                update={"variants": tuple(of_quality(variant, self.quality) for variant in image.variants)}
            )
        if self.is_encoded(image):
            return image.model_copy(update={"variants": _moved(image.variants, storage, former)})
        provider, wanted = self._provider(image.provider), Wanted("", title, image.alt_text, category)
        source = provider.original(image, wanted)
        picture = source if isinstance(source, DecodedPicture) else read_picture(source)
        if not isinstance(source, DecodedPicture) and picture.sha256 != image.sha256:
            raise PictureRefused("Its original is another picture now.", "Choose another picture.")
        encoded = encode_variants(picture, self.quality, self._speed(provider))
        facts = {name: getattr(encoded, name) for name in ("sha256", "width", "height", "placeholder")}
        return image.model_copy(update={**facts, "variants": self._stored(provider, encoded, storage)})

    def _provider(self, name: str) -> PictureProvider:
        if name == "openverse":
            return Openverse(self.openverse_url, self.allowed_origins)
        if name == "unsplash":
            return Unsplash(self.unsplash_url, self.unsplash_key, self.unsplash_unattended, self.allowed_origins)
        if name == "title_card":
            return TitleCard()
        raise ConfigurationError(f"{name!r} is no picture provider.", f"IMAGE_PROVIDERS takes {', '.join(PROVIDERS)}.")

    def _pick(
        self, provider: PictureProvider, wanted: Wanted, used: Container[str], inspect: Inspect | None
    ) -> tuple[Candidate, EncodedPicture]:
        """Return the provider's first picture that can be fetched, read and shown; its use is reported."""
        candidates = provider.find(wanted)
        fresh = [candidate for candidate in candidates if not candidate.source_id or candidate.source_id not in used]
        problem = f"Nothing usable was found for {cut(wanted.query, 60)!r}."
        if candidates and not fresh:
            problem = "Other stories show all the pictures it found."
        for candidate in fresh[:MAX_TRIED]:
            try:
                encoded = self._read(provider, candidate, wanted, inspect)
                provider.chosen(candidate)
            except NoVerdict:
                raise
            except ThreadJuiceError as failure:
                problem = f"{min(len(fresh), MAX_TRIED)} pictures were tried; the last: {failure.message}"
                continue
            return candidate, encoded
        raise PermanentFailure(problem)

    def _read(
        self, provider: PictureProvider, candidate: Candidate, wanted: Wanted, inspect: Inspect | None
    ) -> EncodedPicture:
        """Return the encoded picture; a hotlinked one is only measured by a small rendition."""
        _refuse_words(candidate)
        source = provider.fetch(candidate, wanted)
        picture = source if isinstance(source, DecodedPicture) else _inspected(read_picture(source), inspect)
        if provider.policy.delivery == "rehost":
            return encode_variants(picture, self.quality, self._speed(provider))
        small = upright(picture, min(picture.width, 320))
        height = round(candidate.width * picture.height / picture.width)
        return EncodedPicture(candidate.width, height, picture.sha256, placeholder(small), ())

    def _speed(self, provider: PictureProvider) -> int:
        return max(self.speed, provider.speed)

    def _variants(
        self, provider: PictureProvider, candidate: Candidate, encoded: EncodedPicture, storage: Storage
    ) -> tuple[Variant, ...]:
        """Return the provider's own addresses of a hotlinked picture, else store the variants and return ours."""
        if provider.policy.delivery == "hotlink":
            return provider.hotlinks(candidate, encoded.height, self.quality)
        return self._stored(provider, encoded, storage)

    def _stored(self, provider: PictureProvider, encoded: EncodedPicture, storage: Storage) -> tuple[Variant, ...]:
        content = content_key(encoded.sha256, self.quality, self._speed(provider))
        variants, uploads = [], []
        for width, height, kind, data in encoded.variants:
            key = variant_key(content, width, kind)
            uploads.append(Upload(key, data, CONTENT_TYPES[kind], IMMUTABLE))
            url = storage.url(key)
            variants.append(Variant(width=width, height=height, format=kind, key=key, url=url, bytes=len(data)))
        storage.put_many(uploads)
        return tuple(variants)


def _moved(variants: Iterable[Variant], storage: Storage, former: Storage) -> tuple[Variant, ...]:
    """Return the variants with the addresses of ``storage``, after copying missing files from ``former``."""
    missing = [variant for variant in variants if not storage.exists(variant.key)]
    storage.put_many(
        Upload(variant.key, former.get(variant.key), CONTENT_TYPES[variant.format], IMMUTABLE) for variant in missing
    )
    return tuple(variant.model_copy(update={"url": storage.url(variant.key)}) for variant in variants)


def _refuse_words(candidate: Candidate) -> None:
    """Raise ``PictureRefused`` where a provider's title, creator or description must not be shown."""
    from threadjuice_dagster.domain.judging.moderation import load_moderator

    words = "\n\n".join((candidate.title, candidate.creator, candidate.alt_text))
    verdict = load_moderator().moderate(words if candidate.picture_url else "")
    if verdict.flagged:
        raise _refusal("; ".join(verdict.reasons) or "the words that come with it")


def _inspected(picture: DecodedPicture, inspect: Inspect | None) -> DecodedPicture:
    """Return the picture. Raises ``PictureRefused`` if it must not be shown, or ``NoVerdict``."""
    try:
        problem = inspect(rendition(picture)) if inspect else None
    except TransientFailure as failure:
        raise NoVerdict(f"Pictures cannot be inspected: {failure.message}", failure.next_step) from failure
    if problem:
        raise _refusal(problem)
    return picture


def _refusal(problem: str) -> PictureRefused:
    return PictureRefused(f"The picture must not be shown: {problem}.", "Choose another picture.")


def _story_image(provider: PictureProvider, candidate: Candidate, encoded: EncodedPicture, **rest: Any) -> StoryImage:
    origin = candidate.model_dump(include=set(Credited.model_fields))
    return StoryImage(
        **{**origin, "credit": credit_text(candidate, provider.name)},
        provider=provider.name,
        delivery=provider.policy.delivery,
        sha256=encoded.sha256,
        width=encoded.width,
        height=encoded.height,
        placeholder=encoded.placeholder,
        **rest,
    )
