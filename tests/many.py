"""Many generated stories, put into the database by the database: for tests of query plans and ``benchmarks/scale.py``.

Rows are whole and their records valid; texts are short, since long ones are stored apart from their rows anyway.
"""

import sqlalchemy as sa
from makers import make_draft, make_image, make_score, make_thread

from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.domain.model import Model

BANDS = 96


def made(number: int) -> str:
    """Id of a story. Of a hundred, 0 to 74 are or were public, 75 to 86 rejected, 87 to 89 held, 90 to 93 failed."""
    return f"g{number:07d}-a-fence"


def made_bands(number: int) -> list[int]:
    """A story's bands, which no other has."""
    return [(number * BANDS + band) * 7919 for band in range(BANDS)]


_ID = "'g' || lpad(i::text, 7, '0') || '-a-fence'"
_THREAD = "'g' || lpad(i::text, 7, '0')"
_WHEN = "timestamptz '2024-01-01' + i * interval '1 minute'"
_ALL = f"FROM (SELECT i, i % 100 AS kind, {_ID} AS id, {_WHEN} AS at FROM generate_series(1, :count) i) one"
_WRITTEN = f"{_ALL} WHERE kind NOT IN (90, 91)"
_PUBLIC = f"{_ALL} WHERE kind < 75"
_FROM_THREAD = "i % 10 < 6"
_STATEMENTS = (
    f"""
INSERT INTO orders (id, count, max_attempts, closed_at, created_at)
SELECT 'order-' || i, 3, 9, {_WHEN}, {_WHEN} FROM generate_series(0, :count / 3) i
""",
    f"""
INSERT INTO threads (id, source, subreddit, title, permalink, engagement, num_comments, digest, record, expired_at,
    used)
SELECT {_THREAD}, 'reddit', 'x', '', '', 5000 + i % 997, 9, '', :old || jsonb_build_object('id', {_THREAD}), now(),
    true
{_ALL} WHERE {_FROM_THREAD}
""",
    """
INSERT INTO threads (id, source, subreddit, title, permalink, engagement, num_comments, digest, record)
SELECT 'u' || i, 'reddit', 'x', 'A fence', '', i % 997, 9, '', :thread || jsonb_build_object('id', 'u' || i)
FROM generate_series(1, 500) i
""",
    f"""
INSERT INTO assignments (story_id, thread_id, category, persona, order_id, status, run_id, error, created_at)
SELECT id, CASE WHEN {_FROM_THREAD} THEN {_THREAD} END, c.slugs[1 + i % cardinality(c.slugs)],
    p.slugs[1 + i % cardinality(p.slugs)], CASE WHEN {_FROM_THREAD} THEN 'order-' || i / 3 END,
    CASE WHEN kind < 70 THEN 'published' WHEN kind < 75 THEN 'withdrawn' WHEN kind < 87 THEN 'rejected'
         WHEN kind < 90 THEN 'held' WHEN kind < 94 THEN 'failed' ELSE 'imported' END,
    CASE WHEN {_FROM_THREAD} THEN md5(i::text) END,
    CASE WHEN kind BETWEEN 90 AND 93 THEN '{{"kind": "permanent", "message": "No.", "next_step": ""}}'::jsonb END, at
{_ALL}, (SELECT array_agg(slug) AS slugs FROM categories) c, (SELECT array_agg(slug) AS slugs FROM personas) p
""",
    "DELETE FROM story_counts",
    """
INSERT INTO story_counts (status, persona, stories) SELECT status, persona, count(*) FROM assignments GROUP BY 1, 2
""",
    f"""
INSERT INTO imports (story_id, digest, file, number, wanted, state)
SELECT id, '', 'file', i, 1, CASE WHEN kind < 90 THEN 2 ELSE 1 END {_ALL} WHERE NOT {_FROM_THREAD}
""",
    f"""
INSERT INTO stories (story_id, title, writer, model, prompt_version, record, signature, bands, written_at)
SELECT id, 'A fence ' || i, 'extractive', 'extractive', '1', :draft || jsonb_build_object('story_id', id),
    decode(repeat(md5(i::text), 16), 'hex'),
    ARRAY(SELECT (i::bigint * {BANDS} + band) * 7919 FROM generate_series(0, {BANDS - 1}) band), at
{_WRITTEN}
""",
    f"""
INSERT INTO quality_scores (story_id, overall, record, scored_at)
SELECT id, 9, :score || jsonb_build_object('story_id', id), at {_WRITTEN}
""",
    f"""
INSERT INTO gate_verdicts (story_id, gate, passed, message)
SELECT id, gate, kind < 75 OR kind >= 90 OR gate <> 'is_original', 'Fine.'
FROM (SELECT * {_WRITTEN}) one, unnest(CAST(:gates AS text[])) gate
""",
    f"""
INSERT INTO images (story_id, provider, source_id, sha256, record)
SELECT id, 'openverse', 'picture-' || i, md5(i::text), :image || jsonb_build_object('story_id', id) {_PUBLIC}
""",
    f"""
INSERT INTO image_variants (story_id, width, format, height, key, url, bytes)
SELECT id, 480, 'jpeg', 270, 'img/' || i || '/480.jpg', '', 9 {_PUBLIC}
""",
    f"""
INSERT INTO publications (story_id, slug, category, score, record, published_at, updated_at, withdrawn_at)
SELECT id, 'a-fence-' || i, c.slug, 9, :draft || jsonb_build_object('story_id', id), at, at,
    CASE WHEN kind >= 70 THEN at END
FROM (SELECT * {_PUBLIC}) one, (SELECT min(slug) AS slug FROM categories) c
""",
    f"INSERT INTO events (kind, story_id, at) SELECT 'story_published', id, at {_PUBLIC}",
    f"INSERT INTO audit (story_id, action, actor, reason) SELECT id, 'withdraw', 'mia', 'Why.' {_ALL} WHERE kind < 5",
    f"""
INSERT INTO model_usage (story_id, run_id, purpose, model, requests, input_tokens, output_tokens, cost_usd)
SELECT id, md5(i::text), 'write', 'm', 1, 9, 9, 0.01 {_WRITTEN} AND {_FROM_THREAD}
""",
    f"""
INSERT INTO pipeline_errors (run_id, asset, story_id, kind, message, next_step, fingerprint)
SELECT md5(i::text), 'story_draft', id, 'permanent', 'No.', '', 'f' {_ALL} WHERE kind BETWEEN 90 AND 93
""",
    f"""
INSERT INTO tombstones (kind, id, reason, remains, cleared_at)
SELECT 'thread', 'gone-' || i, 'deleted', '{{}}', now() {_ALL} WHERE kind >= 90
""",
)

_SETTINGS = (
    "session_replication_role = replica",
    "synchronous_commit = off",
    "maintenance_work_mem = '512MB'",
)


def fill(engine: sa.Engine, count: int) -> None:
    """Add ``count`` stories in every state but under way, 500 unused threads, and analyze the tables."""
    from threadjuice_dagster.domain.judging.gates import GATES

    thread = make_thread()
    records: dict[str, Model] = {
        "draft": make_draft("x"),
        "score": make_score("x"),
        "image": make_image("x"),
        "old": thread.without_text(),
        "thread": thread,
    }
    values = {name: record.model_dump(mode="json") for name, record in records.items()}
    types = [sa.bindparam(name, type_=sa.dialects.postgresql.JSONB) for name in records]
    unhurried = lone_engine(engine.url)
    with unhurried.begin() as connection:
        for setting in _SETTINGS:
            connection.exec_driver_sql(f"SET LOCAL {setting}")
        connection.exec_driver_sql("DROP INDEX stories_bands_idx")
        for statement in _STATEMENTS:
            text = sa.text(statement)
            known = [one for one in types if one.key in text._bindparams]
            wanted = {"count": count, "gates": list(GATES), **values}
            connection.execute(
                text.bindparams(*known), {name: value for name, value in wanted.items() if name in text._bindparams}
            )
        connection.exec_driver_sql("CREATE INDEX stories_bands_idx ON stories USING gin (bands)")
    with unhurried.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE")
