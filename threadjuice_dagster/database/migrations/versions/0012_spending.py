"""What calls to a model cost each UTC day, and what is reserved for those under way; today's so far is taken over."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "model_spending",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("spent_usd", sa.Float(), server_default="0", nullable=False),
        sa.Column("reserved_usd", sa.Float(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("model_spending_pkey")),
    )
    op.execute(
        "INSERT INTO model_spending (day, spent_usd) SELECT (now() AT TIME ZONE 'UTC')::date, sum(cost_usd)"
        " FROM model_usage WHERE at >= date_trunc('day', now(), 'UTC') HAVING count(*) > 0"
    )


def downgrade() -> None:
    op.drop_table("model_spending")
