"""How much of Dagster's own history is kept: finished runs that are old, and that nothing shows any more, go.

The ticks of schedules and sensors are pruned by Dagster itself (``retention`` in ``dagster.yaml``); the runs of a story
that leaves go with it (``forget_story``).
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import dagster as dg

from threadjuice_dagster.instance import delete_runs

BATCH = 200

_FINISHED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
_PARTITION = "dagster/partition"
_MADE = "ASSET_MATERIALIZATION"


def prune_runs(
    instance: dg.DagsterInstance,
    before: datetime,
    undecided: Callable[[Sequence[str]], set[str]],
    lives: Callable[[str], bool],
    limit: int,
) -> int:
    """Delete up to about ``limit`` runs that ended before, oldest first; returns how many.

    Runs stay that made the newest of an asset or partition, checked it last or tried it last: the UI shows those. So
    do runs of stories that ``undecided`` names, and runs whose process ``lives``.
    """
    finished = dg.RunsFilter(statuses=_FINISHED, updated_before=before)
    removed, cursor = 0, None
    while removed < limit:
        runs = [
            record.dagster_run
            for record in instance.get_run_records(finished, limit=BATCH, cursor=cursor, ascending=True)
        ]
        if not runs:
            break
        stories = undecided([run.tags[_PARTITION] for run in runs if _PARTITION in run.tags])
        shown = _shown(instance, [run.run_id for run in runs])
        kept = [
            run.run_id
            for run in runs
            if run.run_id in shown or run.tags.get(_PARTITION) in stories or lives(run.run_id)
        ]
        leaving = [run.run_id for run in runs if run.run_id not in kept]
        delete_runs(instance, leaving)
        removed += len(leaving)
        cursor = kept[-1] if kept else cursor
    return removed


def _shown(instance: dg.DagsterInstance, runs: Sequence[str]) -> set[str]:
    """Those of these runs that hold the newest word on an asset, a partition or a check."""
    import sqlalchemy as sa
    from dagster._core.storage.event_log import schema

    events, checks, last = schema.SqlEventLogStorageTable, schema.AssetCheckExecutionsTable, schema.AssetKeyTable
    newer, later = events.alias(), checks.alias()
    of_asset = (newer.c.asset_key == events.c.asset_key) & (newer.c.dagster_event_type == _MADE)
    replaced = sa.exists().where(of_asset, newer.c.id > events.c.id)
    made = sa.select(events.c.run_id).where(events.c.run_id.in_(runs), events.c.dagster_event_type == _MADE)
    of_check = (later.c.asset_key == checks.c.asset_key) & (later.c.check_name == checks.c.check_name)
    repeated = sa.exists().where(of_check, later.c.id > checks.c.id)
    queries = (
        made.where(events.c.partition.is_not(None), ~replaced.where(newer.c.partition == events.c.partition)),
        made.where(events.c.partition.is_(None), ~replaced.where(newer.c.partition.is_(None))),
        sa.select(checks.c.run_id).where(checks.c.run_id.in_(runs), ~repeated),
        sa.select(last.c.last_run_id).where(last.c.last_run_id.in_(runs)),
    )
    with instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]
        return {run for query in queries for run in connection.execute(query).scalars()}
