"""What the panel shows of each table. Read only: nothing is made, changed or deleted here."""

from typing import Any, ClassVar

from sqladmin import ModelView
from sqlalchemy import Select, select
from sqlalchemy.exc import DBAPIError, StatementError
from sqlmodel import col
from starlette.requests import Request

from admin.formats import IN_DETAILS, IN_LISTS
from core.models import (
    Alarm,
    BinancePosition,
    BinanceSymbol,
    Cycle,
    Fill,
    Order,
    WebHook,
)


class ReadOnlyView(ModelView):
    """A table, to be looked at."""

    can_create = False
    can_edit = False
    can_delete = False
    can_export = False  # as GET, it would read a whole ledger for any link on any site
    can_import = False
    page_size = 25
    page_size_options: ClassVar = [25, 50, 100]
    list_template = "tradebox/list.html"
    column_type_formatters = IN_LISTS
    column_type_formatters_detail = IN_DETAILS

    async def get_object_for_details(self, request: Request) -> Any:
        """Return the row, or None if there is none of that id, whatever the id is."""
        try:
            return await super().get_object_for_details(request)
        except (ValueError, OverflowError, StatementError, DBAPIError):
            return None

    def search_query(self, stmt: Select[Any], term: str) -> Select[Any]:
        """Return the rows that contain the term; PostgreSQL takes no NUL in a text."""
        return super().search_query(stmt, term.replace("\x00", ""))


class WebHookView(ReadOnlyView, model=WebHook):
    """The alerts."""

    name, name_plural, icon = "Webhook", "Webhooks", "fa-solid fa-bell"
    column_list = [
        "id",
        "received_at",
        "symbol",
        "status",
        "http_status",
        "outcome",
        "alert_id",
    ]
    column_labels = {
        "id": "No.",
        "received_at": "Received (UTC)",
        "symbol": "Symbol",
        "status": "Status",
        "http_status": "Answered",
        "outcome": "Outcome",
        "alert_id": "Alert id",
        "warnings": "Warnings",
        "payload": "Payload (without its secret)",
    }
    column_searchable_list = ["symbol", "status", "alert_id", "outcome"]
    column_sortable_list = ["id", "received_at", "symbol", "status"]
    column_default_sort = ("id", True)


class CycleView(ReadOnlyView, model=Cycle):
    """The trading cycles."""

    name, name_plural, icon = "Cycle", "Cycles", "fa-solid fa-rotate"
    column_list = [
        "id",
        "opened_at",
        "symbol",
        "phase",
        "close_reason",
        "net_pnl",
        "realised",
        "commissions",
        "funding",
        "ended_at",
        "key",
    ]
    column_details_exclude_list = ["state"]
    column_labels = {
        "id": "No.",
        "webhook_id": "Webhook",
        "key": "Key of its order ids",
        "symbol": "Symbol",
        "phase": "Phase",
        "close_reason": "Closed because",
        "deposit": "Deposit",
        "extramarg": "Extra margin",
        "leverage": "Leverage",
        "realised": "Realised, gross",
        "commissions": "Commissions",
        "funding": "Funding",
        "net_pnl": "Net PNL",
        "version": "Changes",
        "journal_length": "Facts in the journal",
        "opened_at": "Opened (UTC)",
        "changed_at": "Changed (UTC)",
        "ended_at": "Ended (UTC)",
    }
    column_searchable_list = ["symbol", "key", "phase", "close_reason"]
    column_sortable_list = ["id", "opened_at", "symbol", "phase", "ended_at"]
    column_default_sort = ("id", True)


class PositionView(ReadOnlyView, model=BinancePosition):
    """Both sides of every cycle."""

    name, name_plural, icon = "Position", "Positions", "fa-solid fa-scale-balanced"
    column_list = [
        "id",
        "cycle_id",
        "symbol",
        "position_side",
        "quantity",
        "entry_price",
        "last_price",
        "pnl_diff",
        "long_trailing_price",
        "short_trailing_price",
        "old_activation_price",
        "updated_at",
    ]
    column_labels = {
        "id": "No.",
        "cycle_id": "Cycle",
        "symbol": "Symbol",
        "position_side": "Side",
        "quantity": "Quantity",
        "entry_price": "Entry",
        "last_price": "Last price",
        "pnl_diff": "PNL if closed",
        "long_trailing_price": "Trailing stop",
        "short_trailing_price": "SHORT stop-loss",
        "activation_price": "Activation",
        "old_activation_price": "Activation before",
        "updated_at": "Changed (UTC)",
    }
    column_searchable_list = ["symbol", "position_side"]
    column_sortable_list = [
        "id",
        "cycle_id",
        "symbol",
        "updated_at",
    ]
    column_default_sort = ("id", True)


class OrderView(ReadOnlyView, model=Order):
    """The orders."""

    name, name_plural, icon = "Order", "Orders", "fa-solid fa-list-ol"
    column_list = [
        "id",
        "created_at",
        "symbol",
        "type",
        "order_number",
        "status",
        "ended_by",
        "price",
        "quantity",
        "executed",
        "reason",
    ]
    column_labels = {
        "id": "No.",
        "cycle_id": "Cycle",
        "symbol": "Symbol",
        "client_order_id": "Client order id",
        "type": "Type",
        "role": "Role",
        "order_number": "Level / hedge",
        "attempt": "Attempt",
        "side": "Side",
        "position_side": "Position side",
        "kind": "Sent as",
        "price": "Price",
        "quantity": "Quantity",
        "close_position": "Closes the whole position",
        "status": "Status",
        "executed": "Executed",
        "average_price": "Average price",
        "reason": "Why",
        "request": "Request under way",
        "target_price": "… its price",
        "target_quantity": "… its quantity",
        "requested_at": "… made at",
        "is_unresolved": "… without an answer",
        "cancel_asked": "We asked to cancel",
        "is_superseded": "Superseded",
        "amend_refused": "Amendment refused",
        "is_triggered": "Triggered",
        "triggered_at": "Triggered at",
        "refusals": "Refusals in a row",
        "refusal_code": "Exchange's code",
        "refusal_text": "Exchange's text",
        "retry_at": "Not before",
        "absent_reads": "Reads that did not show it",
        "absent_read_at": "Last of them",
        "ended_by": "Ended by",
        "over_at": "Over since",
        "exchange_order_id": "Exchange's number",
        "created_at": "Created (UTC)",
        "changed_at": "Changed (UTC)",
    }
    column_searchable_list = [
        "symbol",
        "client_order_id",
        "type",
        "role",
        "status",
    ]
    column_sortable_list = ["id", "created_at", "symbol", "type", "status"]
    column_default_sort = ("id", True)


class FillView(ReadOnlyView, model=Fill):
    """The executions."""

    name, name_plural, icon = "Fill", "Fills", "fa-solid fa-receipt"
    column_list = [
        "id",
        "executed_at",
        "symbol",
        "position_side",
        "side",
        "price",
        "quantity",
        "commission",
        "commission_asset",
        "is_maker",
        "client_order_id",
        "trade_id",
    ]
    column_labels = {
        "id": "No.",
        "cycle_id": "Cycle",
        "symbol": "Symbol",
        "trade_id": "Trade",
        "client_order_id": "Client order id",
        "side": "Side",
        "position_side": "Position side",
        "price": "Price",
        "quantity": "Quantity",
        "commission": "Commission",
        "commission_asset": "… in",
        "is_maker": "Maker",
        "is_adjustment": "Outside change",
        "executed_at": "Executed (UTC)",
    }
    column_searchable_list = ["symbol", "client_order_id", "position_side"]
    column_sortable_list = ["id", "executed_at", "symbol", "trade_id"]
    column_default_sort = ("id", True)


class SymbolView(ReadOnlyView, model=BinanceSymbol):
    """The exchange's rules."""

    name, name_plural, icon = "Symbol", "Symbols", "fa-solid fa-ruler"
    column_list = [
        "symbol",
        "status",
        "tick_size",
        "step_size",
        "min_quantity",
        "min_notional",
        "maker_rate",
        "taker_rate",
        "updated_at",
    ]
    column_labels = {
        "symbol": "Symbol",
        "base_asset": "Base",
        "quote_asset": "Quote",
        "status": "Status",
        "tick_size": "Tick",
        "min_price": "Lowest price",
        "max_price": "Highest price",
        "step_size": "Step",
        "min_quantity": "Smallest quantity",
        "max_quantity": "Largest quantity",
        "market_min_quantity": "Smallest, MARKET",
        "market_max_quantity": "Largest, MARKET",
        "market_step_size": "Step, MARKET",
        "min_notional": "Smallest notional",
        "multiplier_up": "Highest × mark",
        "multiplier_down": "Lowest × mark",
        "maker_rate": "Maker fee",
        "taker_rate": "Taker fee",
        "brackets": "Leverage brackets",
        "updated_at": "Read (UTC)",
    }
    column_searchable_list = ["symbol", "status"]
    column_sortable_list = ["symbol", "status", "updated_at"]
    column_default_sort = ("symbol", False)

    def details_query(self, request: Request) -> Select[Any]:
        """Return the row by its name; SQLAdmin cannot tell that this key is text."""
        return select(BinanceSymbol).where(col(BinanceSymbol.symbol) == request.path_params["pk"])


class AlarmView(ReadOnlyView, model=Alarm):
    """What a person should look at."""

    name, name_plural, icon = "Alarm", "Alarms", "fa-solid fa-triangle-exclamation"
    column_list = [
        "id",
        "last_at",
        "symbol",
        "severity",
        "text",
        "action",
        "count",
        "cycle_id",
        "cleared_at",
    ]
    column_labels = {
        "id": "No.",
        "cycle_id": "Cycle",
        "symbol": "Symbol",
        "kind": "Kind",
        "severity": "Severity",
        "text": "What",
        "action": "What to do",
        "count": "Times",
        "raised_at": "Raised (UTC)",
        "last_at": "Last (UTC)",
        "cleared_at": "Settled (UTC)",
        "cleared_by": "Settled by",
    }
    column_searchable_list = ["symbol", "text", "kind"]
    column_sortable_list = ["id", "last_at", "symbol"]
    column_default_sort = ("id", True)


VIEWS: tuple[type[ModelView], ...] = (
    WebHookView,
    CycleView,
    PositionView,
    OrderView,
    FillView,
    SymbolView,
    AlarmView,
)
