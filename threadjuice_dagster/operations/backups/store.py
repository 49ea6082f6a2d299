"""The database's side of backups: the history of those taken, and the figures a backup is compared by."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from threadjuice_dagster.database import tables as t
from threadjuice_dagster.database.engine import lone_engine
from threadjuice_dagster.database.schema import current_revision
from threadjuice_dagster.database.server import app_url
from threadjuice_dagster.operations.backups.rules import Contents, Manifest, Proof, Record, TableContents

OUR_TABLES = (*t.metadata.tables, "alembic_version")
"""The tables a backup holds. Others in the same database may be huge, or not readable for us."""

_HASHED = (
    "boolean,smallint,integer,bigint,real,double precision,numeric,text,character varying,character,bytea,date,uuid,"
    "jsonb,timestamp with time zone,timestamp without time zone,interval,text[],integer[],bigint[]"
)
"""Types whose hash covers the whole value and is equal on all servers. Values of other types are hashed as text: the
hash of an enum, for instance, is of a number that each database assigns anew."""

_TABLES = """
SELECT format('%I.%I', n.nspname, c.relname) AS name, coalesce(string_agg(
    format(CASE WHEN format_type(a.atttypid, NULL) = ANY(string_to_array(:hashed, ','))
        THEN '%I' ELSE '%I::text' END, a.attname),
    ', ' ORDER BY a.attnum) FILTER (WHERE a.attname IS NOT NULL), '') AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind = 'r' AND n.nspname = current_schema() AND (c.relname = ANY(:only) OR :only IS NULL)
GROUP BY n.nspname, c.relname ORDER BY 1
"""


class BackupHistory:
    """The table of backups: when each was taken, and what its restores showed."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add(self, manifest: Manifest, run_id: str | None = None) -> None:
        """Record a backup, unless it is recorded already."""
        row = {
            **manifest.model_dump(include={"id", "key", "taken_at", "sha256", "bytes"}),
            "encrypted": bool(manifest.recipient),
            "run_id": run_id,
        }
        with self._engine.begin() as connection:
            connection.execute(insert(t.backups).values(row).on_conflict_do_nothing())

    def add_proof(self, identity: str, proof: Proof) -> None:
        """Record what a restore showed, beside the evidence of earlier ones."""
        evidence = sa.func.jsonb_build_array(sa.cast(proof.model_dump(mode="json"), t.backups.c.evidence.type))
        values = {
            "proven_at": None if proof.problem else proof.at,
            "problem": proof.problem,
            "evidence": t.backups.c.evidence.op("||")(evidence),
        }
        with self._engine.begin() as connection:
            connection.execute(t.backups.update().where(t.backups.c.id == identity).values(values))

    def mark_deleted(self, identity: str) -> None:
        """Record that a backup is no longer in storage."""
        values = {"deleted_at": sa.func.now()}
        with self._engine.begin() as connection:
            connection.execute(t.backups.update().where(t.backups.c.id == identity).values(values))

    def find_by_run(self, run_id: str) -> str | None:
        """Return the id of the backup that a run took last."""
        columns = t.backups.c
        query = sa.select(columns.id).where(columns.run_id == run_id).order_by(columns.taken_at.desc()).limit(1)
        with self._engine.connect() as connection:
            return connection.scalar(query)

    def records(self) -> dict[str, Record]:
        """Return the record of each backup ever taken, by its id."""
        columns = [t.backups.c[name] for name in Record.model_fields]
        with self._engine.connect() as connection:
            rows = connection.execute(sa.select(t.backups.c.id, *columns))
            return {row.id: Record.model_validate(row._mapping) for row in rows}

    def copy_from(self, former: sa.Engine) -> None:
        """Take over the history of the database that a restore replaces: both share one storage."""
        with former.connect() as source:
            rows = [dict(row._mapping) for row in source.execute(sa.select(t.backups))]
        upsert = insert(t.backups)
        changes = {column.name: upsert.excluded[column.name] for column in t.backups.c if not column.primary_key}
        with self._engine.begin() as connection:
            if rows:
                connection.execute(upsert.on_conflict_do_update(index_elements=["id"], set_=changes), rows)


def read_records(address: str) -> dict[str, Record] | None:
    """Return a database's records of backups; None where there is no database yet, or no history in it."""
    try:
        return BackupHistory(lone_engine(app_url(address))).records() or None
    except sa.exc.DBAPIError:
        return None


def read_contents(connection: sa.Connection, only: Sequence[str] | None = None) -> Contents:
    """Return the migration of a database, and rows and digests of all tables or only of some."""
    tables = {}
    for name, columns in connection.execute(sa.text(_TABLES), {"hashed": _HASHED, "only": only and list(only)}).all():
        query = f"SELECT count(*), coalesce(sum(hash_record_extended(ROW({columns}), 0)), 0) FROM ONLY {name}"  # noqa: S608
        rows, digest = connection.exec_driver_sql(query.replace("%", "%%")).one()
        tables[name] = TableContents(rows=rows, digest=str(digest))
    return Contents(revision=current_revision(connection), tables=tables)
