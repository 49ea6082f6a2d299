"""Whether edited copies are told from other stories on the same subject, and what a look-up costs as stories add up.

A throw-away embedded PostgreSQL is filled with signatures of made-up word sets that share words as often as the
stories of ``tests/corpora`` do. A copy that was caught has the original above the bound among what the store finds.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from random import Random
from string import ascii_lowercase
from typing import TYPE_CHECKING

import sqlalchemy as sa

from threadjuice_dagster.database.schema import migrate
from threadjuice_dagster.database.server import embedded_url
from threadjuice_dagster.database.store import Store, open_store
from threadjuice_dagster.domain.judging.originality import (
    HASHES,
    MAX_SIMILARITY,
    bands,
    signature,
    similarity,
)
from threadjuice_dagster.domain.language.text import paragraphs, sentences

if TYPE_CHECKING:
    import numpy

TESTS = Path(__file__).parents[1] / "tests"
SIZES = (1_000, 100_000)
LOOKUPS = 60
VOCABULARY, TELLING = 6_000, 90
"""Words that stories draw from, common ones more often, and how many different ones a story tells of its subject."""

EDITS = {
    "10 % of words changed": (0.1, 0.0, False),
    "20 % of words changed": (0.2, 0.0, False),
    "30 % of words changed": (0.3, 0.0, False),
    "20 % changed to strange words": (0.2, 0.0, True),
    "30 % changed to strange words": (0.3, 0.0, True),
    "a third of paragraphs dropped": (0.0, 0.34, False),
    "20 % changed, a third dropped": (0.2, 0.34, False),
}
"""Share of words changed and of paragraphs dropped, and whether the new words stand in no other story."""


def main() -> None:
    sys.path.insert(0, str(TESTS))
    originals = _originals()
    with tempfile.TemporaryDirectory(prefix="tj-", ignore_cleanup_errors=True) as folder:
        store = open_store(embedded_url(Path(folder)), 2)
        migrate(store.engine)
        signed = {f"original-{i}": signature(text) for i, text in enumerate(originals)}
        _publish(store, signed.items())
        costs, filled = [], len(signed)
        for size in SIZES:
            _publish(store, _made_up(filled, size))
            filled = size
            costs.append(_lookup_cost(store, size))
        print(f"originality: ratio of look-ups {costs[1] / costs[0]:.1f}")
        for line in _caught(store, originals):
            print(f"originality: {line}")
    others = [similarity(signature(a), signature(b)) for a, b in combinations(originals, 2)]
    alarms = sum(one >= MAX_SIMILARITY for one in others)
    print(f"originality: false alarms {alarms} of {len(others)} pairs, highest similarity {max(others):.2f}")


def _originals() -> list[str]:
    """The different stories of the corpora, and the extractive writer's."""
    from corpora.inventions import sound
    from corpora.stories import HALVES, stories

    written = [story.text for half in HALVES for story in stories(half)]
    composed = [draft.text for half in HALVES for draft, _, framing in sound(half) if framing]
    return list(dict.fromkeys((*written, *composed)))


def _made_up(start: int, end: int) -> Iterator[tuple[str, bytes]]:
    """Signatures of word sets drawn by rank; their runs are shared by nobody."""
    import numpy as np

    chance = np.random.default_rng(start)
    weights = 1 / (np.arange(VOCABULARY) + 60)
    table = np.random.default_rng(7).integers(0, 2**32, (VOCABULARY, HASHES), dtype=np.uint32)
    for number in range(start, end):
        words = chance.choice(VOCABULARY, TELLING, replace=False, p=weights / weights.sum())
        runs: numpy.ndarray = chance.integers(0, 2**32, HASHES, dtype=np.uint32)
        yield f"made-up-{number}", table[words].min(axis=0).tobytes() + runs.tobytes()


def _publish(store: Store, signed: Iterator[tuple[str, bytes]]) -> None:
    """Put signatures in as published stories, past the rows a real story also has."""
    with store.engine.begin() as connection:
        connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
        cursor = connection.connection.cursor()
        columns = "story_id, title, writer, model, prompt_version, record, signature, bands, written_at"
        stories, names = f"COPY stories ({columns}) FROM STDIN", []
        with cursor.copy(stories) as copy:
            for name, one in signed:
                names.append(name)
                copy.write_row((name, name, "-", "-", "1", "{}", one, list(bands(one)), "2026-03-01"))
        columns = "story_id, slug, category, score, record, published_at, updated_at"
        with cursor.copy(f"COPY publications ({columns}) FROM STDIN") as copy:
            for name in names:
                copy.write_row((name, name, "-", 9.0, "{}", "2026-03-01", "2026-03-01"))
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE stories, publications"))


def _lookup_cost(store: Store, size: int) -> float:
    """Median seconds from a new story's signature to how alike it is to published ones."""
    seconds, found = [], []
    for _, one in _made_up(size + SIZES[-1], size + SIZES[-1] + LOOKUPS):
        start = time.perf_counter()
        found.append(len(_alike(store, one)))
        seconds.append(time.perf_counter() - start)
    cost = statistics.median(seconds)
    print(
        f"originality: look-up among {size:>7,} stories {cost * 1000:.1f} ms, {statistics.mean(found):.0f} candidates"
    )
    return cost


def _alike(store: Store, signed: bytes) -> dict[str, float]:
    found = store.stories_alike(list(bands(signed)), excluding="")
    return {name: similarity(signed, other) for name, other in found}


def _caught(store: Store, originals: list[str]) -> Iterator[str]:
    known = " ".join(originals).split()
    for kind, (share, dropped, strange) in EDITS.items():
        chance = Random(kind)
        spare = ["".join(chance.choices(ascii_lowercase, k=7)) for _ in range(100_000)] if strange else known
        copies = [_edited(text, share, dropped, spare, chance) for text in originals]
        scores = [_alike(store, signature(copy)).get(f"original-{i}", 0.0) for i, copy in enumerate(copies)]
        caught = sum(score >= MAX_SIMILARITY for score in scores)
        yield f"{kind:<30} {caught:>3} of {len(copies)} caught, median similarity {statistics.median(scores):.2f}"


def _edited(text: str, share: float, dropped: float, spare: list[str], chance: Random) -> str:
    """The story without some paragraphs, its sentences in another order, words replaced by other stories'."""
    told = paragraphs(text)
    kept = chance.sample(told, max(1, round(len(told) * (1 - dropped))))
    lines = [line for paragraph in kept for line in sentences(paragraph)]
    found = " ".join(chance.sample(lines, len(lines))).split()
    return " ".join(chance.choice(spare) if chance.random() < share else word for word in found)
