"""The first tables: threads, assignments, stories, scores, pictures, publications, catalogue, events, errors."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "categories",
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("record", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("slug", name=op.f("categories_pkey")),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("story_id", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), server_default="newsroom", nullable=False),
        sa.Column("detail", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("events_pkey")),
    )
    op.create_index(op.f("events_kind_idx"), "events", ["kind", "at"], unique=False)
    op.create_index(op.f("events_story_id_idx"), "events", ["story_id"], unique=False)
    op.create_table(
        "model_usage",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("story_id", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.Column("input_tokens", sa.Integer(), nullable=False),
        sa.Column("output_tokens", sa.Integer(), nullable=False),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("model_usage_pkey")),
    )
    op.create_index(op.f("model_usage_story_id_idx"), "model_usage", ["story_id"], unique=False)
    op.create_table(
        "orders",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("category", sa.Text(), nullable=True),
        sa.Column("persona", sa.Text(), nullable=True),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("orders_pkey")),
    )
    op.create_table(
        "personas",
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("record", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("slug", name=op.f("personas_pkey")),
    )
    op.create_table(
        "pipeline_errors",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("asset", sa.Text(), nullable=False),
        sa.Column("story_id", sa.Text(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("next_step", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pipeline_errors_pkey")),
    )
    op.create_index(op.f("pipeline_errors_fingerprint_idx"), "pipeline_errors", ["fingerprint"], unique=False)
    op.create_index(op.f("pipeline_errors_run_id_idx"), "pipeline_errors", ["run_id"], unique=False)
    op.create_table(
        "rate_tickets",
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("service", "at", name=op.f("rate_tickets_pkey")),
    )
    op.create_table(
        "threads",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("subreddit", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("permalink", sa.Text(), nullable=False),
        sa.Column("engagement", sa.Float(), nullable=False),
        sa.Column("num_comments", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("record", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("fetched_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("threads_pkey")),
    )
    op.create_index(op.f("threads__idx"), "threads", [sa.literal_column("engagement DESC")], unique=False)
    op.create_table(
        "assignments",
        sa.Column("story_id", sa.Text(), nullable=False),
        sa.Column("thread_id", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("persona", sa.Text(), nullable=False),
        sa.Column("order_id", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), server_default="assigned", nullable=False),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("runs", sa.Integer(), server_default="0", nullable=False),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "status IN ('assigned', 'running', 'published', 'rejected', 'held', 'withdrawn', 'failed')",
            name=op.f("assignments_status_check"),
        ),
        sa.ForeignKeyConstraint(["category"], ["categories.slug"], name=op.f("assignments_category_fkey")),
        sa.ForeignKeyConstraint(["order_id"], ["orders.id"], name=op.f("assignments_order_id_fkey")),
        sa.ForeignKeyConstraint(["persona"], ["personas.slug"], name=op.f("assignments_persona_fkey")),
        sa.ForeignKeyConstraint(["thread_id"], ["threads.id"], name=op.f("assignments_thread_id_fkey")),
        sa.PrimaryKeyConstraint("story_id", name=op.f("assignments_pkey")),
        sa.UniqueConstraint("thread_id", name=op.f("assignments_thread_id_key")),
    )
    op.create_index(op.f("assignments_order_id_idx"), "assignments", ["order_id"], unique=False)
    op.create_index(op.f("assignments_status_idx"), "assignments", ["status"], unique=False)
    op.create_table(
        "gate_verdicts",
        sa.Column("story_id", sa.Text(), nullable=False),
        sa.Column("gate", sa.Text(), nullable=False),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("overridden_by", sa.Text(), nullable=True),
        sa.Column("override_reason", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["story_id"], ["assignments.story_id"], name=op.f("gate_verdicts_story_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("story_id", "gate", name=op.f("gate_verdicts_pkey")),
    )
    op.create_table(
        "images",
        sa.Column("story_id", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("record", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("chosen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["story_id"], ["assignments.story_id"], name=op.f("images_story_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("story_id", name=op.f("images_pkey")),
    )
    op.create_index(op.f("images_sha256_idx"), "images", ["sha256"], unique=False)
    op.create_index("images_source_idx", "images", ["provider", "source_id"], unique=False)
    op.create_table(
        "publications",
        sa.Column("story_id", sa.Text(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("record", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("withdrawn_reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["category"], ["categories.slug"], name=op.f("publications_category_fkey")),
        sa.ForeignKeyConstraint(
            ["story_id"], ["assignments.story_id"], name=op.f("publications_story_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("story_id", name=op.f("publications_pkey")),
        sa.UniqueConstraint("slug", name=op.f("publications_slug_key")),
    )
    op.create_index(op.f("publications_category_idx"), "publications", ["category"], unique=False)
    op.create_index(op.f("publications_published_at_idx"), "publications", ["published_at"], unique=False)
    op.create_table(
        "quality_scores",
        sa.Column("story_id", sa.Text(), nullable=False),
        sa.Column("overall", sa.Float(), nullable=False),
        sa.Column("record", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["story_id"], ["assignments.story_id"], name=op.f("quality_scores_story_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("story_id", name=op.f("quality_scores_pkey")),
    )
    op.create_table(
        "stories",
        sa.Column("story_id", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("writer", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("prompt_version", sa.Text(), nullable=False),
        sa.Column("record", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("signature", postgresql.BYTEA(), nullable=False),
        sa.Column("bands", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["story_id"], ["assignments.story_id"], name=op.f("stories_story_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("story_id", name=op.f("stories_pkey")),
    )
    op.create_index("stories_bands_idx", "stories", ["bands"], unique=False, postgresql_using="gin")
    op.create_table(
        "image_variants",
        sa.Column("story_id", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("format", sa.Text(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("bytes", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["story_id"], ["images.story_id"], name=op.f("image_variants_story_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("story_id", "width", "format", name=op.f("image_variants_pkey")),
    )
    op.create_index(op.f("image_variants_key_idx"), "image_variants", ["key"], unique=False)


def downgrade() -> None:
    op.drop_index(op.f("image_variants_key_idx"), table_name="image_variants")
    op.drop_table("image_variants")
    op.drop_index("stories_bands_idx", table_name="stories", postgresql_using="gin")
    op.drop_table("stories")
    op.drop_table("quality_scores")
    op.drop_index(op.f("publications_published_at_idx"), table_name="publications")
    op.drop_index(op.f("publications_category_idx"), table_name="publications")
    op.drop_table("publications")
    op.drop_index("images_source_idx", table_name="images")
    op.drop_index(op.f("images_sha256_idx"), table_name="images")
    op.drop_table("images")
    op.drop_table("gate_verdicts")
    op.drop_index(op.f("assignments_status_idx"), table_name="assignments")
    op.drop_index(op.f("assignments_order_id_idx"), table_name="assignments")
    op.drop_table("assignments")
    op.drop_index(op.f("threads__idx"), table_name="threads")
    op.drop_table("threads")
    op.drop_table("rate_tickets")
    op.drop_index(op.f("pipeline_errors_run_id_idx"), table_name="pipeline_errors")
    op.drop_index(op.f("pipeline_errors_fingerprint_idx"), table_name="pipeline_errors")
    op.drop_table("pipeline_errors")
    op.drop_table("personas")
    op.drop_table("orders")
    op.drop_index(op.f("model_usage_story_id_idx"), table_name="model_usage")
    op.drop_table("model_usage")
    op.drop_index(op.f("events_story_id_idx"), table_name="events")
    op.drop_index(op.f("events_kind_idx"), table_name="events")
    op.drop_table("events")
    op.drop_table("categories")
