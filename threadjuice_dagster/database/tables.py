"""The newsroom's tables, as SQLAlchemy sees them. ``migrations/`` is what creates them."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, BYTEA, JSONB

from threadjuice_dagster.database.columns import catalogue_table, metadata, required, story_key, timestamp

STATUSES = ("assigned", "running", "published", "rejected", "held", "withdrawn", "failed", "imported")


categories, personas = catalogue_table("categories"), catalogue_table("personas")

threads = sa.Table(
    "threads",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *required(sa.Text, "source", "title", "permalink", "digest"),
    sa.Column("spec", sa.Text, nullable=False, server_default=""),
    # Only earlier versions, which may run beside this one during a deployment, write it.
    sa.Column("subreddit", sa.Text, nullable=False, server_default=""),
    sa.Column("engagement", sa.Float, nullable=False),
    sa.Column("num_comments", sa.Integer, nullable=False),
    sa.Column("record", JSONB, nullable=False),
    timestamp("fetched_at"),
    sa.Column("expired_at", sa.DateTime(timezone=True)),
    sa.Column("used", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("unsuitable", sa.Text),
    sa.Index("threads_unused_idx", "spec", sa.desc("engagement"), postgresql_where=sa.text("NOT used")),
    sa.Index("threads_fetched_at_idx", "fetched_at", postgresql_where=sa.text("expired_at IS NULL")),
)
"""Threads by id; a trigger keeps ``used``, which says whether a story was assigned for it. ``unsuitable`` says why no
story can be made of it: empty for a suitable thread, null for one that is new or has changed since it was judged."""

thread_places = sa.Table(
    "thread_places",
    metadata,
    sa.Column("spec", sa.Text, primary_key=True),
    sa.Column("threads", sa.Integer, nullable=False),
    *required(sa.Text, "problem", "next_step"),
    timestamp("read_at"),
)
"""What the newest look at each place gave: how many threads, or why it could not be read."""

orders = sa.Table(
    "orders",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    *required(sa.Integer, "count", "max_attempts"),
    sa.Column("category", sa.Text),
    sa.Column("persona", sa.Text),
    sa.Column("source", sa.Text, nullable=False, server_default=""),
    sa.Column("by_command", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("closed_at", sa.DateTime(timezone=True)),
    timestamp("created_at"),
    sa.Index("orders_created_at_idx", "created_at"),
    sa.Index("orders_open_idx", "created_at", postgresql_where=sa.text("closed_at IS NULL")),
)

UNFINISHED = sa.text(
    "thread_id IS NOT NULL AND"
    " (status IN ('assigned', 'running') OR status = 'failed' AND error ->> 'kind' = 'transient')"
)
"""Stories that a dead run or an outage may have left unfinished."""

assignments = sa.Table(
    "assignments",
    metadata,
    sa.Column("story_id", sa.Text, primary_key=True),
    sa.Column("thread_id", sa.ForeignKey("threads.id"), unique=True),
    sa.Column("category", sa.ForeignKey("categories.slug"), nullable=False),
    sa.Column("persona", sa.ForeignKey("personas.slug"), nullable=False),
    sa.Column("order_id", sa.ForeignKey("orders.id"), index=True),
    sa.Column("status", sa.Text, nullable=False, server_default="assigned"),
    sa.Column("run_id", sa.Text),
    sa.Column("runs", sa.Integer, nullable=False, server_default="0"),
    sa.Column("error", JSONB),
    timestamp("created_at"),
    timestamp("updated_at"),
    sa.CheckConstraint(sa.column("status").in_(STATUSES), name="status"),
    sa.Index("assignments_status_idx", "status", sa.desc("created_at"), "story_id"),
    sa.Index("assignments_unfinished_idx", "created_at", postgresql_where=UNFINISHED),
)

story_counts = sa.Table(
    "story_counts",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    *required(sa.Text, "status", "persona"),
    sa.Column("stories", sa.BigInteger, nullable=False),
)
"""How many assignments there are: the sum of these rows. A trigger adds a row for each change and merges them now and
then. So no run waits for a shared counter, and no query counts a million rows."""

stories = sa.Table(
    "stories",
    metadata,
    story_key(),
    *required(sa.Text, "title", "writer", "model", "prompt_version"),
    sa.Column("record", JSONB, nullable=False),
    sa.Column("signature", BYTEA, nullable=False),
    sa.Column("bands", ARRAY(sa.BigInteger), nullable=False),
    sa.Column("written_at", sa.DateTime(timezone=True), nullable=False),
    sa.Column("signature_version", sa.SmallInteger, nullable=False, server_default="1"),
    sa.Index("stories_bands_idx", "bands", postgresql_using="gin"),
    sa.Index("stories_signature_version_idx", "signature_version", postgresql_where=sa.text("signature <> ''")),
)

quality_scores = sa.Table(
    "quality_scores",
    metadata,
    story_key(),
    sa.Column("overall", sa.Float, nullable=False),
    sa.Column("record", JSONB, nullable=False),
    sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
)

gate_verdicts = sa.Table(
    "gate_verdicts",
    metadata,
    story_key(),
    sa.Column("gate", sa.Text, primary_key=True),
    sa.Column("passed", sa.Boolean, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("held", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("overridden_by", sa.Text),
    sa.Column("override_reason", sa.Text),
    timestamp("decided_at"),
)

images = sa.Table(
    "images",
    metadata,
    story_key(),
    *required(sa.Text, "provider", "source_id"),
    sa.Column("sha256", sa.Text, nullable=False, index=True),
    sa.Column("record", JSONB, nullable=False),
    timestamp("chosen_at"),
    sa.Index("images_source_id_idx", "source_id", postgresql_where=sa.text("source_id <> ''")),
)

image_variants = sa.Table(
    "image_variants",
    metadata,
    sa.Column("story_id", sa.ForeignKey("images.story_id", ondelete="CASCADE"), primary_key=True),
    sa.Column("width", sa.Integer, primary_key=True),
    sa.Column("format", sa.Text, primary_key=True),
    sa.Column("height", sa.Integer, nullable=False),
    sa.Column("key", sa.Text, nullable=False, index=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("bytes", sa.Integer, nullable=False),
)

publications = sa.Table(
    "publications",
    metadata,
    story_key(),
    sa.Column("slug", sa.Text, nullable=False, unique=True),
    sa.Column("category", sa.ForeignKey("categories.slug"), nullable=False, index=True),
    sa.Column("score", sa.Float, nullable=False),
    sa.Column("record", JSONB, nullable=False),
    sa.Column("published_at", sa.DateTime(timezone=True), nullable=False, index=True),
    sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, index=True),
    sa.Column("withdrawn_at", sa.DateTime(timezone=True)),
    sa.Column("withdrawn_reason", sa.Text),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("story_id", sa.Text, index=True),
    sa.Column("actor", sa.Text, nullable=False, server_default="newsroom"),
    sa.Column("detail", JSONB, nullable=False, server_default="{}"),
    timestamp("at"),
    sa.Index(None, "kind", "at"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("story_id", sa.Text, nullable=False, index=True),
    *required(sa.Text, "action", "actor", "reason"),
    sa.Column("detail", JSONB, nullable=False, server_default="{}"),
    timestamp("at"),
)
"""Decisions on stories; a trigger refuses every change of a row."""

tombstones = sa.Table(
    "tombstones",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("remains", JSONB, nullable=False),
    sa.Column("cleared_at", sa.DateTime(timezone=True)),
    timestamp("at"),
    sa.Index("tombstones_uncleared_idx", "kind", "id", postgresql_where=sa.text("cleared_at IS NULL")),
)
"""Sources that were deleted; ``remains`` lists what is still to be removed outside the database."""

pipeline_errors = sa.Table(
    "pipeline_errors",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("run_id", sa.Text, index=True),
    sa.Column("asset", sa.Text, nullable=False),
    sa.Column("story_id", sa.Text, index=True),
    *required(sa.Text, "kind", "message", "next_step", "fingerprint"),
    timestamp("at"),
    sa.Index(None, "fingerprint", "at"),
    sa.Index(None, "at", postgresql_include=["fingerprint", "kind", "id"]),
)

model_usage = sa.Table(
    "model_usage",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("story_id", sa.Text, index=True),
    sa.Column("run_id", sa.Text),
    *required(sa.Text, "purpose", "model"),
    *required(sa.Integer, "requests", "input_tokens", "output_tokens"),
    sa.Column("cost_usd", sa.Float, nullable=False),
    timestamp("at"),
    sa.Index(None, "at"),
)

model_spending = sa.Table(
    "model_spending",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("spent_usd", sa.Float, nullable=False, server_default="0"),
    sa.Column("reserved_usd", sa.Float, nullable=False, server_default="0"),
)

rate_tickets = sa.Table(
    "rate_tickets",
    metadata,
    sa.Column("service", sa.Text, primary_key=True),
    sa.Column("at", sa.DateTime(timezone=True), primary_key=True),
)

source_limits = sa.Table(
    "source_limits",
    metadata,
    sa.Column("service", sa.Text, primary_key=True),
    sa.Column("day", sa.Date, nullable=False),
    sa.Column("requests", sa.Integer, nullable=False, server_default="0"),
    sa.Column("quota_left", sa.Integer),
    sa.Column("quota_most", sa.Integer),
    sa.Column("paused_until", sa.DateTime(timezone=True)),
)
"""What each source of threads said of its limits, and how often it was asked on ``day`` (UTC)."""

imports = sa.Table(
    "imports",
    metadata,
    story_key(),
    sa.Column("digest", BYTEA, nullable=False),
    sa.Column("file", sa.Text, nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("wanted", sa.SmallInteger, nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Index("imports_unchecked_idx", "story_id", postgresql_where=sa.text("state = 0")),
    sa.Index("imports_checked_idx", sa.desc("wanted"), "story_id", postgresql_where=sa.text("state = 1")),
)
"""Imported stories by file and record; ``state`` is 0 stored, 1 checked, 2 refused or handed over to be published."""

import_files = sa.Table(
    "import_files",
    metadata,
    sa.Column("digest", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("records", sa.BigInteger, nullable=False),
    sa.Column("counts", JSONB, nullable=False),
    sa.Column("rejects_bytes", sa.BigInteger, nullable=False),
    sa.Column("finished_at", sa.DateTime(timezone=True)),
    timestamp("at"),
)
"""How far each imported file got, by the SHA-256 of its bytes."""

backups = sa.Table(
    "backups",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False, index=True),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("encrypted", sa.Boolean, nullable=False),
    sa.Column("run_id", sa.Text, index=True),
    sa.Column("proven_at", sa.DateTime(timezone=True)),
    sa.Column("problem", sa.Text, nullable=False, server_default=""),
    sa.Column("evidence", JSONB, nullable=False, server_default="[]"),
    sa.Column("deleted_at", sa.DateTime(timezone=True)),
)
"""Every backup that was taken, and what its trial restore showed; the files are in backup storage."""

DEPLOYMENT_STATES = ("running", "staged", "live", "superseded", "rolled_back", "failed", "interrupted", "deleted")

deployments = sa.Table(
    "deployments",
    metadata,
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("place", sa.Text, nullable=False),
    sa.Column("platform_id", sa.Text, nullable=False, server_default="", index=True),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="running"),
    sa.Column("run_id", sa.Text, nullable=False, index=True),
    sa.Column("url", sa.Text, nullable=False, server_default=""),
    sa.Column("probes", JSONB, nullable=False),
    sa.Column("built_at", sa.DateTime(timezone=True), nullable=False),
    timestamp("created_at"),
    sa.CheckConstraint(sa.column("state").in_(DEPLOYMENT_STATES), name="state"),
)
"""Every deployment of the site; ``probes`` are the files that smoke tests compare."""

deployment_steps = sa.Table(
    "deployment_steps",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("deployment", sa.ForeignKey("deployments.number", ondelete="CASCADE"), nullable=False, index=True),
    sa.Column("run_id", sa.Text, nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, server_default="running"),
    sa.Column("seconds", sa.Float, nullable=False, server_default="0"),
    sa.Column("message", sa.Text, nullable=False, server_default=""),
    timestamp("at"),
)
"""Steps of deployments and rollbacks. A step in state ``running`` whose process is gone was killed."""

engagement = sa.Table(
    "engagement",
    metadata,
    story_key(),
    sa.Column("day", sa.Date, primary_key=True, index=True),
    sa.Column("event", sa.Text, primary_key=True),
    *required(sa.BigInteger, "count", "dropped"),
    sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
    sa.Column("in_minute", sa.Integer, nullable=False),
)
"""Counts of what readers did; ``in_minute`` is how many of them fell in ``minute``, the newest one."""

incidents = sa.Table(
    "incidents",
    metadata,
    sa.Column("cause", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("open", sa.Boolean, nullable=False),
    sa.Column("record", JSONB, nullable=False),
    sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
    sa.Index("incidents_open_idx", "source", postgresql_where=sa.text("open")),
)
"""Incidents by cause; their form is in ``operations/alerts/rules.py``."""

alerts = sa.Table(
    "alerts",
    metadata,
    sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("record", JSONB, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("problem", sa.Text, nullable=False, server_default=""),
    timestamp("due_at"),
    timestamp("created_at"),
    sa.Column("delivered_at", sa.DateTime(timezone=True)),
    sa.Index("alerts_waiting_idx", "number", postgresql_where=sa.text("delivered_at IS NULL")),
)
"""The outbox: messages in order of delivery, written in the transaction of their incident."""

alert_positions = sa.Table(
    "alert_positions",
    metadata,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("position", JSONB, nullable=False),
)
"""How far each of Dagster's logs has been read for incidents."""

outages = sa.Table(
    "outages",
    metadata,
    sa.Column("service", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    timestamp("since"),
    sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
)
"""Outside services that are down, and when a request to each may be tried again."""

keys_seen = sa.Table(
    "keys_seen",
    metadata,
    sa.Column("variable", sa.Text, primary_key=True),
    sa.Column("digest", sa.Text, nullable=False),
    timestamp("first_at"),
)
"""Since when each secret has its present value; a short digest of it tells values apart."""
