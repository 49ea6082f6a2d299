"""Pictures of public stories really fetched, as a reader's browser does.

What an answer means belongs in ``operations/monitoring/image_delivery_rules.py``.
"""

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from threadjuice_dagster.domain.pictures.images import StoryImage, Variant
from threadjuice_dagster.failures import ThreadJuiceError
from threadjuice_dagster.operations.monitoring.image_delivery_rules import Delivered, missing, sniffed
from threadjuice_dagster.resources.http import Answer, request_once

if TYPE_CHECKING:
    from threadjuice_dagster.resources.storage import Storage

NEWEST, OTHERS = 4, 4
"""Stories whose pictures are fetched: so many of the newest, and as many of all as chance has it."""

HOTLINKED = 2
"""Stories of them whose picture a provider delivers: of each one file is asked for."""

SECONDS = 5.0
_AT_ONCE = 8
_BROWSER = {"Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"}
_PLAIN = {"Accept": "image/jpeg,image/png,*/*;q=0.1"}

_SHOWN = """
SELECT p.slug, i.record AS image FROM publications p JOIN images i USING (story_id)
WHERE p.withdrawn_at IS NULL ORDER BY p.published_at DESC, p.story_id LIMIT :most
"""
# Pages of the table drawn by lot, enough of them to hold a few stories: nothing is read from end to end.
_DRAWN = """
SELECT p.slug, i.record AS image FROM publications p TABLESAMPLE SYSTEM (:share) REPEATABLE (:seed)
JOIN images i USING (story_id) WHERE p.withdrawn_at IS NULL ORDER BY hashtext(p.slug || :seed) LIMIT :most
"""
_ROWS = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'publications'::regclass"


class Sample(NamedTuple):
    """A public story's slug and picture."""

    slug: str
    image: StoryImage


class _Asked(NamedTuple):
    slug: str
    place: str
    variant: Variant
    headers: dict[str, str]


def sampled(engine: sa.Engine, seed: int) -> list[Sample]:
    """Public stories with pictures: the newest, and others by lot; the same for the same seed."""
    with engine.connect() as connection:
        rows = connection.scalar(sa.text(_ROWS)) or 0
        share = min(100.0, 100.0 * 50 * OTHERS / max(rows, 1))
        found = list(connection.execute(sa.text(_SHOWN), {"most": NEWEST}))
        found += connection.execute(sa.text(_DRAWN), {"most": OTHERS + NEWEST, "share": share, "seed": seed})
    samples = {row.slug: Sample(row.slug, StoryImage.model_validate(row.image)) for row in found}
    return list(samples.values())[: NEWEST + OTHERS]


def lacking(samples: Iterable[Sample]) -> int:
    """Variants that pictures of ours should have and never had."""
    ours = [sample.image for sample in samples if sample.image.delivery == "rehost"]
    return sum(len(missing(image.width, [(file.width, file.format) for file in image.variants])) for image in ours)


def deliver(samples: Iterable[Sample], storage: "Storage") -> list[Delivered]:
    """Every variant fetched where readers fetch it, some at a time, and one of each picture as an old browser asks."""
    asked = list(_requests(samples))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda one: _delivered(one, storage), asked))


def _requests(samples: Iterable[Sample]) -> Iterator["_Asked"]:
    hotlinked = 0
    for slug, image in samples:
        if image.delivery == "hotlink":
            hotlinked += 1
            if hotlinked <= HOTLINKED and image.variants:
                yield _Asked(slug, "provider", min(image.variants, key=lambda one: one.width), _BROWSER)
            continue
        for variant in image.variants:
            place = "cdn" if variant.url.startswith(("http://", "https://")) else "storage"
            yield _Asked(slug, place, variant, _BROWSER)
        plain = [one for one in image.variants if one.format == "jpeg" and one.url.startswith("http")]
        if plain:
            yield _Asked(slug, "cdn", min(plain, key=lambda one: one.width), _PLAIN)


def _delivered(asked: "_Asked", storage: "Storage") -> Delivered:
    slug, place, variant, headers = asked
    began = time.perf_counter()
    try:
        if place == "storage":
            data = storage.get(variant.key)
            answer = Answer(200, {}, data, time.perf_counter() - began)
        else:
            answer = request_once(variant.url, headers, timeout=SECONDS)
    except ThreadJuiceError as failure:
        answer, problem = Answer(0, {}, b""), failure.message
    else:
        problem = ""
    return Delivered(
        story=slug,
        place=place,
        width=variant.width,
        format=variant.format,
        status=answer.status,
        content_type=answer.headers.get("content-type", ""),
        cache_control=answer.headers.get("cache-control", ""),
        first_byte_ms=round(answer.first_byte * 1000, 1),
        bytes=len(answer.body),
        recorded=0 if place == "provider" else variant.bytes,
        found=sniffed(answer.body),
        problem=problem,
    )
