"""Threads of many sources: the place each was found in, orders for one source, and the limits of services."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

INDEX = "threads_unused_idx"


def upgrade() -> None:
    op.add_column("threads", sa.Column("spec", sa.Text(), server_default="", nullable=False))
    op.alter_column("threads", "subreddit", server_default="")
    op.add_column("orders", sa.Column("source", sa.Text(), server_default="", nullable=False))
    op.create_table(
        "source_limits",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("requests", sa.Integer(), server_default="0", nullable=False),
        sa.Column("quota_left", sa.Integer(), nullable=True),
        sa.Column("quota_most", sa.Integer(), nullable=True),
        sa.Column("paused_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("service", name=op.f("source_limits_pkey")),
    )
    _replace_index("threads (spec, engagement DESC) WHERE NOT used")


def downgrade() -> None:
    _replace_index("threads (engagement DESC) WHERE NOT used")
    op.drop_table("source_limits")
    op.drop_column("orders", "source")
    op.alter_column("threads", "subreddit", server_default=None)
    op.drop_column("threads", "spec")


def _replace_index(columns: str) -> None:
    op.execute(f"-- squawk-ignore require-concurrent-index-deletion\nDROP INDEX {INDEX}")
    op.execute(f"-- squawk-ignore require-concurrent-index-creation\nCREATE INDEX {INDEX} ON {columns}")
