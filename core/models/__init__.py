"""The tables, one per file."""

from core.models.alarm import Alarm
from core.models.alert_secret import AlertSecret
from core.models.binance_position import BinancePosition
from core.models.binance_symbol import BinanceSymbol
from core.models.cycle import Cycle
from core.models.daily_summary import DailySummary
from core.models.fact import Fact
from core.models.fill import Fill
from core.models.monitor_lease import MonitorLease
from core.models.notice import Notice
from core.models.operator_action import OperatorAction
from core.models.order import Order, OrderType
from core.models.symbol_pause import SymbolPause
from core.models.trading_switch import TradingSwitch
from core.models.webhook import WebHook

__all__ = [
    "Alarm",
    "AlertSecret",
    "BinancePosition",
    "BinanceSymbol",
    "Cycle",
    "DailySummary",
    "Fact",
    "Fill",
    "MonitorLease",
    "Notice",
    "OperatorAction",
    "Order",
    "OrderType",
    "SymbolPause",
    "TradingSwitch",
    "WebHook",
]
