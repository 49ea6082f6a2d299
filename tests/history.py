"""A newsroom's year, written by SQL within a few seconds: for tests of whatever reads more than a first day.

Everything is told apart by number: story ``n`` is of the day ``n / 4`` days ago, and its status by ``n % 20``. What a
day, a backup or an incident comes to can so be worked out by the tests that ask for it.
"""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import sqlalchemy as sa
from makers import make_draft, make_publication, make_score, make_thread
from newsstand import drawn_picture

from threadjuice_dagster.database.catalogue import Catalogue
from threadjuice_dagster.database.store import Store
from threadjuice_dagster.domain.judging.gates import GATES, GateFinding

DAYS, A_DAY = 365, 4
STORIES = DAYS * A_DAY
ERRORS_A_DAY = 6
INCIDENTS, OPEN = 900, 30
CENTS = {"write": 3, "judge": 2, "moderate": 1}
"""What each story's calls to a model cost, by purpose."""

_STATUS = {3: "rejected", 5: "held", 7: "withdrawn", 9: "failed", 11: "rejected"}
"""Of story ``n`` by ``n % 20``; the others are published."""

_STATUS_SQL = "CASE n % 20 " + " ".join(f"WHEN {n} THEN '{name}'" for n, name in _STATUS.items())
_STATUS_SQL += " ELSE 'published' END"

_FILL = f"""
CREATE TEMP TABLE base AS SELECT a.*, th.record AS thread, s.record AS story, s.signature, q.record AS score,
    i.record AS image, i.sha256, p.record AS publication, p.slug
FROM assignments a JOIN threads th ON th.id = a.thread_id JOIN stories s USING (story_id)
JOIN quality_scores q USING (story_id) JOIN images i USING (story_id) JOIN publications p USING (story_id);

CREATE TEMP TABLE numbered AS
SELECT n, 'y' || n AS id, 'year-' || n AS story_id, 'a-year-' || n AS slug, {_STATUS_SQL} AS status,
    now() - (n / {A_DAY}) * interval '24 hours' AS at FROM generate_series(1, {STORIES} - 1) n;

INSERT INTO threads (id, source, subreddit, title, permalink, engagement, num_comments, digest, record, fetched_at)
SELECT id, 'samples', 'stairs', 'Thread ' || n, 'https://www.reddit.com/r/x/comments/' || id, n % 97, 2, id,
    jsonb_set(base.thread, '{{id}}', to_jsonb(id)), at FROM numbered, base;
INSERT INTO orders (id, count, max_attempts, closed_at, created_at)
SELECT 'order-' || day, {A_DAY}, 12, at, at
FROM (SELECT day, now() - day * interval '24 hours' AS at FROM generate_series(0, {DAYS} - 1) day) d;
INSERT INTO assignments (story_id, thread_id, category, persona, order_id, status, run_id, runs, error, created_at,
    updated_at)
SELECT m.story_id, m.id, base.category, base.persona, 'order-' || n / {A_DAY}, m.status, 'run-' || n, 1,
    CASE m.status WHEN 'failed' THEN '{{"kind": "permanent", "message": "Broken.", "next_step": ""}}'::jsonb END,
    at, at FROM numbered m, base;
INSERT INTO stories (story_id, title, writer, model, prompt_version, record, signature, bands, written_at)
SELECT m.story_id, 'A year ' || n, 'extractive', 'extractive', '1',
    jsonb_set(base.story, '{{story_id}}', to_jsonb(m.story_id)), base.signature, ARRAY[n::bigint], at
FROM numbered m, base;
INSERT INTO quality_scores (story_id, overall, record, scored_at)
SELECT m.story_id, 9, jsonb_set(base.score, '{{story_id}}', to_jsonb(m.story_id)), at FROM numbered m, base;
INSERT INTO gate_verdicts (story_id, gate, passed, message, held, decided_at)
SELECT m.story_id, gate, m.status NOT IN ('rejected', 'held') OR gate <> 'is_appropriate', 'said', m.status = 'held', at
FROM numbered m, unnest(CAST(:gates AS text[])) gate;
INSERT INTO images (story_id, provider, source_id, sha256, record, chosen_at)
SELECT m.story_id, 'title_card', '', base.sha256, jsonb_set(base.image, '{{story_id}}', to_jsonb(m.story_id)), at
FROM numbered m, base;
INSERT INTO image_variants (story_id, width, format, height, key, url, bytes)
SELECT m.story_id, width, format, height, key, url, bytes FROM numbered m, base JOIN image_variants v USING (story_id);
INSERT INTO publications (story_id, slug, category, score, record, published_at, updated_at, withdrawn_at)
SELECT m.story_id, m.slug, base.category, 9,
    base.publication
        || jsonb_build_object('story_id', m.story_id, 'slug', m.slug, 'published_at', at, 'updated_at', at),
    at, at, CASE m.status WHEN 'withdrawn' THEN at END
FROM numbered m, base WHERE m.status IN ('published', 'withdrawn');

INSERT INTO events (kind, story_id, detail, at)
SELECT 'story_' || status, story_id,
    CASE WHEN status IN ('rejected', 'held') THEN '{{"gates": {{"is_appropriate": "rude"}}}}'
    ELSE '{{}}' END::jsonb, at FROM numbered WHERE status <> 'failed';
INSERT INTO audit (story_id, action, actor, reason, at)
SELECT story_id, 'withdraw', 'ann', 'Outdated.', at FROM numbered WHERE status = 'withdrawn';
INSERT INTO pipeline_errors (run_id, asset, kind, message, next_step, fingerprint, at)
SELECT 'run-' || day, 'story_draft', (ARRAY['transient', 'permanent', 'usage'])[1 + number % 3], 'Broken ' || cause,
    'Mend it.', 'cause-' || cause, now() - day * interval '24 hours'
FROM (SELECT day, number, (day * {ERRORS_A_DAY} + number) % 90 AS cause
      FROM generate_series(0, {DAYS} - 1) day, generate_series(1, {ERRORS_A_DAY}) number) e ORDER BY day DESC;
INSERT INTO model_usage (story_id, run_id, purpose, model, requests, input_tokens, output_tokens, cost_usd, at)
SELECT story_id, 'run-' || n, purpose, 'gpt', 1, 100, 10, cents / 100.0, at
FROM numbered, jsonb_each_text(CAST(:cents AS jsonb)) AS c (purpose, said), LATERAL (SELECT said::float AS cents) d;
INSERT INTO engagement (story_id, day, event, count, dropped, minute, in_minute)
SELECT story_id, (at AT TIME ZONE 'UTC')::date + later, event, 12 - later, 0, at, 1
FROM publications m, generate_series(0, 3) later, unnest('{{view,depth:25,depth:100,share:link}}'::text[]) event
CROSS JOIN LATERAL (SELECT published_at AS at) d WHERE (at AT TIME ZONE 'UTC')::date + later <= :today;

INSERT INTO backups (id, key, taken_at, sha256, bytes, encrypted, run_id, proven_at, problem, deleted_at)
SELECT name, 'backups/' || name || '/dump.zst', at, 'x', 9, false, 'run-' || day, CASE WHEN day % 10 <> 9 THEN at END,
    CASE WHEN day % 10 = 9 THEN 'It was altered.' ELSE '' END, CASE WHEN day > 30 THEN at END
FROM (SELECT day, now() - day * interval '24 hours' AS at FROM generate_series(0, {DAYS} - 1) day) d,
LATERAL (SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24MISS"Z"') || '-' || lpad(day::text, 8, '0') AS name) b;
INSERT INTO deployments (place, platform_id, version, state, run_id, url, probes, built_at, created_at)
SELECT :place, 'deployment-' || day, 'v' || day, CASE WHEN day = 0 THEN 'live'
    ELSE (ARRAY['superseded', 'superseded', 'failed', 'rolled_back', 'interrupted', 'deleted'])[1 + day % 6] END,
    'run-' || day, '', '[]', at, at
FROM (SELECT day, now() - day * interval '24 hours' AS at FROM generate_series({DAYS} - 1, 0, -1) day) d;
INSERT INTO deployment_steps (deployment, run_id, name, state, seconds, at)
SELECT number, run_id, name, 'done', 1, created_at
FROM deployments, unnest('{{stage,smoke_test,promote,validate}}'::text[]) name;

INSERT INTO incidents (cause, source, open, record, last_at)
SELECT cause, source, open, jsonb_build_object('cause', cause, 'open', open, 'episode', 1 + number % 9,
    'told', CASE WHEN open THEN 'error' END, 'count', number, 'first_at', at - interval '1 hour', 'last_at', at,
    'trouble', jsonb_build_object('cause', cause, 'source', source, 'title', 'Trouble ' || number, 'message', 'Broken.',
        'next_step', 'Mend it.', 'asset', CASE WHEN source IN ('run', 'check') THEN 'story_draft' ELSE '' END,
        'job', 'story_job', 'at', at)), at
FROM (SELECT number, source, source || ':' || number AS cause, number <= {OPEN} AS open,
          now() - (number % {DAYS}) * interval '24 hours' AS at
      FROM generate_series(1, {INCIDENTS}) number,
      LATERAL (SELECT (ARRAY['run', 'check', 'tick', 'freshness', 'duration', 'outage', 'key'])[1 + number % 7])
          AS s (source)
     ) i;
INSERT INTO alerts (id, record, attempts, problem, due_at, created_at, delivered_at)
SELECT cause || kind, jsonb_build_object('id', cause || kind, 'kind', kind, 'incident', record), 1,
    CASE WHEN (record ->> 'count')::int <= 2 THEN 'The webhook answered 503.' ELSE '' END, last_at, last_at,
    CASE WHEN (record ->> 'count')::int > 2 THEN last_at END
FROM incidents, unnest('{{alert,recovery}}'::text[]) kind;
INSERT INTO tombstones (kind, id, reason, remains, cleared_at, at)
SELECT 'thread', 'gone-' || n, 'deleted', '{{}}', now(), now() - n * interval '24 hours' FROM generate_series(1, 360) n;
INSERT INTO import_files (digest, name, records, counts, rejects_bytes, finished_at, at)
SELECT 'file-' || n, n || '.jsonl', 10, '{{}}', 0, now(), now() - n * interval '7 days' FROM generate_series(1, 50) n;
DELETE FROM events WHERE story_id = (SELECT story_id FROM base);
DELETE FROM assignments WHERE story_id = (SELECT story_id FROM base);
ANALYZE;
"""


def status_of(number: int) -> str:
    """What became of a story."""
    return _STATUS.get(number % 20, "published")


def statuses(days: int = DAYS) -> Counter[str]:
    """How many stories of the newest days there are of each status."""
    return Counter(status_of(number) for number in range(1, days * A_DAY))


def live_a_year(store: Store, cdn: Path, place: str) -> datetime:
    """Fill an empty newsroom with a year that ends at the moment returned.

    All stories share one picture, whose files are in ``cdn``; deployments are those of ``place``.
    """
    store.save_threads([make_thread("abc1")])
    (story,) = store.assign(store.open_order(1, None, None, 9))
    category = Catalogue(store.engine).categories()[0]
    image = drawn_picture(cdn, "A card", category).model_copy(update={"story_id": story.story_id})
    store.claim(story.story_id, "run")
    for model in (make_draft(story.story_id), make_score(story.story_id), image):
        store.save(model)
    store.record_verdicts(story.story_id, {gate: GateFinding(True, "fine") for gate in GATES})
    store.save(make_publication(store, story.story_id).model_copy(update={"image": image}))
    values = {"gates": list(GATES), "cents": json.dumps(CENTS), "place": place, "today": datetime.now(UTC).date()}
    with store.engine.begin() as connection:
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        for statement in filter(str.strip, _FILL.split(";\n")):
            connection.execute(sa.text(statement), {name: values[name] for name in values if f":{name}" in statement})
        return connection.scalar(sa.text("SELECT now()")).astimezone(UTC)


def measured(instance: dg.DagsterInstance, sizes: int = 40) -> None:
    """Let Dagster know what ``database_health`` found on each of the days before today: day by day a megabyte less."""
    for day in range(sizes, 0, -1):
        event = dg.AssetMaterialization(
            "database_health",
            partition=f"{datetime.now(UTC) - timedelta(days=day):%Y-%m-%d}",
            metadata={"size MB": 100.0 - day},
        )
        instance.report_runless_asset_event(event)
