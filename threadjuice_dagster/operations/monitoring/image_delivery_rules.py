"""Pictures as readers get them: which answers are wrong, and whether an encoder and a page do what they should.

How pictures are fetched belongs in ``operations/monitoring/image_delivery.py``.
"""

import re
from collections.abc import Iterable, Sequence

from threadjuice_dagster.domain.model import Model
from threadjuice_dagster.domain.pictures.images import (
    CONTENT_TYPES,
    FAST,
    Format,
    drawn_picture,
    encode_variants,
    read_picture,
    variant_widths,
)
from threadjuice_dagster.domain.pictures.title_card import draw_title_card
from threadjuice_dagster.operations.findings import Finding, first_problem
from threadjuice_dagster.site.markup import Page, PagePicture

CACHED_FOR = 30 * 86_400
"""Seconds a picture whose address names its content may be cached at least; ours say a year, and ``immutable``."""

SLOW_MS = 1500.0
"""Milliseconds to the first byte, of the slowest but one in twenty, that a reader notices."""

FORMATS: tuple[Format, ...] = ("avif", "webp", "jpeg")

_RUNBOOK = "image-loading-problems"
_SWEEP = "Run: threadjuice maintenance optimize"
_AGE = re.compile(r"max-age=(\d+)")


class Delivered(Model):
    """One fetched variant. ``status`` is 0 where nothing answered, and ``place`` cdn, provider or storage.

    ``recorded`` is the size that was stored, 0 where nobody knows; ``problem`` says why nothing came.
    """

    story: str
    place: str
    width: int
    format: Format
    status: int
    content_type: str = ""
    cache_control: str = ""
    first_byte_ms: float = 0.0
    bytes: int = 0
    recorded: int = 0
    found: str = ""
    problem: str = ""

    @property
    def wrong(self) -> str:
        """What a reader would notice; empty for a picture as it should be."""
        if self.status != 200:
            return self.problem or f"it answers {self.status}"
        if self.found != self.format:
            return f"its bytes are {self.found or 'no picture'}"
        if self.place != "storage" and self.content_type.partition(";")[0].strip() != CONTENT_TYPES[self.format]:
            return f"it is called {self.content_type or 'nothing'}"
        if self.recorded and self.bytes != self.recorded:
            return f"it has {self.bytes} bytes, not {self.recorded}"
        return ""

    @property
    def is_cacheable(self) -> bool:
        """Whether caches may keep it; storage has no say in that, nor have we in what a provider sends."""
        if self.place != "cdn" or self.status != 200:
            return True
        age = _AGE.search(self.cache_control)
        return bool(age and int(age[1]) >= CACHED_FOR and "immutable" in self.cache_control)


def sniffed(data: bytes) -> str:
    """The format that a file's first bytes are of; empty for any other than ours."""
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return "avif" if data[4:12] in (b"ftypavif", b"ftypavis") else ""


def missing(width: int, recorded: Iterable[tuple[int, str]]) -> list[tuple[int, Format]]:
    """The variants that a picture of this width should have and has not."""
    known = set(recorded)
    return [(size, kind) for size in variant_widths(width) for kind in FORMATS if (size, kind) not in known]


def delivery_findings(delivered: Sequence[Delivered], lacking: int) -> list[Finding]:
    """Whether pictures arrive as what they are, and caches may keep them; ``lacking`` variants were never made."""
    wrong = [one for one in delivered if one.wrong]
    named = "; ".join(f"{one.story} {one.width} {one.format}: {one.wrong}" for one in wrong[:3])
    slow = _slowest(delivered)
    uncached = [one for one in delivered if not one.is_cacheable]
    message = f"{len(delivered)} files were fetched." if delivered else "No story with a picture is public yet."
    kept = uncached[0].cache_control or "nothing" if uncached else ""
    return [
        first_problem(
            "pictures_are_delivered",
            _RUNBOOK,
            message,
            ("failed", bool(wrong), f"{len(wrong)} of {len(delivered)} are wrong: {named}", _look(wrong)),
            ("warning", lacking > 0, f"{lacking} variants were never made.", _SWEEP),
            ("warning", slow > SLOW_MS, f"The first byte takes {slow:.0f} ms.", "Look at the CDN's status and region."),
        ),
        first_problem(
            "pictures_are_cacheable",
            _RUNBOOK,
            "Caches may keep every picture that is ours.",
            (
                "warning",
                bool(uncached),
                f"{len(uncached)} of {len(delivered)} may not be kept for long: Cache-Control is {kept}.",
                "Let the CDN pass Cache-Control on as it is in storage: public, max-age=31536000, immutable.",
            ),
        ),
    ]


def encoding_finding(quality: int) -> Finding:
    """Whether a card can be drawn, encoded in every format and width, and read back."""
    card = drawn_picture(draw_title_card("A card to see that cards can be drawn", "Deployment", "#2f5d8a"))
    encoded = encode_variants(card, quality, FAST).variants
    formats = ", ".join(sorted({variant.format for variant in encoded}))
    message = ""
    for variant in encoded:
        read = read_picture(variant.data)
        if (read.width, read.height) != (variant.width, variant.height) or sniffed(variant.data) != variant.format:
            message = f"A {variant.format} {variant.width} pixels wide came back as {read.width} by {read.height}."
    good = f"{len(encoded)} files were drawn and read back: {formats}."
    step = "Install the package again, with the Pillow it asks for."
    return first_problem("image_optimization", _RUNBOOK, good, ("failed", bool(message), message, step))


def page_findings(pages: Sequence[str]) -> list[Finding]:
    """Whether pages load pictures lazily, save the first one, and have a JPEG for browsers that know nothing else."""
    pictures = [picture for page in pages for picture in Page(page).pictures() if picture.has_formats]
    eager = sum(not picture.is_lazy for picture in pictures)
    bare = sum(not (picture.has_size and _is_plain(picture)) for picture in pictures)
    step = "Build the site again: threadjuice deploy build"
    message = f"{len(pictures)} pictures on {len(pages)} pages"
    return [
        first_problem(
            "lazy_loading",
            _RUNBOOK,
            f"{message}: {len(pictures) - eager} wait until they are scrolled to.",
            ("warning", eager > len(pages), f"{message}: {eager} are loaded at once.", step),
        ),
        first_problem(
            "fallback_pictures",
            _RUNBOOK,
            f"{message}: each has a JPEG for a browser that knows nothing better, and its size.",
            ("warning", bare > 0, f"{message}: {bare} have no JPEG or no size.", step),
        ),
    ]


def _is_plain(picture: PagePicture) -> bool:
    """Whether a browser that knows no newer format can show it."""
    source = picture.fallback.partition("?")[0]
    return bool(source) and not source.startswith("data:") and not source.endswith((".avif", ".webp"))


def _slowest(delivered: Sequence[Delivered]) -> float:
    """Milliseconds to the first byte, of the slowest but one in twenty."""
    times = sorted(one.first_byte_ms for one in delivered if one.place != "storage")
    return times[int(0.95 * (len(times) - 1))] if times else 0.0


def _look(wrong: Sequence[Delivered]) -> str:
    """What mends pictures that do not arrive."""
    if all(one.status == 0 for one in wrong):
        return "Check IMAGE_CDN_URL, and the CDN's own status page."
    return _SWEEP if any(one.status in (403, 404) for one in wrong) else "Check what stands before the picture storage."
