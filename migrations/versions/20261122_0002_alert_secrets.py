"""secrets of alerts, their content, paused symbols"""

import sqlalchemy as sa
from alembic import op

from core.models import types

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # as in the models


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "alert_secret",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("may_close_all", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("created_at", types.UtcDateTime(), nullable=False),
        sa.Column("revoked_at", types.UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alert_secret")),
        sa.UniqueConstraint("digest", name=op.f("ux_alert_secret_digest")),
    )
    op.create_table(
        "symbol_pause",
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("asked_by", sa.String(length=128), nullable=False),
        sa.Column("asked_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("symbol", name=op.f("pk_symbol_pause")),
    )
    op.add_column("webhook", sa.Column("content", sa.String(length=64), nullable=True))
    op.add_column("webhook", sa.Column("secret_id", sa.BigInteger(), nullable=True))
    op.create_index("ux_webhook_content", "webhook", ["content"], unique=True)
    op.create_index("ix_webhook_secret_id", "webhook", ["secret_id", "received_at"])


def downgrade() -> None:
    """Take it back."""
    op.drop_index("ix_webhook_secret_id", table_name="webhook")
    op.drop_index("ux_webhook_content", table_name="webhook")
    op.drop_column("webhook", "secret_id")
    op.drop_column("webhook", "content")
    op.drop_table("symbol_pause")
    op.drop_table("alert_secret")
