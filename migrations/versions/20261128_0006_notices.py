"""notices that not every channel has had yet"""

import sqlalchemy as sa
from alembic import op

from core.models import types

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | None = None
depends_on: str | None = None

SEVERITY = sa.Enum("warning", "critical", name="severity", native_enum=False, length=32)
TOPIC = sa.Enum("alarm", "cycle", "detail", name="topic", native_enum=False, length=32)


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "notice",
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("cycle", sa.String(length=32), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("severity", SEVERITY, nullable=True),
        sa.Column("topic", TOPIC, nullable=False),
        sa.Column("happened_at", types.UtcDateTime(), nullable=False),
        sa.Column("kept_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_notice")),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_table("notice")
