"""Imported stories: what each came from, how far each file got, and a status of stories that nobody has checked yet."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BEFORE = "'assigned', 'running', 'published', 'rejected', 'held', 'withdrawn', 'failed'"


def upgrade() -> None:
    allow_statuses(f"{BEFORE}, 'imported'")
    op.create_table(
        "imports",
        sa.Column("story_id", sa.Text(), nullable=False),
        sa.Column("digest", postgresql.BYTEA(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("wanted", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(
            ["story_id"], ["assignments.story_id"], name=op.f("imports_story_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("story_id", name=op.f("imports_pkey")),
    )
    op.create_table(
        "import_files",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("counts", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("rejects_bytes", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("import_files_pkey")),
    )


def downgrade() -> None:
    op.drop_table("import_files")
    op.drop_table("imports")
    op.execute("UPDATE assignments SET status = 'held' WHERE status = 'imported'")
    allow_statuses(BEFORE)


def allow_statuses(listed: str) -> None:
    """The old check goes and the new one comes in one statement, and is held against the rows in the same lock."""
    name, safe = "assignments_status_check", "-- squawk-ignore ban-drop-constraint, constraint-missing-not-valid\n"
    change = f"DROP CONSTRAINT {name}, ADD CONSTRAINT {name} CHECK (status IN ({listed}))"
    op.execute(f"{safe}ALTER TABLE assignments {change}")
