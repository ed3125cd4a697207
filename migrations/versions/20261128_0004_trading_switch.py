"""the kill switch, and what ended today"""

import sqlalchemy as sa
from alembic import op

from core.models import types

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | None = None
depends_on: str | None = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # as in the models


def upgrade() -> None:
    """Bring the schema forward."""
    switch = op.create_table(
        "trading_switch",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("killed_at", types.UtcDateTime(), nullable=True),
        sa.Column("killed_by", sa.String(length=128), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trading_switch")),
    )
    op.bulk_insert(switch, [{"id": 1, "killed_at": None, "killed_by": None}])
    op.create_index("ix_cycle_ended_at", "cycle", ["ended_at"])


def downgrade() -> None:
    """Take it back."""
    op.drop_index("ix_cycle_ended_at", table_name="cycle")
    op.drop_table("trading_switch")
