"""The version of the algorithm that made an originality signature; all that are stored were made by version 1."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

INDEX = "stories_signature_version_idx"


def upgrade() -> None:
    op.add_column("stories", sa.Column("signature_version", sa.SmallInteger(), server_default="1", nullable=False))
    index = f"CREATE INDEX {INDEX} ON stories (signature_version) WHERE signature <> ''"
    op.execute(f"-- squawk-ignore require-concurrent-index-creation\n{index}")


def downgrade() -> None:
    op.execute(f"-- squawk-ignore require-concurrent-index-deletion\nDROP INDEX {INDEX}")
    op.drop_column("stories", "signature_version")
