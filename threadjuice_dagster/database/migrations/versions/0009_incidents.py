"""Incidents and the messages on them, outages of outside services, and keys by when they were first seen."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "incidents",
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("open", sa.Boolean(), nullable=False),
        sa.Column("record", JSONB(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("cause", name=op.f("incidents_pkey")),
    )
    op.create_index("incidents_open_idx", "incidents", ["source"], postgresql_where=sa.text("open"))
    op.create_table(
        "alerts",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("record", JSONB(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("problem", sa.Text(), nullable=False, server_default=""),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("delivered_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("number", name=op.f("alerts_pkey")),
        sa.UniqueConstraint("id", name=op.f("alerts_id_key")),
    )
    op.create_index("alerts_waiting_idx", "alerts", ["number"], postgresql_where=sa.text("delivered_at IS NULL"))
    op.create_table(
        "alert_positions",
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("position", JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("stream", name=op.f("alert_positions_pkey")),
    )
    op.create_table(
        "outages",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("service", name=op.f("outages_pkey")),
    )
    op.create_table(
        "keys_seen",
        sa.Column("variable", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.PrimaryKeyConstraint("variable", name=op.f("keys_seen_pkey")),
    )


def downgrade() -> None:
    for table in ("keys_seen", "outages", "alert_positions", "alerts", "incidents"):
        op.drop_table(table)
