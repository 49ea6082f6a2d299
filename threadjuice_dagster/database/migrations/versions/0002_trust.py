"""Decisions that nobody can rewrite, verdicts held for a person, tombstones of what was deleted at its source."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'audit is append-only'; END $$;
CREATE TRIGGER audit_rows_stay BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER audit_stays BEFORE TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("story_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_pkey")),
    )
    op.create_index(op.f("audit_story_id_idx"), "audit", ["story_id"])
    op.execute(APPEND_ONLY)
    op.create_table(
        "tombstones",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("remains", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("cleared_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", name=op.f("tombstones_pkey")),
    )
    op.add_column("gate_verdicts", sa.Column("held", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.add_column("threads", sa.Column("expired_at", sa.DateTime(timezone=True), nullable=True))
    # No version that runs beside this one writes a story without a thread.
    op.execute("-- squawk-ignore ban-drop-not-null\nALTER TABLE assignments ALTER COLUMN thread_id DROP NOT NULL")


def downgrade() -> None:
    op.execute("DELETE FROM assignments WHERE thread_id IS NULL")
    op.alter_column("assignments", "thread_id", nullable=False)
    op.drop_column("threads", "expired_at")
    op.drop_column("gate_verdicts", "held")
    op.drop_table("tombstones")
    op.drop_table("audit")
    op.execute("DROP FUNCTION refuse_change()")
