"""What keeps queries flat as stories add up: indexes of what is looked for, and counts that are kept, not counted.

The indexes are built within the transaction, so that the migration is done or not: 4 seconds at a million stories,
for which the newsroom waits. Building them concurrently leaves broken ones behind when it fails, waits for every backup
and import to end, and the stories have to be counted under a lock all the same.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"
branch_labels = None
depends_on = None

UNFINISHED = (
    "thread_id IS NOT NULL AND"
    " (status IN ('assigned', 'running') OR status = 'failed' AND error ->> 'kind' = 'transient')"
)
INDEXES = {
    "assignments_status_idx": "assignments (status, created_at DESC, story_id)",
    "assignments_unfinished_idx": f"assignments (created_at) WHERE {UNFINISHED}",
    "images_source_id_idx": "images (source_id) WHERE source_id <> ''",
    "imports_unchecked_idx": "imports (story_id) WHERE state = 0",
    "imports_checked_idx": "imports (wanted DESC, story_id) WHERE state = 1",
    "orders_open_idx": "orders (created_at) WHERE closed_at IS NULL",
    "pipeline_errors_story_id_idx": "pipeline_errors (story_id)",
    "publications_updated_at_idx": "publications (updated_at)",
    "threads_fetched_at_idx": "threads (fetched_at) WHERE expired_at IS NULL",
    "threads_unused_idx": "threads (engagement DESC) WHERE NOT used",
    "tombstones_uncleared_idx": "tombstones (kind, id) WHERE cleared_at IS NULL",
}
REPLACED = {
    "assignments_status_idx": "assignments (status)",
    "images_source_idx": "images (provider, source_id)",
    "threads__idx": "threads (engagement DESC)",
}

TRIGGERS = """
CREATE FUNCTION count_stories() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO story_counts (status, persona, stories)
    SELECT status, persona, TG_ARGV[0]::int * count(*) FROM changed GROUP BY status, persona;
    IF random() < 0.01 THEN
        WITH folded AS (
            DELETE FROM story_counts WHERE id IN (SELECT id FROM story_counts FOR UPDATE SKIP LOCKED)
            RETURNING status, persona, stories
        )
        INSERT INTO story_counts (status, persona, stories)
        SELECT status, persona, sum(stories) FROM folded GROUP BY status, persona HAVING sum(stories) <> 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER stories_come AFTER INSERT ON assignments
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_stories('1');
CREATE TRIGGER stories_go AFTER DELETE ON assignments
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_stories('-1');
CREATE TRIGGER stories_were AFTER UPDATE ON assignments
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_stories('-1');
CREATE TRIGGER stories_are AFTER UPDATE ON assignments
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_stories('1');

CREATE FUNCTION use_thread() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE threads SET used = TG_OP = 'INSERT' WHERE id = coalesce(NEW.thread_id, OLD.thread_id);
    RETURN NULL;
END $$;
CREATE TRIGGER story_uses_thread AFTER INSERT ON assignments
    FOR EACH ROW WHEN (NEW.thread_id IS NOT NULL) EXECUTE FUNCTION use_thread();
CREATE TRIGGER story_frees_thread AFTER DELETE ON assignments
    FOR EACH ROW WHEN (OLD.thread_id IS NOT NULL) EXECUTE FUNCTION use_thread();
"""
COUNTED = """
INSERT INTO story_counts (status, persona, stories) SELECT status, persona, count(*) FROM assignments GROUP BY 1, 2;
UPDATE threads SET used = false WHERE NOT EXISTS (SELECT FROM assignments a WHERE a.thread_id = threads.id);
UPDATE imports i SET state = 2 FROM assignments a WHERE a.story_id = i.story_id AND i.state = 1
    AND a.status IN ('rejected', 'held');
"""


def upgrade() -> None:
    op.create_table(
        "story_counts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("persona", sa.Text(), nullable=False),
        sa.Column("stories", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("story_counts_pkey")),
    )
    # Nothing that holds a lock on one of them then waits for another one.
    op.execute("LOCK TABLE assignments, threads, images IN ACCESS EXCLUSIVE MODE")
    # Most threads are used: those that are not are the fewer rows to write.
    op.add_column("threads", sa.Column("used", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.alter_column("threads", "used", server_default=sa.false())
    op.execute(TRIGGERS)
    op.execute(COUNTED)
    _replace(REPLACED, INDEXES)


def downgrade() -> None:
    _replace(INDEXES, REPLACED)
    op.execute("DROP FUNCTION use_thread, count_stories CASCADE")
    op.drop_column("threads", "used")
    op.drop_table("story_counts")


def _replace(old: dict[str, str], new: dict[str, str]) -> None:
    for name in old:
        op.execute(f"-- squawk-ignore require-concurrent-index-deletion\nDROP INDEX {name}")
    for name, what in new.items():
        op.execute(f"-- squawk-ignore require-concurrent-index-creation\nCREATE INDEX {name} ON {what}")
