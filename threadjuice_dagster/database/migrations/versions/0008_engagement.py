"""What readers did, counted by story, day and event."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "engagement",
        sa.Column("story_id", sa.Text(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("dropped", sa.BigInteger(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("in_minute", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["story_id"], ["assignments.story_id"], name=op.f("engagement_story_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("story_id", "day", "event", name=op.f("engagement_pkey")),
    )
    op.create_index(op.f("engagement_day_idx"), "engagement", ["day"])


def downgrade() -> None:
    op.drop_table("engagement")
