"""alarms: counted by kind, with what to do, and settled by people"""

import sqlalchemy as sa
from alembic import op

from core.models import types

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | None = None
depends_on: str | None = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # as in the models
RAISED = sa.text("cleared_at IS NULL")
RAISED_ALONE = sa.text("cleared_at IS NULL AND cycle_id IS NULL")
OLD_ACTION = "Raised by an earlier version: see docs/alarms.md."


def upgrade() -> None:
    """Bring the schema forward."""
    op.drop_index("ux_alarm_raised", table_name="alarm")
    with op.batch_alter_table("alarm") as alarm:
        alarm.alter_column("key", new_column_name="kind", existing_type=sa.Text())
        alarm.alter_column("cycle_id", existing_type=ID, nullable=True)
        alarm.add_column(sa.Column("severity", sa.String(length=32), nullable=True))
        alarm.add_column(sa.Column("action", sa.Text(), nullable=True))
        alarm.add_column(sa.Column("count", sa.Integer(), nullable=True))
        alarm.add_column(sa.Column("last_at", types.UtcDateTime(), nullable=True))
        alarm.add_column(sa.Column("cleared_by", sa.String(length=128), nullable=True))
    rows = sa.table(
        "alarm",
        sa.column("severity", sa.String()),
        sa.column("action", sa.Text()),
        sa.column("count", sa.Integer()),
        sa.column("last_at"),
        sa.column("raised_at"),
    )
    told = {"severity": "warning", "action": OLD_ACTION, "count": 1, "last_at": rows.c.raised_at}
    op.execute(rows.update().values(told))
    with op.batch_alter_table("alarm") as alarm:
        alarm.alter_column("severity", existing_type=sa.String(length=32), nullable=False)
        alarm.alter_column("action", existing_type=sa.Text(), nullable=False)
        alarm.alter_column("count", existing_type=sa.Integer(), nullable=False)
        alarm.alter_column("last_at", existing_type=types.UtcDateTime(), nullable=False)
    op.create_index(
        "ux_alarm_raised",
        "alarm",
        ["cycle_id", "kind"],
        unique=True,
        sqlite_where=RAISED,
        postgresql_where=RAISED,
    )
    op.create_index(
        "ux_alarm_raised_alone",
        "alarm",
        ["symbol", "kind"],
        unique=True,
        sqlite_where=RAISED_ALONE,
        postgresql_where=RAISED_ALONE,
    )


def downgrade() -> None:
    """Take it back; what belongs to no cycle is given up."""
    op.drop_index("ux_alarm_raised_alone", table_name="alarm")
    op.drop_index("ux_alarm_raised", table_name="alarm")
    op.execute(sa.text("DELETE FROM alarm WHERE cycle_id IS NULL"))
    with op.batch_alter_table("alarm") as alarm:
        for name in ("severity", "action", "count", "last_at", "cleared_by"):
            alarm.drop_column(name)
        alarm.alter_column("cycle_id", existing_type=ID, nullable=False)
        alarm.alter_column("kind", new_column_name="key", existing_type=sa.Text())
    op.create_index(
        "ux_alarm_raised",
        "alarm",
        ["cycle_id", "key"],
        unique=True,
        sqlite_where=RAISED,
        postgresql_where=RAISED,
    )
