"""Published stories made up by number: for tests of the site, its audit and its benchmark.

Equal numbers give equal stories. Pictures are plain files unless they are drawn (``drawn_picture``).
"""

import base64
import functools
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from threadjuice_dagster.domain.pictures.images import Licence, StoryImage, Variant
from threadjuice_dagster.domain.story.publication import PublishedStory
from threadjuice_dagster.domain.story.stories import Category, Draft, Persona, Quote, Section

NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)
HASH = "1QcSHQRnh493V4dIh4eXh1h4kJUI"
LICENCE = Licence(code="by", version="4.0", url="https://creativecommons.org/licenses/by/4.0/")

WHO = ("The night porter", "A retired cellist", "Our upstairs neighbour", "The new apprentice", "A patient aunt")
DID = ("kept a diary of", "quietly repaired", "refused to sell", "taught the street to love", "lost and found")
WHAT = ("the last brass lift", "a ledger of borrowed umbrellas", "the courtyard fig tree", "one stubborn piano")
WHERE = ("behind the bakery", "on the fourth floor", "for eleven winters", "in plain sight", "without a key")
CLAUSES = (
    "nobody had asked for an explanation",
    "the letters arrived every other Thursday",
    "there was a rota, and the rota was obeyed",
    "somebody left soup on the landing",
    "the landlord said he would think about it",
    "three people remembered it differently",
    "the answer had been pinned to the board since spring",
    "it took a borrowed ladder and most of an afternoon",
    "even the caretaker came down to look",
    "the bill was smaller than anybody had feared",
)
TAGS = ("lifts", "music", "gardens", "letters", "neighbours", "repairs", "winter", "soup", "keys", "patience")
KINDS = ("opening", "narrative", "discussion", "turn", "closing")
HEADINGS = ("", "What the ledger said", "The thread joins in", "Then the post arrived", "")


@functools.cache
def catalogue() -> tuple[list[Category], list[Persona]]:
    """The newsroom's own."""
    from threadjuice_dagster.database.catalogue import read_catalogue

    return read_catalogue()


def made_story(number: int, image: StoryImage) -> PublishedStory:
    """A story of five sections and some 450 words, an hour after the one before it."""
    rng = random.Random(number)
    categories, personas = catalogue()
    title = f"{rng.choice(WHO)} {rng.choice(DID)} {rng.choice(WHAT)} {rng.choice(WHERE)}"
    sections = [
        Section(kind=kind, heading=heading, text="\n\n".join(_paragraph(rng) for _ in range(3)))  # type: ignore[arg-type]
        for kind, heading in zip(KINDS, HEADINGS, strict=True)
    ]
    sections.insert(1, Section(kind="excerpt", heading="", text=_sentence(rng)))
    quotes = [Quote(text=_sentence(rng), comment_id=f"c{number}{place}", section=place) for place in (2, 3)]
    published = datetime(2025, 9, 1, tzinfo=UTC) + timedelta(hours=number)
    category = categories[rng.randrange(len(categories))]
    return PublishedStory(
        story_id=f"m{number:07d}",
        slug=f"{title.lower().replace(' ', '-')}-{number}",
        draft=Draft(
            title=title,
            dek=_sentence(rng),
            sections=tuple(sections),
            quotes=tuple(quotes),
            tags=tuple(rng.sample(TAGS, 3)),
            seo_description=_sentence(rng),
        ),
        category=category,
        persona=personas[rng.randrange(len(personas))],
        image=image.model_copy(update={"story_id": f"m{number:07d}"}),
        source_url=f"https://threads.example/r/stairs/comments/q{number}/",
        subreddit="stairs",
        writer="openai",
        model="model-x",
        score=round(8 + rng.random() * 1.8, 1),
        published_at=published,
        updated_at=published,
    )


def _sentence(rng: random.Random) -> str:
    first, second = rng.sample(CLAUSES, 2)
    return f"{first.capitalize()}, and {second}."


def _paragraph(rng: random.Random) -> str:
    return " ".join(_sentence(rng) for _ in range(2))


def drawn_picture(
    storage: Path, title: str, category: Category, widths: tuple[int, ...] = (480, 768, 1200)
) -> StoryImage:
    """A title card, drawn and encoded into ``storage``."""
    from threadjuice_dagster.domain.pictures.images import (
        FAST,
        content_key,
        drawn_picture,
        encode_variants,
        variant_key,
    )
    from threadjuice_dagster.domain.pictures.title_card import draw_title_card

    picture = drawn_picture(draw_title_card(title, category.name, category.colour))
    encoded = encode_variants(picture, speed=FAST, widths=widths)
    variants = []
    for width, height, kind, data in encoded.variants:
        key = variant_key(content_key(encoded.sha256, 85, FAST), width, kind)
        file = _stored(storage, key, data)
        variants.append(Variant(width=width, height=height, format=kind, key=key, url=file.as_uri(), bytes=len(data)))
    return StoryImage(
        story_id="",
        provider="title_card",
        creator="ThreadJuice",
        licence=Licence(code="own"),
        credit="Title card drawn by ThreadJuice",
        alt_text=f"Title card: {title}",
        sha256=encoded.sha256,
        width=encoded.width,
        height=encoded.height,
        placeholder=encoded.placeholder,
        variants=tuple(variants),
    )


def _stored(storage: Path, key: str, data: bytes) -> Path:
    file = storage / key
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def drawn_stories(storage: Path, count: int, cards: int = 12) -> Iterator[PublishedStory]:
    """So many stories; the newest ``cards`` have title cards of their own, the others share them."""
    blank = plain_picture(None)
    titles = [made_story(number, blank) for number in range(count - cards, count)]
    pictures = [drawn_picture(storage, story.draft.title, story.category) for story in titles]
    for number in range(count):
        yield made_story(number, pictures[(number - count + cards) % cards])


def plain_variant(storage: Path | None, width: int, name: str, sha: str) -> Variant:
    """A variant that is no picture, in ``storage`` or else at an address of its own."""
    key = f"img/{sha}/{width}.{name}"
    url = f"https://pictures.example/{key}?w={width}&q=80"
    if storage is not None:
        url = _stored(storage, key, f"{name} {width} {sha}".encode()).as_uri()
    return Variant(width=width, height=width * 2 // 3, format=name, key=key, url=url, bytes=9)  # type: ignore[arg-type]


def plain_picture(storage: Path | None, sha: str = "ab" * 32, **changes: Any) -> StoryImage:
    """A picture of two widths in three formats."""
    variants = tuple(
        plain_variant(storage, width, name, sha) for width in (480, 1200) for name in ("avif", "webp", "jpeg")
    )
    facts: dict[str, Any] = {
        "story_id": "s",
        "provider": "openverse",
        "source_url": "https://photos.example/7",
        "creator": "Ines Calder",
        "creator_url": "https://photos.example/ines",
        "licence": LICENCE,
        "credit": "“Kettle” by Ines Calder",
        "alt_text": "A kettle on a sill",
        "sha256": sha,
        "width": 1200,
        "height": 800,
        "placeholder": HASH,
        "variants": variants,
    }
    return StoryImage(**{**facts, **changes})


def kettle_story(storage: Path | None, number: int = 1, **changes: Any) -> PublishedStory:
    """A short story whose every text is known."""
    draft = Draft(
        title=f"The kettle that whistled in B flat, part {number}",
        dek="A flat share tunes its mornings.",
        sections=(
            Section(kind="opening", text="It started on a Monday.\n\nNobody owned a piano."),
            Section(kind="excerpt", text="I swear it is in tune with the lift."),
            Section(kind="closing", heading="And then", text="They bought a second kettle."),
        ),
        quotes=(Quote(text="Harmony costs twenty pounds.", comment_id="c0ffee", section=1),),
        tags=("kettles", "music"),
    )
    facts: dict[str, Any] = {
        "story_id": f"t{number}",
        "slug": f"the-kettle-{number}",
        "draft": draft,
        "category": Category(slug="home", name="Home", description="Indoors.", colour="#15703a"),
        "persona": Persona(slug="mo", name="Mo Tarn", byline="By Mo Tarn, awake early", voice="plain"),
        "image": plain_picture(storage),
        "source_url": "https://www.reddit.com/r/flatshare/comments/abc123/",
        "subreddit": "flatshare",
        "writer": "openai",
        "model": "model-x",
        "score": 8.7,
        "published_at": NOON + timedelta(hours=number),
        "updated_at": NOON + timedelta(hours=number),
    }
    return PublishedStory(**{**facts, **changes})


def redrafted(base: PublishedStory, **changes: Any) -> PublishedStory:
    """The story with other text."""
    draft = Draft.model_validate({**base.draft.model_dump(), **changes})
    return PublishedStory.model_validate({**base.model_dump(), "draft": draft.model_dump()})


def varied_placeholder(number: int) -> str:
    """A placeholder of its own: a well-formed ThumbHash with other waves."""
    raw = bytearray(base64.b64decode(HASH + "=" * (-len(HASH) % 4)))
    raw[5:] = random.Random(number).randbytes(len(raw) - 5)
    return base64.b64encode(raw).decode()


def page(target: Path, path: str) -> str:
    """A page of the current version."""
    return (target / "current" / path).read_text(encoding="utf-8")


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its path."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.data: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.data.append(data)

    def of(self, tag: str) -> list[dict[str, str]]:
        """The attributes of each element of a kind."""
        return [attributes for name, attributes in self.found if name == tag]
