"""The history of deployments, and their steps as they happen."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

STATES = "'running', 'staged', 'live', 'superseded', 'rolled_back', 'failed', 'interrupted', 'deleted'"


def upgrade() -> None:
    op.create_table(
        "deployments",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("platform_id", sa.Text(), server_default="", nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), server_default="", nullable=False),
        sa.Column("probes", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("built_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint(f"state IN ({STATES})", name=op.f("deployments_state_check")),
        sa.PrimaryKeyConstraint("number", name=op.f("deployments_pkey")),
    )
    op.create_table(
        "deployment_steps",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("deployment", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="running", nullable=False),
        sa.Column("seconds", sa.Float(), server_default="0", nullable=False),
        sa.Column("message", sa.Text(), server_default="", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["deployment"],
            ["deployments.number"],
            name=op.f("deployment_steps_deployment_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("deployment_steps_pkey")),
    )
    op.create_index(op.f("deployments_platform_id_idx"), "deployments", ["platform_id"])
    op.create_index(op.f("deployments_run_id_idx"), "deployments", ["run_id"])
    op.create_index(op.f("deployment_steps_deployment_idx"), "deployment_steps", ["deployment"])
    op.create_index(op.f("deployment_steps_run_id_idx"), "deployment_steps", ["run_id"])


def downgrade() -> None:
    op.drop_table("deployment_steps")
    op.drop_table("deployments")
