"""The stories of a UTC day and what calls to a model cost on it; any day can be read again later.

What the figures come to belongs in ``operations/monitoring/generation_rules.py``.
"""

from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING

import sqlalchemy as sa

from threadjuice_dagster.operations.monitoring.errors_store import span_of

if TYPE_CHECKING:
    import pandas as pd

MOST = 20_000
"""Stories of a day that are looked at, the newest ones."""

_STORIES = """
WITH happened AS (
    SELECT story_id, 'published' AS outcome, published_at AS at, '{}'::jsonb AS reasons
    FROM publications WHERE published_at >= :start AND published_at < :end
    UNION ALL
    SELECT story_id, substr(kind, 7), at, coalesce(detail -> 'gates', '{}') FROM events
    WHERE kind IN ('story_rejected', 'story_held') AND at >= :start AND at < :end
    UNION ALL
    SELECT story_id, CASE kind WHEN 'unsuitable' THEN 'rejected' ELSE 'failed' END, at,
        jsonb_build_object(CASE kind WHEN 'unsuitable' THEN 'can_be_written' ELSE kind || ' in ' || asset END, message)
    FROM pipeline_errors WHERE story_id IS NOT NULL AND kind <> 'usage' AND at >= :start AND at < :end
), newest AS (SELECT DISTINCT ON (story_id) * FROM happened ORDER BY story_id, at DESC)
SELECT n.story_id, n.outcome, n.at, ARRAY(SELECT jsonb_object_keys(n.reasons)) AS reasons, a.category, a.persona,
    coalesce(nullif(s.model, ''), 'none') AS model, a.run_id, s.written_at, q.scored_at, q.overall AS score, i.chosen_at
FROM newest n JOIN assignments a USING (story_id) LEFT JOIN stories s USING (story_id)
LEFT JOIN quality_scores q USING (story_id) LEFT JOIN images i USING (story_id)
WHERE a.thread_id IS NOT NULL ORDER BY n.at DESC LIMIT :most
"""
_USAGE = """
SELECT story_id, purpose, sum(requests)::bigint AS requests, sum(input_tokens)::bigint AS input_tokens,
    sum(output_tokens)::bigint AS output_tokens, sum(cost_usd) AS cost_usd
FROM model_usage WHERE at >= :start AND at < :end GROUP BY story_id, purpose
"""
_SPENT = """
SELECT d.day, coalesce(sum(u.cost_usd), 0) AS cost_usd
FROM (SELECT CAST(:day AS date) - ago AS day FROM generate_series(0, :before) ago) d
LEFT JOIN model_usage u ON u.at >= CAST(d.day AS timestamp) AT TIME ZONE 'UTC'
    AND u.at < CAST(d.day + 1 AS timestamp) AT TIME ZONE 'UTC'
GROUP BY 1 ORDER BY 1
"""  # days are counted as numbers: a session's time zone may have days without a midnight
STEPS = {"write": "written_at", "judge": "scored_at", "picture": "chosen_at", "publish": "at"}
"""A story's steps, and the column of the moment each one ended."""


def stories_of_day(engine: sa.Engine, day: date) -> "pd.DataFrame":
    """The stories written from threads that were published, rejected, held or failed on a day: each once, as it ended.

    Columns as in the query, and ``cost_usd`` and ``tokens`` of what was used for the story on that day.
    """
    stories = _frame(engine, _STORIES, {**span_of(day), "most": MOST})
    usage = usage_of_day(engine, day)
    usage["tokens"] = usage["input_tokens"] + usage["output_tokens"]
    sums = usage.groupby("story_id")[["cost_usd", "tokens"]].sum()
    found = stories.join(sums, on="story_id").fillna({"cost_usd": 0.0, "tokens": 0})
    return found.astype({"tokens": "int64", "cost_usd": "float64"})


def usage_of_day(engine: sa.Engine, day: date) -> "pd.DataFrame":
    """What was asked of models on a day, by story and purpose."""
    usage = _frame(engine, _USAGE, span_of(day))
    kinds = {"requests": "int64", "input_tokens": "int64", "output_tokens": "int64", "cost_usd": "float64"}
    return usage.astype(kinds)


def spent_by_day(engine: sa.Engine, day: date, before: int) -> list[float]:
    """US dollars of a day and of so many days before it, oldest first."""
    with engine.connect() as connection:
        rows = connection.execute(sa.text(_SPENT), {"day": day, "before": before})
        return [float(row.cost_usd) for row in rows]


def with_seconds(stories: "pd.DataFrame", began: Mapping[str, datetime]) -> "pd.DataFrame":
    """The stories with the ``seconds`` of each step and in all; ``began`` tells when runs did, by run id.

    Only a published story has times: others ended somewhere in between. A step that was not done anew in the newest
    run has none either.
    """
    import pandas as pd

    before = pd.to_datetime(stories["run_id"].map(dict(began)), utc=True)
    published = stories["outcome"] == "published"
    found = stories.assign(seconds=_seconds(pd.to_datetime(stories["at"], utc=True), before).where(published))
    for step, column in STEPS.items():
        after = pd.to_datetime(stories[column], utc=True)
        found[step] = _seconds(after, before).where(published)
        before = after
    return found


def _seconds(after: "pd.Series[pd.Timestamp]", before: "pd.Series[pd.Timestamp]") -> "pd.Series[float]":
    taken = (after - before).dt.total_seconds()
    return taken.where(taken >= 0)


def _frame(engine: sa.Engine, query: str, values: Mapping[str, object]) -> "pd.DataFrame":
    import pandas as pd

    with engine.connect() as connection:
        result = connection.execute(sa.text(query), values)
        return pd.DataFrame([tuple(row) for row in result], columns=list(result.keys()))
