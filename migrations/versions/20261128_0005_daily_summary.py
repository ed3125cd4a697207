"""the days whose summary was sent"""

import sqlalchemy as sa
from alembic import op

from core.models import types

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "daily_summary",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("claimed_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_daily_summary")),
    )


def downgrade() -> None:
    """Take it back."""
    op.drop_table("daily_summary")
