"""first tables"""

import sqlalchemy as sa
from alembic import op

from core.models import types

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # as in the models


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "binance_symbol",
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("base_asset", sa.String(length=32), nullable=False),
        sa.Column("quote_asset", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("tick_size", types.Money(), nullable=False),
        sa.Column("min_price", types.Money(), nullable=False),
        sa.Column("max_price", types.Money(), nullable=False),
        sa.Column("step_size", types.Money(), nullable=False),
        sa.Column("min_quantity", types.Money(), nullable=False),
        sa.Column("max_quantity", types.Money(), nullable=False),
        sa.Column("market_min_quantity", types.Money(), nullable=False),
        sa.Column("market_max_quantity", types.Money(), nullable=False),
        sa.Column("market_step_size", types.Money(), nullable=False),
        sa.Column("min_notional", types.Money(), nullable=False),
        sa.Column("multiplier_up", types.Money(), nullable=False),
        sa.Column("multiplier_down", types.Money(), nullable=False),
        sa.Column("maker_rate", types.Money(), nullable=False),
        sa.Column("taker_rate", types.Money(), nullable=False),
        sa.Column("brackets", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("symbol", name=op.f("pk_binance_symbol")),
    )
    op.create_table(
        "monitor_lease",
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=128), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", types.UtcDateTime(), nullable=False),
        sa.Column("renewed_at", types.UtcDateTime(), nullable=False),
        sa.Column("last_check_at", types.UtcDateTime(), nullable=True),
        sa.Column("last_check_ok", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("symbol", name=op.f("pk_monitor_lease")),
    )
    op.create_table(
        "webhook",
        sa.Column(
            "id",
            ID,
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("alert_id", sa.String(length=200), nullable=True),
        sa.Column("symbol", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("warnings", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("payload", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("received_at", types.UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook")),
    )
    op.create_index("ix_webhook_received_at", "webhook", ["received_at"], unique=False)
    op.create_index(
        "ux_webhook_accepted_alert",
        "webhook",
        ["alert_id"],
        unique=True,
        sqlite_where=sa.text("status = 'accepted'"),
        postgresql_where=sa.text("status = 'accepted'"),
    )

    op.create_table(
        "cycle",
        sa.Column(
            "id",
            ID,
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("webhook_id", ID, nullable=False),
        sa.Column("key", sa.String(length=32), nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("phase", sa.String(length=32), nullable=False),
        sa.Column("close_reason", sa.String(length=32), nullable=True),
        sa.Column("deposit", types.Money(), nullable=False),
        sa.Column("extramarg", types.Money(), nullable=False),
        sa.Column("leverage", sa.Integer(), nullable=False),
        sa.Column("realised", types.Money(), nullable=False),
        sa.Column("commissions", types.Money(), nullable=False),
        sa.Column("funding", types.Money(), nullable=False),
        sa.Column("net_pnl", types.Money(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("journal_length", sa.Integer(), nullable=False),
        sa.Column("opened_at", types.UtcDateTime(), nullable=False),
        sa.Column("changed_at", types.UtcDateTime(), nullable=False),
        sa.Column("ended_at", types.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhook.id"], name=op.f("fk_cycle_webhook_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cycle")),
        sa.UniqueConstraint("key", name=op.f("ux_cycle_key")),
        sa.UniqueConstraint("webhook_id", name=op.f("ux_cycle_webhook_id")),
    )
    op.create_index("ix_cycle_symbol_ended_at", "cycle", ["symbol", "ended_at"], unique=False)
    op.create_index(
        "ux_cycle_open_symbol",
        "cycle",
        ["symbol"],
        unique=True,
        sqlite_where=sa.text("phase <> 'ended'"),
        postgresql_where=sa.text("phase <> 'ended'"),
    )

    op.create_table(
        "alarm",
        sa.Column(
            "id",
            ID,
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("cycle_id", ID, nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("raised_at", types.UtcDateTime(), nullable=False),
        sa.Column("cleared_at", types.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["cycle_id"], ["cycle.id"], name=op.f("fk_alarm_cycle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarm")),
    )
    op.create_index(op.f("ix_alarm_cycle_id"), "alarm", ["cycle_id"], unique=False)
    op.create_index(
        "ux_alarm_raised",
        "alarm",
        ["cycle_id", "key"],
        unique=True,
        sqlite_where=sa.text("cleared_at IS NULL"),
        postgresql_where=sa.text("cleared_at IS NULL"),
    )

    op.create_table(
        "binance_position",
        sa.Column(
            "id",
            ID,
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("cycle_id", ID, nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("position_side", sa.String(length=32), nullable=False),
        sa.Column("quantity", types.Money(), nullable=False),
        sa.Column("entry_price", types.Money(), nullable=False),
        sa.Column("long_trailing_price", types.Money(), nullable=True),
        sa.Column("short_trailing_price", types.Money(), nullable=True),
        sa.Column("activation_price", types.Money(), nullable=True),
        sa.Column("old_activation_price", types.Money(), nullable=True),
        sa.Column("pnl_diff", types.Money(), nullable=True),
        sa.Column("last_price", types.Money(), nullable=True),
        sa.Column("updated_at", types.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["cycle_id"], ["cycle.id"], name=op.f("fk_binance_position_cycle_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_binance_position")),
        sa.UniqueConstraint("cycle_id", "position_side", name="ux_position_cycle_side"),
    )
    op.create_index(
        op.f("ix_binance_position_cycle_id"), "binance_position", ["cycle_id"], unique=False
    )
    op.create_index(
        op.f("ix_binance_position_symbol"), "binance_position", ["symbol"], unique=False
    )

    op.create_table(
        "fact",
        sa.Column(
            "id",
            ID,
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("cycle_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("at", types.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["cycle_id"], ["cycle.id"], name=op.f("fk_fact_cycle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fact")),
        sa.UniqueConstraint("cycle_id", "number", name="ux_fact_cycle_number"),
    )
    op.create_table(
        "fill",
        sa.Column(
            "id",
            ID,
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("cycle_id", ID, nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("trade_id", sa.BigInteger(), nullable=False),
        sa.Column("client_order_id", sa.String(length=64), nullable=False),
        sa.Column("side", sa.String(length=32), nullable=False),
        sa.Column("position_side", sa.String(length=32), nullable=False),
        sa.Column("price", types.Money(), nullable=False),
        sa.Column("quantity", types.Money(), nullable=False),
        sa.Column("commission", types.Money(), nullable=False),
        sa.Column("commission_asset", sa.String(length=32), nullable=False),
        sa.Column("is_maker", sa.Boolean(), nullable=False),
        sa.Column("is_adjustment", sa.Boolean(), nullable=False),
        sa.Column("executed_at", types.UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["cycle_id"], ["cycle.id"], name=op.f("fk_fill_cycle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_fill")),
    )
    op.create_index(op.f("ix_fill_cycle_id"), "fill", ["cycle_id"], unique=False)
    op.create_index(
        "ux_fill_symbol_trade",
        "fill",
        ["symbol", "trade_id"],
        unique=True,
        sqlite_where=sa.text("is_adjustment = 0"),
        postgresql_where=sa.text("NOT is_adjustment"),
    )

    op.create_table(
        "operator_action",
        sa.Column(
            "id",
            ID,
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("cycle_id", ID, nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("asked_by", sa.String(length=128), nullable=False),
        sa.Column("asked_at", types.UtcDateTime(), nullable=False),
        sa.Column("done_at", types.UtcDateTime(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["cycle_id"], ["cycle.id"], name=op.f("fk_operator_action_cycle_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator_action")),
    )
    op.create_index(
        op.f("ix_operator_action_cycle_id"), "operator_action", ["cycle_id"], unique=False
    )
    op.create_index(
        "ix_operator_action_waiting", "operator_action", ["done_at", "symbol"], unique=False
    )

    op.create_table(
        "order",
        sa.Column(
            "id",
            ID,
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("cycle_id", ID, nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("client_order_id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=32), nullable=False),
        sa.Column("role", sa.String(length=32), nullable=False),
        sa.Column("order_number", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("side", sa.String(length=32), nullable=False),
        sa.Column("position_side", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("price", types.Money(), nullable=True),
        sa.Column("quantity", types.Money(), nullable=True),
        sa.Column("close_position", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(length=32), nullable=False),
        sa.Column("executed", types.Money(), nullable=False),
        sa.Column("average_price", types.Money(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("request", sa.String(length=32), nullable=False),
        sa.Column("target_price", types.Money(), nullable=True),
        sa.Column("target_quantity", types.Money(), nullable=True),
        sa.Column("requested_at", types.UtcDateTime(), nullable=True),
        sa.Column("is_unresolved", sa.Boolean(), nullable=False),
        sa.Column("cancel_asked", sa.Boolean(), nullable=False),
        sa.Column("is_superseded", sa.Boolean(), nullable=False),
        sa.Column("amend_refused", sa.Boolean(), nullable=False),
        sa.Column("is_triggered", sa.Boolean(), nullable=False),
        sa.Column("triggered_at", types.UtcDateTime(), nullable=True),
        sa.Column("refusals", sa.Integer(), nullable=False),
        sa.Column("refusal_code", sa.Integer(), nullable=True),
        sa.Column("refusal_text", sa.Text(), nullable=False),
        sa.Column("retry_at", types.UtcDateTime(), nullable=True),
        sa.Column("absent_reads", sa.Integer(), nullable=False),
        sa.Column("absent_read_at", types.UtcDateTime(), nullable=True),
        sa.Column("ended_by", sa.String(length=32), nullable=True),
        sa.Column("over_at", types.UtcDateTime(), nullable=True),
        sa.Column("exchange_order_id", sa.BigInteger(), nullable=True),
        sa.Column("created_at", types.UtcDateTime(), nullable=True),
        sa.Column("changed_at", types.UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["cycle_id"], ["cycle.id"], name=op.f("fk_order_cycle_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_order")),
        sa.UniqueConstraint("cycle_id", "client_order_id", name="ux_order_cycle_client_id"),
    )
    op.create_index(op.f("ix_order_cycle_id"), "order", ["cycle_id"], unique=False)
    op.create_index("ix_order_symbol_status", "order", ["symbol", "status"], unique=False)
    op.create_index(
        "ux_order_client_id",
        "order",
        ["client_order_id"],
        unique=True,
        sqlite_where=sa.text("role <> 'foreign'"),
        postgresql_where=sa.text("role <> 'foreign'"),
    )


def downgrade() -> None:
    """Take it back; the indexes go with their tables."""
    op.drop_table("order")
    op.drop_table("operator_action")
    op.drop_table("fill")
    op.drop_table("fact")
    op.drop_table("binance_position")
    op.drop_table("alarm")
    op.drop_table("cycle")
    op.drop_table("webhook")
    op.drop_table("monitor_lease")
    op.drop_table("binance_symbol")
