"""A backup against plain ``pg_dump | zstd`` of the same database, and what it takes of memory.

Goals: at most 1.15 times the wall time, at most 150 MB above the process whatever the size of the database. The plain
dump and ours take turns, so that a busy machine is unkind to both. ``python -m benchmarks.backup 800`` sets the size
in MB.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

SIZE = 200
ROUNDS = 7
ROW = 1490  # bytes of a row on disk, near enough
KEYS = {"plain": "", "encrypted": "AGE-SECRET-KEY-1DTSTRF232DQV2X0FDRHZWX6EQE2WFDLTZUDGZ79SCST3SUKW3XSQ80JA6C"}
FILL = """
INSERT INTO threads (id, source, subreddit, title, permalink, engagement, num_comments, digest, record)
SELECT 'b' || i, 'file', 'bench', 'A fence ' || i, '', i, 3, md5(i::text), jsonb_build_object('id', 'b' || i, 'body', (
    SELECT string_agg('the ' || md5((i * 20 + j)::text) || ' moved a metre while nobody looked', ' ')
    FROM generate_series(1, 16) j))
FROM generate_series(1, {rows}) i
"""


def measure(key: str, folder: str, url: str) -> None:
    """One backup and its proof, in this process: prints a line of figures as JSON."""
    from threadjuice_dagster.operations.backups.backup_storage import BackupStorage
    from threadjuice_dagster.operations.backups.dump import take_backup
    from threadjuice_dagster.operations.backups.restore import prove
    from threadjuice_dagster.resources.encryption import Encryptor
    from threadjuice_dagster.resources.storage import FolderStorage

    before = resident()
    backup_storage = BackupStorage(FolderStorage(root=folder), Encryptor(key))
    began = time.perf_counter()
    manifest = take_backup(backup_storage, url, datetime.now(UTC))
    seconds = time.perf_counter() - began
    proof = prove(backup_storage, url, manifest.id, datetime.now(UTC))
    assert not proof.problem, proof
    figures = {"seconds": seconds, "memory": resident() - before, "proof": proof.seconds, "bytes": manifest.bytes}
    print(json.dumps(figures))
    backup_storage.delete(manifest.id)


def resident() -> float:
    """The most this process ever held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def plain(url: str, target: Path) -> float:
    """Seconds of ``pg_dump -Fc -Z0 | zstd``; the packaged pg_dump has no zstd of its own."""
    import sqlalchemy as sa

    from threadjuice_dagster.database.tools import find_tool

    began = time.perf_counter()
    with (
        target.open("wb") as file,
        find_tool("pg_dump", "18.0").running(sa.make_url(url), "-Fc", "-Z0") as dump,
        subprocess.Popen(["zstd", "-q", "-c"], stdin=dump.stdout, stdout=file) as zstd,
    ):
        assert dump.stdout
        dump.stdout.close()
        assert not zstd.wait()
    return time.perf_counter() - began


def ours(key: str, folder: Path, url: str) -> dict[str, float]:
    code = "import sys; from benchmarks.backup import measure; measure(*sys.argv[1:])"
    done = subprocess.run([sys.executable, "-c", code, key, str(folder), url], check=True, stdout=subprocess.PIPE)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    import sqlalchemy as sa

    from threadjuice_dagster.database.schema import migrate
    from threadjuice_dagster.database.server import embedded_url

    size = int(next(filter(str.isdigit, sys.argv[1:]), SIZE))
    with tempfile.TemporaryDirectory(prefix="tj-bench-", ignore_cleanup_errors=True) as name:
        url = embedded_url(Path(name))
        engine = sa.create_engine(url, poolclass=sa.NullPool)
        migrate(engine)
        with engine.begin() as connection:
            connection.exec_driver_sql(FILL.format(rows=size * 1_000_000 // ROW))
            bytes_there = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar()
        print(f"backup: a database of {bytes_there / 1e6:,.0f} MB")  # type: ignore[operator]
        rounds = [
            (
                plain(url, Path(name) / "plain.zst"),
                {kind: ours(key, Path(name) / "vault", url) for kind, key in KEYS.items()},
            )
            for _ in range(ROUNDS)
        ]
        stored = (Path(name) / "plain.zst").stat().st_size
    print(f"backup: {'pg_dump | zstd':<14} {statistics.median(one for one, _ in rounds):.2f} s, {stored / 1e6:.0f} MB")
    for kind in KEYS:
        found = [one[kind] for _, one in rounds]
        ratio = statistics.median(one[kind]["seconds"] / base for base, one in rounds)
        seconds, proof = (statistics.median(one[name] for one in found) for name in ("seconds", "proof"))
        memory = max(one["memory"] for one in found)
        print(
            f"backup: {kind:<14} {seconds:.2f} s, {found[0]['bytes'] / 1e6:.0f} MB, ratio {ratio:.2f} (goal at most "
            f"1.15), {memory:.0f} MB of memory (goal at most 150); proven in {proof:.1f} s"
        )


if __name__ == "__main__":
    main()
