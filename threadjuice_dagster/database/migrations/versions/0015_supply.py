"""The supply of threads: which unused threads suit a story, and what the newest look at each place gave."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


INDEX = "orders_created_at_idx"


def upgrade() -> None:
    op.execute(f"-- squawk-ignore require-concurrent-index-creation\nCREATE INDEX {INDEX} ON orders (created_at)")
    op.add_column("threads", sa.Column("unsuitable", sa.Text(), nullable=True))
    op.create_table(
        "thread_places",
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("next_step", sa.Text(), nullable=False),
        sa.Column("read_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.PrimaryKeyConstraint("spec", name=op.f("thread_places_pkey")),
    )


def downgrade() -> None:
    op.drop_table("thread_places")
    op.drop_column("threads", "unsuitable")
    op.execute(f"-- squawk-ignore require-concurrent-index-deletion\nDROP INDEX {INDEX}")
