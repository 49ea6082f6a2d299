"""Whether a story is new: how close it is to published ones, and how much of it the source wrote.

Signatures are MinHash over three-word shingles; their bands let a table find neighbours at flat cost.
Looking neighbours up belongs in ``database/``; whether quotes are exact in ``domain/grounding.py``.
"""

import hashlib
import re
import struct

from threadjuice_dagster.domain.grounding import quoted_spans
from threadjuice_dagster.domain.stories import Draft
from threadjuice_dagster.domain.text import WORD, cut, folded_words, runs
from threadjuice_dagster.domain.threads import Thread

PERMUTATIONS = 128
SHINGLE = 3
SEED = 20_231
BANDS = 32
"""32 bands of 4 rows: two stories of Jaccard 0.5 share a band with probability 0.87, of 0.7 with 0.9998."""

MAX_SIMILARITY = 0.5
MAX_COPIED_WORDS = 40

_LEAST_RUN = 5
_BREAK = "\0"
_TOKENS = re.compile(f"{_BREAK}|{WORD.pattern}")


def signature(text: str) -> bytes:
    """The MinHash of a text: 128 unsigned 32-bit integers, little-endian; empty for a text without words."""
    from rensa import RMinHash

    found = folded_words(text)
    if not found:
        return b""
    minhash = RMinHash(num_perm=PERMUTATIONS, seed=SEED)
    minhash.update(sorted({" ".join(run) for run in runs(found, min(SHINGLE, len(found)))}))
    return struct.pack(f"<{PERMUTATIONS}I", *minhash.digest())


def similarity(a: bytes, b: bytes) -> float:
    """The estimated Jaccard similarity of two signed texts, 0 to 1; 0 when either is empty or of another size."""
    if not a or len(a) != len(b):
        return 0.0
    left, right = (memoryview(side).cast("I") for side in (a, b))
    return sum(x == y for x, y in zip(left, right, strict=True)) / len(left)


def bands(signed: bytes) -> tuple[int, ...]:
    """The signature's 32 band hashes, signed 64-bit: stories sharing one are worth comparing."""
    size = len(signed) // BANDS
    return tuple(_band(signed[i * size : (i + 1) * size], i) for i in range(BANDS)) if size else ()


def longest_copied_run(draft: Draft, thread: Thread) -> tuple[int, str]:
    """The longest run of the source's words in the writer's own text: its length in words and the text.

    Quotes, excerpts and quoted spans do not count. Runs of fewer than five words are reported as none.
    """
    text = own_text(draft)
    spots = list(_TOKENS.finditer(text))
    own = [spot.group().casefold().replace("’", "'") for spot in spots]
    sources = [folded_words(re.sub(r"[*_~]", "", source)) for source in thread.texts]
    seeds = {run for source in sources for run in runs(source, _LEAST_RUN)}
    told = "\n".join(f" {' '.join(source)} " for source in sources)
    best, at = 0, 0
    for i in range(len(own) - _LEAST_RUN + 1):
        if tuple(own[i : i + _LEAST_RUN]) not in seeds:
            continue
        size = max(best + 1, _LEAST_RUN)
        while i + size <= len(own) and f" {' '.join(own[i : i + size])} " in told:
            best, at, size = size, i, size + 1
    return (best, text[spots[at].start() : spots[at + best - 1].end()]) if best else (0, "")


def own_text(draft: Draft) -> str:
    """The narration with every quoted span blanked out, so that no run reaches across one."""
    text = draft.narration
    for match in reversed(list(quoted_spans(text))):
        text = f"{text[: match.start()]} {_BREAK} {text[match.end() :]}"
    return text


def originality_problem(
    draft: Draft, thread: Thread | None, nearest_id: str, nearest: float, excerpting: bool
) -> str | None:
    """Why the draft is not original enough to publish, in one line, or None.

    ``nearest`` is the highest estimated Jaccard similarity with another published story, named by
    ``nearest_id``. ``excerpting`` says that the writer's declared method is to excerpt the source.
    """
    if nearest >= MAX_SIMILARITY:
        return f"The story repeats {nearest_id or 'a published story'}: {nearest:.0%} of its phrases are the same."
    if thread is None or excerpting:
        return None
    length, run = longest_copied_run(draft, thread)
    if length > MAX_COPIED_WORDS:
        return f"{length} words in a row are the source's own, outside quotes: “{cut(run, 120)}”. Retell or quote them."
    return None


def _band(rows: bytes, index: int) -> int:
    digest = hashlib.blake2b(rows, digest_size=8, salt=index.to_bytes(2, "little")).digest()
    return int.from_bytes(digest, "little", signed=True)
