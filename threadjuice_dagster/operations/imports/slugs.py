"""Makes the slugs of imported stories, now and as they were made before.

The slugs of other stories belong in ``domain/language/text.py``.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable

from threadjuice_dagster.domain.language.text import slugify

MAX_SLUG = 120
"""Characters of a story's slug. A digest replaces what is cut off."""

_LETTER = re.compile(r"[^\W_]")
_THOUSANDS = re.compile(r"\d,\d")
_TELLING = re.compile(r"[+#%$@*=<>^~|\\]")
"""Characters that a slug drops although titles may differ by them alone: C, C# and C++."""


def slug_for(slug: str, title: str, make: Callable[[str, int], str] = slugify) -> str:
    """Return a story's slug, made of the one given or of its title. Different texts get different slugs.

    A digest is added where the slug does not show all of the text: letters and signs of other scripts, and what is
    cut off.
    """
    wanted = slug or title
    plain = make(wanted, MAX_SLUG)
    whole = wanted.isascii() and (bool(slug) or not _TELLING.search(wanted))
    whole = (whole and bool(_LETTER.search(wanted))) or (not slug and len(plain) > 20 and _only_accents(wanted))
    if whole and len(wanted) <= MAX_SLUG:
        return plain
    return f"{plain[: MAX_SLUG - 9].rstrip('-')}-{hashlib.sha256(wanted.encode()).hexdigest()[:8]}"


def earlier_slug_for(slug: str, title: str) -> str:
    """Return the slug that ``slug_for`` gave before "—" parted words and other scripts were spelled in Latin letters.

    Stories stored under such a slug keep it, and importing them again updates them.
    """
    return slug_for(slug, title, earlier_slugify)


def earlier_slugify(text: str, limit: int) -> str:
    """Return what ``slugify`` returned when it left out every character that is not ASCII."""
    if text.isascii() and not _THOUSANDS.search(text):
        return slugify(text, limit)
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.replace("'", "")).strip("-")
    if len(slug) > limit:
        slug = slug[: limit + 1].rsplit("-", 1)[0][:limit].strip("-")
    return slug or "story"


def _only_accents(text: str) -> bool:
    """Whether a slug shows all of a text: beyond ASCII it has only accents, dashes and quotes, and no telling sign."""
    left = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    return not _TELLING.search(left) and all(char.isascii() or char in "–—‘’“”…«»„ " for char in left)
