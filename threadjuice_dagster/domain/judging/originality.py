"""Whether a story is new: how close it is to published ones, and how much of it the source wrote.

A signature is two MinHashes: one of the words that tell of the subject, which stay when a text is edited and whose
bands let a table find neighbours at flat cost; one of three-word runs, which tell a copy from another story on the same
subject. Looking neighbours up belongs in ``database/``; whether quotes are exact in ``domain/judging/grounding.py``.
"""

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from threadjuice_dagster.domain.language.lexicon import lexicon
from threadjuice_dagster.domain.language.text import WORD, cut, folded_words, runs
from threadjuice_dagster.domain.language.wording import quoted_spans
from threadjuice_dagster.domain.story.stories import Draft
from threadjuice_dagster.domain.story.threads import Thread

HASHES = 128
"""Of words and of runs each."""

WORD_ROWS, RUN_ROWS = 4, 2
"""Hashes in a band: 32 bands of words, 64 of runs.

A copy with 30 % of its words changed keeps 0.56 of its words and 0.18 of its runs, and shares a band with probability
0.99; where all that was put in is strange to it, 0.33 of its words and 0.92. Two stories by chance share 0.03 of their
words and 0.001 of their runs: 0.0002 (``benchmarks/originality.py``).
"""

RUN = 3
SEED = 20_231

SIGNATURE_VERSION = 1
"""Stored with each signature, since only signatures of one version can be compared.

Raise it with every change that gives a text another signature: of ``rensa``, whose digests differ between its minor
versions, of the words that are common, or of the numbers above. Then ``threadjuice database resign`` has to run.
"""

MAX_SIMILARITY = 0.42
"""Similarity from which a story repeats another: 0.62 with 10 % of the words changed, 0.44 with 20 % (medians).

Of stories on other threads those of one writer who frames them alike come nearest: up to 0.40.
"""

MAX_COPIED_WORDS = 40

_SHORT, _STEM = 4, 8
_LEAST_RUN = 5
_BREAK = "\0"
_TOKENS = re.compile(f"{_BREAK}|{WORD.pattern}")


def signature(text: str) -> bytes:
    """The two MinHashes of a text: twice 128 unsigned 32-bit integers, little-endian; empty for one without words."""
    words = folded_words(text)
    if not words:
        return b""
    common = lexicon().common
    telling = {word.removesuffix("'s")[:_STEM] for word in words if len(word) >= _SHORT and word not in common}
    repeated = {" ".join(run) for run in runs(words, min(RUN, len(words)))}
    return _minhash(telling or set(words)) + _minhash(repeated)


def similarity(a: bytes, b: bytes) -> float:
    """Return how alike two signed texts are, 0 to 1: the geometric mean of the estimated Jaccard of words and of runs.

    It is 0 when either is empty or of another size.
    """
    return nearest(a, {"other": b}).similarity


class Neighbour(NamedTuple):
    """The story that another one is most like, and how like it is, 0 to 1; no story and 0 where none is near."""

    story_id: str = ""
    similarity: float = 0.0


def nearest(own: bytes, others: Mapping[str, bytes]) -> Neighbour:
    """Return the most similar of the signed stories (id to signature), by the same measure as ``similarity``."""
    import numpy as np

    comparable = {story_id: signed for story_id, signed in others.items() if own and len(signed) == len(own)}
    if not comparable:
        return Neighbour()
    table = np.frombuffer(b"".join(comparable.values()), dtype="<u4").reshape(len(comparable), 2, HASHES)
    shares = (table == np.frombuffer(own, dtype="<u4").reshape(2, HASHES)).mean(axis=2)
    similarities = np.sqrt(shares.prod(axis=1))
    best = int(similarities.argmax())
    return Neighbour(list(comparable)[best], float(similarities[best])) if similarities[best] else Neighbour()


def bands(signed: bytes) -> tuple[int, ...]:
    """The signature's 96 band hashes, signed 64-bit: stories sharing one are worth comparing."""
    half = len(signed) // 2
    return (*_bands(signed[:half], WORD_ROWS), *_bands(signed[half:], RUN_ROWS))


def longest_copied_run(draft: Draft, thread: Thread) -> tuple[int, str]:
    """The longest run of the source's words in the writer's own text: its length in words and the text.

    Quotes, excerpts and quoted spans do not count. Runs of fewer than five words are reported as none.
    """
    text = own_text(draft)
    spots = list(_TOKENS.finditer(text))
    own = [spot.group().casefold().replace("’", "'") for spot in spots]
    sources = [folded_words(re.sub(r"[*_~]", "", source)) for source in thread.texts]
    seeds = {run for source in sources for run in runs(source, _LEAST_RUN)}
    their_words = "\n".join(f" {' '.join(source)} " for source in sources)
    best, at = 0, 0
    for i in range(len(own) - _LEAST_RUN + 1):
        if tuple(own[i : i + _LEAST_RUN]) not in seeds:
            continue
        size = max(best + 1, _LEAST_RUN)
        while i + size <= len(own) and f" {' '.join(own[i : i + size])} " in their_words:
            best, at, size = size, i, size + 1
    return (best, text[spots[at].start() : spots[at + best - 1].end()]) if best else (0, "")


def own_text(draft: Draft) -> str:
    """The narration with every quoted span blanked out, so that no run reaches across one."""
    text = draft.narration
    for match in reversed(list(quoted_spans(text))):
        text = f"{text[: match.start()]} {_BREAK} {text[match.end() :]}"
    return text


def originality_problem(draft: Draft, thread: Thread | None, neighbour: Neighbour, excerpting: bool) -> str | None:
    """Return in one line why the draft is not original enough to publish, or None.

    ``neighbour`` is the most similar published story. ``excerpting`` says that the writer's declared method is to
    excerpt the source.
    """
    if neighbour.similarity >= MAX_SIMILARITY:
        bound = f"similarity {neighbour.similarity:.2f}, refused from {MAX_SIMILARITY:.2f}"
        return f"The story repeats {neighbour.story_id or 'a published story'} ({bound}); tell another one."
    if thread is None or excerpting:
        return None
    length, run = longest_copied_run(draft, thread)
    if length > MAX_COPIED_WORDS:
        return f"{length} words in a row are the source's own, outside quotes: “{cut(run, 120)}”. Retell or quote them."
    return None


def _minhash(features: Iterable[str]) -> bytes:
    from rensa import RMinHash

    minhash = RMinHash(num_perm=HASHES, seed=SEED)
    minhash.update(sorted(features))
    return struct.pack(f"<{HASHES}I", *minhash.digest())


def _bands(hashes: bytes, rows: int) -> Iterator[int]:
    for start in range(0, len(hashes), 4 * rows):
        salt = f"{rows}:{start}".encode()
        digest = hashlib.blake2b(hashes[start : start + 4 * rows], digest_size=8, salt=salt).digest()
        yield int.from_bytes(digest, "little", signed=True)
