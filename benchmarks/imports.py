"""Bulk import against a raw COPY of the same rows into the same tables, and what memory it takes at two sizes.

Goals: at least 4,000 stories a second, at most 3 times the raw COPY, at most 300 MB resident and no more for many
stories than for few. ``python -m benchmarks.imports 1000000`` adds a size.
"""

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from threadjuice_dagster.database.catalogue import Catalogue

SIZES = (10_000, 200_000)
TABLES = ("assignments", "stories", "imports")
NOUNS = (
    "fence",
    "kettle",
    "council",
    "train",
    "letter",
    "window",
    "ladder",
    "street",
    "garden",
    "paper",
    "table",
    "lamp",
)
VERBS = ("moved", "left", "found", "carried", "painted", "borrowed", "returned", "opened", "kept", "counted", "mended")


def write_file(path: Path, count: int) -> None:
    """JSON lines of stories of five sections and about 300 words each, 2.5 kB a story."""
    rng = random.Random(count)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            file.write(json.dumps(make_story(rng, number), ensure_ascii=False) + "\n")


def make_story(rng: random.Random, number: int) -> dict[str, object]:
    sections = [{"kind": "narrative", "heading": sentence(rng, 2), "text": text(rng)} for _ in range(5)]
    named = {"title": f"{sentence(rng, 2)} {number}", "slug": f"story-{number}", "dek": sentence(rng, 3)}
    return {**named, "category": "neighbours", "author": "Zoë Reuter", "tags": ["fences", "tea"], "sections": sections}


def text(rng: random.Random) -> str:
    return " ".join(sentence(rng, 3) for _ in range(5))


def sentence(rng: random.Random, clauses: int) -> str:
    told = " and ".join(f"the {rng.choice(NOUNS)} {rng.choice(VERBS)} {rng.randrange(90)}" for _ in range(clauses))
    return f"{told.capitalize()}."


def measure(count: int) -> None:
    """One size, in this process: prints a line of figures as JSON."""
    from threadjuice_dagster.database.schema import migrate
    from threadjuice_dagster.database.server import embedded_url
    from threadjuice_dagster.database.store import Store, open_store
    from threadjuice_dagster.operations.imports.store import import_files

    with tempfile.TemporaryDirectory(prefix="tj-bench-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        write_file(folder / "stories.jsonl", count)
        store: Store = open_store(embedded_url(folder), 2)
        migrate(store.engine)
        Catalogue(store.engine).seed()
        began = time.perf_counter()
        summary = import_files(store, [folder / "stories.jsonl"], folder / "rejects")
        seconds = time.perf_counter() - began
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        assert summary.imported == count, summary
        copied = copy_again(store, folder)
        print(json.dumps({"rate": count / seconds, "ratio": seconds / copied, "memory": memory}))
        store.locks.close()
        store.engine.dispose()


def copy_again(store: object, folder: Path) -> float:
    """Seconds a COPY of all rows takes into the emptied tables, in one transaction."""
    connection = store.engine.raw_connection().driver_connection  # type: ignore[attr-defined]
    for table in TABLES:
        with _copied(folder, table).open("wb") as file, connection.cursor().copy(f"COPY {table} TO STDOUT") as copy:
            for block in copy:
                file.write(block)
    connection.execute("TRUNCATE assignments CASCADE")
    connection.commit()
    began = time.perf_counter()
    for table in TABLES:
        with (
            _copied(folder, table).open("rb") as file,
            connection.cursor().copy(f"COPY {table} FROM STDIN") as copy,
        ):
            while block := file.read(256 << 10):
                copy.write(block)
    connection.commit()
    return time.perf_counter() - began


def _copied(folder: Path, table: str) -> Path:
    return folder / f"{table}.copy"


def main() -> None:
    sizes = (*SIZES, *map(int, filter(str.isdigit, sys.argv[1:])))
    for count in sizes:
        code = f"from benchmarks.imports import measure; measure({count})"
        done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        found = json.loads(done.stdout.splitlines()[-1])
        print(
            f"imports: {count:>9,} stories  {found['rate']:,.0f} a second (goal 4,000), "
            f"{found['ratio']:.2f} x raw COPY (goal at most 3), {found['memory']:.0f} MB resident (goal at most 300)"
        )


if __name__ == "__main__":
    main()
